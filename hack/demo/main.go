// Command demo shows a pod of two containers from its start to the proof that
// nothing is left, through the CRI, as a kubelet would have it:
//
//	go run ./hack/demo [-podlet bin/podlet]
//
// podlet runs on a root, a state directory and a socket of its own. Every line
// with a mark is a check of what the kernel says; the exit code is 0 only if each
// of them held.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/machine"
	"podlet/hack/node"
	"podlet/hack/testimages/testimage"
)

// demoTime is far more than it takes.
const demoTime = 2 * time.Minute

func main() {
	podlet := flag.String("podlet", "bin/podlet", "the podlet `binary`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	p := newPage(os.Stdout)
	err := show(ctx, p, *podlet)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
	if p.failed > 0 {
		fmt.Fprintf(os.Stderr, "\ndemo: %d of %d checks failed\n", p.failed, p.checks)
		os.Exit(1)
	}
	fmt.Printf("\n%d checks, all of them held.\n", p.checks)
}

func show(ctx context.Context, p *page, podlet string) error {
	if err := machine.BecomeSubreaper(); err != nil {
		return err
	}
	layout, err := testimage.Layout("busybox")
	if err != nil {
		return fmt.Errorf("make the demo's image: %w", err)
	}
	before, err := machine.Look(nil, machine.StatePlaces)
	if err != nil {
		return err
	}
	n, err := start(ctx, p, podlet, layout)
	if err != nil {
		return err
	}
	err = scenes(ctx, p, n)
	if err != nil {
		return errors.Join(err, n.Close(), killAll())
	}
	if err := cleanUp(ctx, p, n); err != nil {
		return err
	}
	return nothingLeft(p, before)
}

// killAll ends what is left of a pod that podlet can't end any more. Its cgroup stays.
func killAll() error {
	machine.Reap()
	left, err := machine.Descendants(os.Getpid())
	for _, process := range left {
		fmt.Fprintln(os.Stderr, "demo: killed what was left:", process)
		unix.Kill(process.PID, unix.SIGKILL)
	}
	return err
}

// scenes are what happens between podlet's start and the clean-up.
func scenes(ctx context.Context, p *page, n *node.Node) error {
	pod, err := runPod(ctx, p, n)
	if err != nil {
		return err
	}
	for _, scene := range []func(context.Context, *page, *pair) error{
		namespaces, localhost, network, logs, exec, limits, survival,
	} {
		if err := scene(ctx, p, pod); err != nil {
			return err
		}
	}
	return nil
}
