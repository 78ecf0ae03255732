package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// asGroup makes a command that is nothing but its subcommands refuse a word that is none of them. Of itself cobra does so for the root alone; of all others it
// prints the help and calls that success, and a typo in a cron job would work for ever.
func asGroup(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), didYouMean(cmd, args[0]))
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// didYouMean is what cobra adds to the error about a command of the root.
func didYouMean(cmd *cobra.Command, word string) string {
	cmd.SuggestionsMinimumDistance = 2 // cobra's default, which it sets for the root alone
	like := cmd.SuggestionsFor(word)
	if len(like) == 0 {
		return ""
	}
	return "\n\nDid you mean this?\n\t" + strings.Join(like, "\n\t") + "\n"
}
