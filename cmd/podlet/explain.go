package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/cgroup"
	"podlet/cri"
	"podlet/pod"
	"podlet/pod/launch"
	"podlet/pod/spec"
	"podlet/pod/tape"
)

func explainCommand() *cobra.Command {
	var env bool
	cmd := &cobra.Command{
		Use:   "explain POD [CONTAINER]",
		Short: "Print every system call by which a pod or container would be launched",
		Long: `Print the tapes that podlet would play for a pod's and a container's config,
files in crictl's JSON or YAML format, in their order: that of the pod's user
namespace, if it has one, the pod's own, that of the PID 1 of a shared PID
namespace, and the container's. Nothing is launched.

The nursery, which clones each pod's pause, has a tape as well, but that is no
pod's: it is played when the nursery starts.

Without an image at hand the container's process is root and runs its command
and args, or /bin/sh.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			tapes, err := explain(args)
			if err != nil {
				return err
			}
			for i, t := range tapes {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := t.Explain(cmd.OutOrStdout(), tape.ExplainOptions{Env: env}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&env, "env", false, "print the values of environment variables")
	return cmd
}

// explain gives the tapes in the order in which they are played.
func explain(files []string) ([]*tape.Tape, error) {
	var podConfig criapi.PodSandboxConfig
	if err := readConfig(files[0], &podConfig); err != nil {
		return nil, err
	}
	sandbox, err := cri.SandboxSpec(&podConfig)
	if err != nil {
		return nil, err
	}
	tapes, err := explainPod(sandbox)
	if err != nil || len(files) == 1 {
		return tapes, err
	}
	var config criapi.ContainerConfig
	if err := readConfig(files[1], &config); err != nil {
		return nil, err
	}
	t, err := explainContainer(sandbox, &config)
	return append(tapes, t), err
}

func explainPod(sandbox *spec.Sandbox) (tapes []*tape.Tape, err error) {
	if sandbox.UserNS != nil {
		t, err := launch.UserNS()
		if err != nil {
			return nil, err
		}
		tapes = append(tapes, t)
	}
	t, err := launch.Pod(sandbox)
	if err != nil {
		return nil, err
	}
	tapes = append(tapes, t)
	if !sandbox.SharedPID {
		return tapes, nil
	}
	t, err = launch.Init(sandbox)
	return append(tapes, t), err
}

func explainContainer(sandbox *spec.Sandbox, config *criapi.ContainerConfig) (*tape.Tape, error) {
	cgroups, err := cgroup.Open("/sys/fs/cgroup")
	if err != nil {
		return nil, err
	}
	defer cgroups.Close()
	machine, err := pod.InspectMachine(cgroups)
	if err != nil {
		return nil, err
	}
	container, err := cri.ContainerSpec(sandbox, config, &machine)
	if err != nil {
		return nil, err
	}
	image := &spec.Image{Entrypoint: []string{"/bin/sh"}}
	id := &spec.Identity{Groups: []uint32{0}}
	process, _, err := spec.NewProcess(sandbox, container, image, id, &machine)
	if err != nil {
		return nil, err
	}
	var isFile []bool
	for _, m := range container.Mounts {
		st, err := os.Stat(m.Source)
		isFile = append(isFile, err == nil && !st.IsDir())
	}
	return launch.NewContainer(sandbox, container, process, &machine, launch.CgroupOn(&machine), isFile, nil).Tape()
}

func readConfig(file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
