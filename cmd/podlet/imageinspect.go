package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"podlet/internal/image"
)

func inspectCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect NAME|ID...",
		Short: "Show all that is known of images",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withImages(cmd, o, openExisting, func(s images) ([]image.Details, error) {
				var all []image.Details
				for _, ref := range args {
					d, err := s.Inspect(cmd.Context(), ref)
					if err != nil {
						return nil, err
					}
					all = append(all, d)
				}
				return all, nil
			}, printDetails, inspectJSON)
		},
	}
	outputFlag(cmd)
	return cmd
}

func printDetails(w io.Writer, all []image.Details) error {
	for i, d := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := printDetail(w, d); err != nil {
			return err
		}
	}
	return nil
}

func printDetail(w io.Writer, d image.Details) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				fmt.Fprintf(t, "%s\t%s\n", name, printable(v))
				name = ""
			}
		}
	}
	c := d.Config
	row("ID", d.ID.String())
	row("Names", d.Tags...)
	row("Digests", d.Digests...)
	row("Size", megabytes(d.Size))
	row("Imported", d.Imported.Local().Format(time.DateTime))
	if !c.Created.IsZero() {
		row("Created", c.Created.Local().Format(time.DateTime))
	}
	row("Platform", strings.TrimSuffix(c.OS+"/"+c.Architecture+"/"+c.Variant, "/"))
	row("Use", useOf(d.Image))
	row("Entrypoint", quoted(c.Entrypoint))
	row("Cmd", quoted(c.Cmd))
	row("Working directory", c.WorkingDir)
	row("User", c.User)
	row("Stop signal", c.StopSignal)
	row("Environment", c.Env...)
	row("Volumes", c.Volumes...)
	row("Ports", c.ExposedPorts...)
	var labels []string
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		labels = append(labels, k+"="+c.Labels[k])
	}
	row("Labels", labels...)
	var layers []string
	for _, l := range d.Layers {
		layers = append(layers, fmt.Sprintf("%s  %s, %d files%s", l.DiffID, megabytes(l.Bytes), l.Inodes, layerNote(l)))
	}
	row("Layers", layers...)
	return t.Flush()
}

func layerNote(l image.LayerDetails) string {
	var notes []string
	if !l.Durable {
		notes = append(notes, "not known to be on the disk yet")
	}
	if l.NotExportable != "" {
		notes = append(notes, l.NotExportable)
	}
	if len(notes) == 0 {
		return ""
	}
	return " (" + strings.Join(notes, "; ") + ")"
}

// quoted shows a list of arguments so that one can tell where each ends.
func quoted(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return fmt.Sprintf("%q", args)
}
