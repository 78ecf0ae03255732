package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"podlet/internal/image"
)

func removeCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove NAME|ID...",
		Aliases: []string{"rm"},
		Short:   "Remove images with all their names",
		Long: `Remove images, each with all its names, as a kubelet does. What a container uses
loses its names at once and its files when its last container is removed. If no
podlet serves, the files go when one starts: only then is it known what is used.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withImages(cmd, o, openExisting, func(s images) ([]image.Image, error) {
				var removed []image.Image
				for _, ref := range args {
					img, err := s.Remove(cmd.Context(), ref)
					if err != nil {
						return nil, err
					}
					removed = append(removed, img)
				}
				return removed, nil
			}, printRemoved, imagesJSON)
		},
	}
	outputFlag(cmd)
	return cmd
}

func printRemoved(w io.Writer, list []image.Image) error {
	for _, img := range list {
		note := ""
		if img.InUse {
			note = "  (in use: its files go with its last container)"
		}
		if _, err := fmt.Fprintf(w, "%s  %s%s\n", img.ID, first(namesOf(img)), note); err != nil {
			return err
		}
	}
	return nil
}

func pruneCommand(o *options) *cobra.Command {
	var untagged bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove all images that no container uses",
		Long: `Remove all images that no container uses and that are not pinned (see
"podlet serve --pinned-images"). It needs a podlet that serves: nobody else knows
which images containers use.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withImages(cmd, o, openExisting, func(s images) (image.Pruned, error) {
				return s.Prune(cmd.Context(), untagged)
			}, printPruned, pruneJSON)
		},
	}
	cmd.Flags().BoolVar(&untagged, "untagged", false, "only those without a tag")
	outputFlag(cmd)
	return cmd
}

func printPruned(w io.Writer, p image.Pruned) error {
	if err := printRemoved(w, p.Images); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d images removed, %s freed\n", len(p.Images), megabytes(p.Bytes))
	return err
}
