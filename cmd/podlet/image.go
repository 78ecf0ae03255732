package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"podlet/internal/image"
)

func imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Import and list images",
	}
	o := defaultOptions()
	cmd.PersistentFlags().StringVar(&o.Root, "root", o.Root, "podlet's directory for what outlives a reboot")
	cmd.PersistentFlags().StringVar(&o.State, "state", o.State, "podlet's directory for what dies with the boot, to reach a podlet that serves")
	cmd.AddCommand(importCommand(o), listCommand(o))
	return cmd
}

func importCommand(o *options) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "import FILE|DIR...",
		Short: "Import images from OCI layouts or docker-archive tars",
		Example: `  podlet image import busybox.tar
  podlet image import --name registry.example/app:v1 ./oci-layout`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			store, err := openImages(o)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			for _, path := range args {
				imported, err := store.Import(cmd.Context(), path, name)
				if err != nil {
					return err
				}
				for _, img := range imported {
					fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", img.ID, first(img.Tags))
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name for an image that brings none")
	return cmd
}

func listCommand(o *options) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List images",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			store, err := openImages(o)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			list, err := store.List(cmd.Context())
			if err != nil {
				return err
			}
			switch format {
			case "json":
				return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			case "table":
				return printImages(cmd.OutOrStdout(), list)
			default:
				return fmt.Errorf("-o %q: want table or json", format)
			}
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	return cmd
}

func printImages(w io.Writer, images []image.Image) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "IMAGE\tID\tSIZE")
	for _, img := range images {
		for _, tag := range append(img.Tags, untagged(img)...) {
			fmt.Fprintf(t, "%s\t%.12s\t%.1f MB\n", tag, img.ID.Hex(), float64(img.Size)/1e6)
		}
	}
	return t.Flush()
}

// untagged is what stands for an image without a tag.
func untagged(img image.Image) []string {
	if len(img.Tags) > 0 {
		return nil
	}
	return []string{"<none>"}
}

func first(list []string) string {
	if len(list) == 0 {
		return "<none>"
	}
	return list[0]
}
