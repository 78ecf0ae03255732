package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"podlet/internal/image"
)

func importCommand(o *options) *cobra.Command {
	var name string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "import FILE|DIR...",
		Short: "Import images from OCI layouts or docker-archive tars",
		Long: `Import images from OCI image layouts (directories or tars) and from what
"docker save" writes, plain or compressed with gzip or zstd. "-" is standard
input. Of an archive whose digests don't fit nothing is imported.`,
		Example: `  podlet image import busybox.tar
  podlet image import --name registry.example/app:v1 ./oci-layout
  docker save app | podlet image import -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			progress := newLayerBars(cmd.ErrOrStderr(), quiet)
			return withImages(cmd, o, openOrMake, func(s images) ([]image.Image, error) {
				var all []image.Image
				for _, path := range args {
					progress.begin()
					var list []image.Image
					var err error
					if path == "-" {
						list, err = s.ImportReader(cmd.Context(), cmd.InOrStdin(), name, progress.report)
					} else {
						list, err = s.Import(cmd.Context(), path, name, progress.report)
					}
					if err != nil {
						return nil, err
					}
					all = append(all, list...)
				}
				return all, nil
			}, printImported, imagesJSON)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name for an image that brings none")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	outputFlag(cmd)
	return cmd
}

func printImported(w io.Writer, list []image.Image) error {
	for _, img := range list {
		if _, err := fmt.Fprintf(w, "%s  %s\n", img.ID, first(img.Tags)); err != nil {
			return err
		}
	}
	return nil
}

// layerBars shows how far the layers of an import or an export are.
type layerBars struct {
	bars *bars // nil: nothing is shown
	w    io.Writer
	rows []barRow
	at   map[image.Digest]int
}

func newLayerBars(w io.Writer, quiet bool) *layerBars {
	if quiet {
		return &layerBars{}
	}
	return &layerBars{w: w}
}

// begin begins another archive.
func (b *layerBars) begin() {
	if b.w != nil {
		b.bars, b.rows, b.at = newBars(b.w), nil, map[image.Digest]int{}
	}
}

func (b *layerBars) report(p image.LayerProgress) {
	if b.bars == nil {
		return
	}
	i, ok := b.at[p.DiffID]
	if !ok {
		i = len(b.rows)
		b.at[p.DiffID] = i
		b.rows = append(b.rows, barRow{label: "layer " + p.DiffID.Hex()[:12]})
	}
	row := &b.rows[i]
	row.n, row.of, row.done = max(row.n, p.Read), p.Size, p.Done
	switch {
	case p.Shared:
		row.n, row.note = max(row.of, row.n), "is there already"
	case p.Done && p.Entries > 0:
		row.note = fmt.Sprintf("%d files", p.Entries)
	}
	b.bars.show(b.rows)
}
