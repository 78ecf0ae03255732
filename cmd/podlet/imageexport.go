package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"podlet/internal/image"
)

func exportCommand(o *options) *cobra.Command {
	var compress string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "export FILE|DIR NAME...",
		Short: "Export images as an OCI layout, in a tar or a directory",
		Long: `Export images as an OCI image layout: into a tar, or into a directory if that is
there (and empty) or the name ends with a slash; "-" is standard output. The tar
can be read by "docker load" as well.

An image keeps its id: podlet has kept what it needs to write each layer's tar
again byte for byte, and verifies that it did. The manifest is a new one, so the
digest by which a registry knew the image ("name@sha256:...") is not kept.`,
		Example: `  podlet image export app.tar registry.example/app:v1
  podlet image export ./layout/ registry.example/app:v1 busybox
  podlet image export --compress zstd - busybox | ssh node2 podlet image import -`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			request := exportRequest{Path: args[0], Refs: args[1:]}
			if compress != "none" {
				request.Compression = image.Compression(compress)
			}
			progress := newLayerBars(cmd.ErrOrStderr(), quiet)
			progress.begin()
			return withImages(cmd, o, openExisting, func(s images) (exported, error) {
				if request.Path == "-" {
					return exported{Path: "-"}, s.ExportTo(cmd.Context(), cmd.OutOrStdout(), request)
				}
				return s.Export(cmd.Context(), request, progress.report)
			}, printExported, exportJSON)
		},
	}
	cmd.Flags().StringVar(&compress, "compress", "none", "compression of the layers: none (the export is the same bytes every time), gzip or zstd")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	outputFlag(cmd)
	return cmd
}

// exported is what an export made.
type exported struct {
	Path  string
	Bytes int64 // of a tar
}

func printExported(w io.Writer, e exported) error {
	if e.Path == "-" {
		return nil
	}
	size := ""
	if e.Bytes > 0 {
		size = "  " + megabytes(e.Bytes)
	}
	_, err := fmt.Fprintf(w, "%s%s\n", e.Path, size)
	return err
}

// isLayoutDir: the path is meant for a directory.
func isLayoutDir(path string) bool {
	fi, err := os.Stat(path)
	return strings.HasSuffix(path, "/") || err == nil && fi.IsDir()
}
