package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"podlet/internal/image"
)

func checkCommand(o *options) *cobra.Command {
	var check checkRequest
	var quiet bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for damage and orphans in the image store",
		Long: `Look for damage in the image store (records, configs, missing layers, files that
are not what they were: names, types, modes, owners, sizes) and for things that
nobody needs. With --deep every file is read and held to its layer's digest.

It works beside a podlet that serves as well as without one, and changes nothing
unless --repair is given. That throws damaged layers away with the images that
need them, which then are pulled or imported again, and removes orphans. What
a container uses is kept and told; while there are containers and no podlet
serves, that is all.

Exit status: 0 nothing wrong (any more), 2 something is wrong, 1 the check itself failed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := formatOf(cmd)
			if err != nil {
				return err
			}
			show := newBars(cmd.ErrOrStderr())
			report, err := checkImages(cmd.Context(), o, check, func(p checkProgress) {
				if !quiet && show.tty != nil {
					fmt.Fprintf(show.tty, "\r\x1b[Klayer %d of %d", p.Layer, p.Layers)
				}
			})
			if !quiet && show.tty != nil {
				fmt.Fprint(show.tty, "\r\x1b[K")
			}
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(checkJSON(report))
			} else {
				err = printReport(cmd.OutOrStdout(), report)
			}
			if err == nil && report.Wrong() > 0 {
				return exitStatus(2)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&check.Deep, "deep", false, "read every file and verify its content")
	cmd.Flags().BoolVar(&check.Repair, "repair", false, "throw away what is damaged and remove what nobody needs")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	outputFlag(cmd)
	return cmd
}

// checkRequest is what a check is asked for with.
type checkRequest struct{ Deep, Repair bool }

// checkProgress is which of how many layers is looked at.
type checkProgress struct{ Layer, Layers int }

func printReport(w io.Writer, r *image.CheckReport) error {
	for _, f := range r.Findings {
		fate := ""
		switch {
		case f.Mended:
			fate = " [mended]"
		case f.Kept != "":
			fate = " [kept: " + f.Kept + "]"
		}
		if _, err := fmt.Fprintf(w, "%s: %s: %s%s\n", f.Kind, printable(f.What), printable(f.Problem), fate); err != nil {
			return err
		}
		if len(f.Images) > 0 {
			fmt.Fprintf(w, "    images: %s\n", printable(strings.Join(f.Images, ", ")))
		}
	}
	verdict := "nothing wrong"
	if n := r.Wrong(); n > 0 {
		verdict = fmt.Sprintf("%d wrong", n)
	}
	_, err := fmt.Fprintf(w, "%d images, %d layers, %d files: %s\n", r.Images, r.Layers, r.Files, verdict)
	return err
}
