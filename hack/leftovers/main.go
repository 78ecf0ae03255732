// Command leftovers runs a command and fails if that command left anything on
// the machine: processes, mounts, cgroups, network namespaces and links, a pod
// network's rules and switches, loop devices, files.
//
//	leftovers COMMAND [ARG...]
//
// It exits with the command's own code, or with 1 if something was left or is
// gone that was there before; each such thing is a line on stderr. Processes
// that were left are killed: nobody else will.
//
// Processes are found by descent, not by name: this process is their subreaper
// (PR_SET_CHILD_SUBREAPER), so whatever lost its parent is its child. All else
// is the difference of two looks at the machine. Something that others make
// meanwhile is taken for the command's own, but for cgroups with processes of
// others inside.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"golang.org/x/sys/unix"

	"podlet/hack/machine"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: leftovers COMMAND [ARG...]")
		os.Exit(2)
	}
	code, err := watch(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "leftovers:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func watch(argv []string) (int, error) {
	if err := machine.BecomeSubreaper(); err != nil {
		return 0, err
	}
	before, err := machine.Look(nil, machine.AllPlaces)
	if err != nil {
		return 0, err
	}
	code, err := run(argv)
	if err != nil {
		return 0, err
	}
	processes, changes, _, err := machine.Settled(before)
	if err != nil {
		return 0, err
	}
	for _, p := range processes {
		fmt.Fprintln(os.Stderr, "left behind: process", p, "(killed)")
		unix.Kill(p.PID, unix.SIGKILL)
	}
	for _, change := range changes {
		fmt.Fprintln(os.Stderr, change)
	}
	if len(processes)+len(changes) > 0 && code == 0 {
		code = 1
	}
	return code, nil
}

// run starts argv, reaps every process that comes to be a child of this one,
// promptly, so that nobody sees a zombie for longer than it would elsewhere,
// and returns argv's exit code as a shell would.
func run(argv []string) (int, error) {
	// ^C reaches the command by itself; this process stays to say what it left. Not ignored: that would be inherited.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(interrupts)

	child, err := start(argv)
	if err != nil {
		return 0, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait for %s: %w", argv[0], err)
		}
		if pid == child && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		if pid == child && status.Exited() {
			return status.ExitStatus(), nil
		}
	}
}

// start runs argv with this process's own stdin, stdout and stderr. Nothing
// waits for it but run, which reaps whoever ends.
func start(argv []string) (int, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, err
	}
	p, err := os.StartProcess(path, argv, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return 0, err
	}
	pid := p.Pid
	return pid, p.Release()
}
