// Command kubelet runs a real kubelet against podlet:
//
//	go run ./hack/kubelet [-podlet bin/podlet] [-kubelet BINARY] [-keep DIR] [-shared] [-cat BYTES]
//
// The kubelet is built, once, from its published modules: kubernetes/go.mod names
// the version, and is a module of its own so that podlet's knows nothing of
// Kubernetes. Both run on private directories, the kubelet without an API server,
// with pods from files, in a network namespace where there is nothing but lo and
// podlet's bridge. Every line with a mark is a check; the exit code is 0 only if
// each of them held.
//
// What the kubelet changes on the machine is taken back at the end: its cgroups,
// its mounts, its links below /var/log/containers, the sysctls that it sets.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"podlet/hack/machine"
	"podlet/hack/node"
	"podlet/hack/testimages/testimage"
)

// Far more than it takes, without and with the kubelet's compilation.
const (
	buildTime = 40 * time.Minute
	runTime   = 6 * time.Minute
)

func main() {
	podlet := flag.String("podlet", "bin/podlet", "the podlet `binary`")
	kubelet := flag.String("kubelet", "", "the kubelet `binary`; without it one is built, or taken from build/")
	keep := flag.String("keep", "", "copy the logs of podlet and of the kubelet to this `directory`")
	shared := flag.Bool("shared", false, "others use this machine meanwhile: what is left counts only if it has a name of this run's in it")
	cat := flag.Int64("cat", 1<<30, "how many `bytes` go through an exec of cat and back, over WebSockets a sixteenth of it: a multiple of 1 MiB")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &page{w: os.Stdout}
	err := run(ctx, p, *podlet, *kubelet, *keep, *shared, *cat)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubelet:", err)
		os.Exit(1)
	}
	if p.failed > 0 {
		fmt.Fprintf(os.Stderr, "kubelet: %d of %d checks failed\n", p.failed, p.checks)
		os.Exit(1)
	}
	fmt.Printf("%d checks, all of them held.\n", p.checks)
}

func run(ctx context.Context, p *page, podlet, kubelet, keep string, shared bool, cat int64) error {
	// Both may have to be fetched, which the namespace that comes next is cut off from. There they are found.
	kubelet, err := binary(ctx, kubelet)
	if err != nil {
		return err
	}
	client, err := buildClient(ctx)
	if err != nil {
		return err
	}
	layout, err := testimage.Layout("tools")
	if err != nil {
		return fmt.Errorf("make the pods' image: %w", err)
	}
	if err := node.OwnNetwork(); err != nil {
		return err
	}
	if err := machine.BecomeSubreaper(); err != nil {
		return err
	}
	before, err := machine.Look(nil, append([]string{"/var/log"}, machine.StatePlaces...))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	s, err := newSite(ctx, podlet, kubelet, layout)
	if err != nil {
		return err
	}
	s.clientBinary, s.catBytes = client, cat
	err = s.scenes(ctx, p)
	if err != nil || p.failed > 0 {
		s.explain(os.Stderr)
	}
	if keep != "" {
		err = errors.Join(err, s.keepLogs(keep))
	}
	var names []string
	if shared {
		var failed error
		names, failed = s.names()
		err = errors.Join(err, failed)
	}
	if err = errors.Join(err, s.close(p)); err != nil {
		return err
	}
	return nothingLeft(p, before, names)
}

// nothingLeft compares the machine with what it was; with names, only what has one of them in it counts.
func nothingLeft(p *page, before *machine.Machine, names []string) error {
	processes, changes, _, err := machine.Settled(before)
	if err != nil {
		return err
	}
	for _, process := range processes {
		p.line("left behind: process %s (killed)", process)
		syscall.Kill(process.PID, syscall.SIGKILL)
	}
	if names != nil {
		changes = slices.DeleteFunc(changes, func(change string) bool {
			return !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(change, name) })
		})
	}
	for _, change := range changes {
		p.line("%s", change)
	}
	p.check(len(processes)+len(changes) == 0, "nothing is left on the machine: no process, mount, cgroup, network namespace, link, rule or file")
	return nil
}
