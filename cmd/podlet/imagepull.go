package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"podlet/internal/registry"
)

// pullFlags are those of "image pull".
type pullFlags struct {
	explain       bool
	json          bool
	quiet         bool
	username      string
	passwordStdin bool
	authFile      string
}

// authFileEnv names an auth file as other tools have it.
const authFileEnv = "REGISTRY_AUTH_FILE"

func pullCommand(o *options) *cobra.Command {
	var f pullFlags
	cmd := &cobra.Command{
		Use:   "pull NAME",
		Short: "Pull an image from its registry, or say where it would come from",
		Long: `Pull an image from its registry or the mirrors that the node's hosts.toml files
name for it. If a podlet serves, it pulls; else this command does.

With --explain nothing is pulled and nobody is asked: it prints which hosts a
pull would ask, in which order, with which TLS and whose credentials, and why.

Secrets are never arguments, which every user of the node could see: a password
comes from standard input, or all comes from a file that "docker login" or
"podman login" wrote.`,
		Example: `  podlet image pull busybox
  podlet image pull --explain registry.example/team/app:v1
  podlet image pull --username team --password-stdin registry.example/team/app:v1 < password
  podlet image pull --auth-file ~/.docker/config.json registry.example/team/app:v1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if f.json, err = formatOf(cmd); err != nil {
				return err
			}
			credentials, from, err := f.credentials(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			if f.explain {
				return explainPull(cmd, o, &f, pullRequest{Name: args[0], Credentials: credentials}, from)
			}
			return pull(cmd, o, &f, pullRequest{Name: args[0], Credentials: credentials})
		},
	}
	cmd.Flags().BoolVar(&f.explain, "explain", false, "pull nothing, but print which hosts would be asked, how, and why")
	outputFlag(cmd)
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	cmd.Flags().StringVar(&f.username, "username", "", "user at the registry, whom no mirror sees; wants --password-stdin")
	cmd.Flags().BoolVar(&f.passwordStdin, "password-stdin", false, "read the password from standard input, to its first line's end")
	cmd.Flags().StringVar(&f.authFile, "auth-file", "", "file of credentials as docker login writes it (default $"+authFileEnv+", if set)")
	cmd.Flags().StringSliceVar(&o.CertsDirs, "certs-dirs", o.CertsDirs, "as for podlet serve; not used if a podlet serves, which has its own")
	cmd.Flags().StringVar(&o.Verifiers, "image-verifiers", o.Verifiers, "as for podlet serve; not used if a podlet serves, which has its own")
	cmd.MarkFlagsRequiredTogether("username", "password-stdin")
	cmd.MarkFlagsMutuallyExclusive("username", "auth-file")
	return cmd
}

// credentials gives what the flags say, and in words where it is from.
func (f *pullFlags) credentials(stdin io.Reader, name string) (c registry.Credentials, from string, err error) {
	if f.passwordStdin {
		password, err := firstLine(stdin)
		if err != nil {
			return registry.Credentials{}, "", fmt.Errorf("--password-stdin: %w", err)
		}
		c, err = registry.Credentials{Username: f.username, Password: password}.OnlyFor(name)
		return c, "--username and standard input", err
	}
	file := f.authFile
	if file == "" {
		file = os.Getenv(authFileEnv)
	}
	if file == "" {
		return registry.Credentials{}, "none given; a kubelet brings those of the pod's imagePullSecrets with each pull", nil
	}
	c, entry, err := registry.ReadAuthFile(file, name)
	if err != nil {
		return registry.Credentials{}, "", err
	}
	if entry == "" {
		return registry.Credentials{}, "none for it in " + file, nil
	}
	return c, fmt.Sprintf("%s, entry %q", file, entry), nil
}

// firstLine reads a password, which may end with a newline or with the input.
func firstLine(r io.Reader) (string, error) {
	const most = 64 << 10
	line, err := bufio.NewReader(io.LimitReader(r, most)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("no password came")
	}
	return line, nil
}

func pull(cmd *cobra.Command, o *options, f *pullFlags, q pullRequest) (err error) {
	source, err := openPuller(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	show := newBars(cmd.ErrOrStderr())
	img, err := source.Pull(cmd.Context(), q, func(p registry.Progress) {
		if !f.quiet {
			show.show(layerRows(p))
		}
	})
	if err != nil {
		return err
	}
	if f.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(jsonOf(img))
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", img.ID, first(append(img.Tags, img.Digests...)))
	return err
}

// layerRows makes bars of a pull's progress.
func layerRows(p registry.Progress) []barRow {
	rows := make([]barRow, len(p.Layers))
	for i, l := range p.Layers {
		rows[i] = barRow{label: l.Digest.String()[:len("sha256:")+12], n: l.Read, of: l.Size, done: l.Done}
		switch {
		case l.Shared:
			rows[i].n, rows[i].note = l.Size, "is there already"
		case l.Done:
			rows[i].note = fmt.Sprintf("%d files", l.Entries)
		case l.Size > 0 && l.Read >= l.Size:
			rows[i].note = "unpacking"
		}
	}
	return rows
}

// explainPull asks the podlet that serves, whose environment and flags count for the kubelet's pulls, or else finds out by itself.
func explainPull(cmd *cobra.Command, o *options, f *pullFlags, q pullRequest, from string) error {
	e, by, err := explained(cmd.Context(), o, q)
	if err != nil {
		return err
	}
	if f.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
			registry.Explanation
			By              string `json:"by"`
			CredentialsFrom string `json:"credentialsFrom"`
		}{e, by, from})
	}
	return printExplanation(cmd.OutOrStdout(), e, by, from)
}

// explained gives the explanation and who made it.
func explained(ctx context.Context, o *options, q pullRequest) (e registry.Explanation, by string, err error) {
	served := servedPuller{newJobClient(o.State)}
	e, err = served.Explain(ctx, q)
	if !nobodyServes(err) {
		return e, "the podlet that serves in " + o.State, errors.Join(err, served.Close())
	}
	p := registry.New(registry.Config{CertsDirs: o.CertsDirs, Verifiers: o.Verifiers})
	defer p.Close()
	e, err = p.Explain(q.Name, q.Credentials)
	return e, "this command: no podlet serves in " + o.State, err
}
