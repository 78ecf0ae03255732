// Command podlet is a Kubernetes pod runtime: a CRI v1 server that launches pods itself, and the tools that go with it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker; see the Makefile.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	var status exitStatus
	if errors.As(err, &status) {
		os.Exit(int(status))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "podlet:", err)
		os.Exit(1)
	}
}

// exitStatus is what podlet ends with after a command that has told all there is to tell.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "podlet",
		Short: "A Kubernetes pod runtime: a pod is a process",
		Long: `podlet runs the pods of a Kubernetes node. The kubelet speaks to it over the
Container Runtime Interface (CRI v1):

    podlet serve &
    kubelet --container-runtime-endpoint=unix:///run/podlet/podlet.sock ...

For each pod podlet starts one tiny pause process that holds the pod's
namespaces. Kill it, and the kernel takes the whole pod back.`,
		Example: `  podlet image import busybox.tar       # from docker save, or an OCI layout
  podlet explain pod.json container.json   # every system call of a launch, before it happens
  crictl --runtime-endpoint unix:///run/podlet/podlet.sock pods`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.SetVersionTemplate("{{.Version}}\n")
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.AddCommand(serveCommand(), explainCommand(), imageCommand(), networkCommand(), versionCommand())
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print podlet's version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return err
		},
	}
}
