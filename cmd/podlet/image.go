package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"podlet/internal/image"
)

func imageCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "image",
		Short: "Pull, import, export, list, remove and check images",
		Long: `Work on the node's images. If a podlet serves, it does the work, and this
command asks it; else the command opens the image store itself.`,
	})
	o := defaultOptions()
	cmd.PersistentFlags().StringVar(&o.Root, "root", o.Root, "podlet's directory for what outlives a reboot")
	cmd.PersistentFlags().StringVar(&o.State, "state", o.State, "podlet's directory for what dies with the boot, to reach a podlet that serves")
	cmd.AddCommand(pullCommand(o), importCommand(o), exportCommand(o), listCommand(o), inspectCommand(o), removeCommand(o), pruneCommand(o), checkCommand(o))
	return cmd
}

// outputFlag adds -o to a command, which formatOf reads.
func outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "table", "table (for people) or json")
}

// formatOf says whether -o asks for JSON.
func formatOf(cmd *cobra.Command) (asJSON bool, err error) {
	switch format := cmd.Flag("output").Value.String(); format {
	case "json":
		return true, nil
	case "table":
		return false, nil
	default:
		return false, fmt.Errorf("-o %q: want table or json", format)
	}
}

// withImages runs f on the images that open opens, and prints what it gives as -o says: as print writes it for people, or what inJSON makes of it.
func withImages[T any](cmd *cobra.Command, o *options, open func(*options) (images, error), f func(images) (T, error), print func(io.Writer, T) error, inJSON func(T) any) (err error) {
	asJSON, err := formatOf(cmd)
	if err != nil {
		return err
	}
	store, err := open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	result, err := f(store)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(inJSON(result))
	}
	return print(cmd.OutOrStdout(), result)
}

func listCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List images",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withImages(cmd, o, openExisting, func(s images) ([]image.Image, error) {
				return s.List(cmd.Context())
			}, printImages, imagesJSON)
		},
	}
	outputFlag(cmd)
	return cmd
}

func printImages(w io.Writer, list []image.Image) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "IMAGE\tID\tSIZE\tIMPORTED\tUSE")
	for _, img := range list {
		for _, name := range namesOf(img) {
			fmt.Fprintf(t, "%s\t%.12s\t%s\t%s\t%s\n", name, img.ID.Hex(), megabytes(img.Size), img.Imported.Local().Format(time.DateTime), useOf(img))
		}
	}
	return t.Flush()
}

// namesOf are what a person calls the image: its tags, else its digests, else nothing.
func namesOf(img image.Image) []string {
	switch {
	case len(img.Tags) > 0:
		return img.Tags
	case len(img.Digests) > 0:
		return img.Digests
	default:
		return []string{"<none>"}
	}
}

func useOf(img image.Image) string {
	var words []string
	if img.InUse {
		words = append(words, "in use")
	}
	if img.Pinned {
		words = append(words, "pinned")
	}
	return strings.Join(words, ", ")
}

func first(list []string) string {
	if len(list) == 0 {
		return "<none>"
	}
	return list[0]
}

// printable gives a stranger's text as it is, or quoted where a terminal could take some of it for a command.
func printable(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		return strconv.Quote(text)
	}
	return text
}
