package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"podlet/hack/vm/machine"
	"podlet/hack/vm/wire"
)

// grace is how long after its -timeout a package may take to panic, and to write its goroutines' traces, before the machine is ended under it.
const grace = time.Minute

// hangs is how many machines may hang before a hang is a failure.
const hangs = 2

// test builds the packages' tests here and runs them in the guest, a package at a time. Where one takes the machine down, or has to be ended with it, the others run in another. A package whose machine hung is run once more, twice at most in all: an emulator may stand still, but tests that hang a kernel do it again.
func test(ctx context.Context, o *options) error {
	packages, err := listPackages(ctx, o.checkout, o.tests.tags, o.args)
	if err != nil {
		return err
	}
	work, err := newWorkdir(o.checkout.cache())
	if err != nil {
		return err
	}
	defer work.remove()
	began := time.Now()
	stop := o.progress.during("building tests")
	to, err := newPayload(ctx, o.checkout, work.path("payload"))
	if err == nil {
		err = buildTests(ctx, o.checkout, to, o.tests.tags, packages)
	}
	stop()
	if err != nil {
		return err
	}
	o.progress.say("built the tests of %d packages in %s", len(packages), time.Since(began).Round(time.Second))

	guest := &guest{options: o, work: work, payload: to}
	r := &report{out: clearing{os.Stdout, o.progress}, all: o.tests.verbose || o.tests.bench != ""}
	for _, p := range packages {
		switch {
		case p.problem != "":
			r.unbuilt(p.ImportPath, p.problem)
		case p.binary == "":
			r.untested(p.ImportPath)
		default:
			if err := guest.test(ctx, p, r); err != nil {
				return err
			}
		}
	}
	if err := guest.end(); err != nil {
		return err
	}
	return r.finish()
}

// guest is a machine for as long as one lasts, and then the next.
type guest struct {
	options *options
	work    *workdir
	payload payload
	machine *machine.Machine // nil: none runs
}

// test runs a package's tests; its error is one that ends the whole run.
func (g *guest) test(ctx context.Context, p *testPackage, r *report) error {
	dir, err := g.options.checkout.inGuest(p.Dir)
	if err != nil {
		return err
	}
	command := wire.Run{Args: append([]string{p.binary}, g.options.tests.arguments()...), Dir: dir, Env: g.options.environment}
	for {
		if err := g.start(ctx); err != nil {
			return err
		}
		began := time.Now()
		exit, err := g.run(ctx, p.ImportPath, command, r)
		switch {
		case err == nil:
			r.ended(p.ImportPath, exit)
			return nil
		case ctx.Err() == nil && errors.Is(err, machine.ErrHung) && len(r.hanging) < hangs:
			r.hung(p.ImportPath, err, time.Since(began))
		default:
			r.lost(p.ImportPath, err, time.Since(began))
			return context.Cause(ctx)
		}
	}
}

// run gives how a package's test binary ended. An error is the machine's, which is gone then.
func (g *guest) run(ctx context.Context, name string, command wire.Run, out io.Writer) (wire.Exit, error) {
	if timeout := g.options.tests.timeout; timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout+grace, fmt.Errorf("the tests were still there %s after their -timeout of %s; their machine was ended", grace, timeout))
		defer cancel()
	}
	stop := g.options.progress.during("%s", name)
	exit, err := g.machine.Run(ctx, command, nil, out, out)
	stop()
	if err != nil {
		g.machine.Close()
		g.machine = nil
		g.work.keepConsole(g.options.progress.say)
	}
	return exit, err
}

// start boots a machine with a fresh copy of the payload, where none runs.
func (g *guest) start(ctx context.Context) error {
	if g.machine != nil {
		return nil
	}
	m, err := boot(ctx, g.options, g.work, g.payload, nil)
	if errors.Is(err, machine.ErrHung) && ctx.Err() == nil {
		g.options.progress.say("%v\nbooting another", err)
		m, err = boot(ctx, g.options, g.work, g.payload, nil)
	}
	if err != nil {
		return err
	}
	g.machine = m
	return nil
}

func (g *guest) end() error {
	if g.machine == nil {
		return nil
	}
	return g.machine.Close()
}

// inGuest gives the path of a directory of the checkout in the guest: the same one.
func (c checkout) inGuest(dir string) (string, error) {
	below, err := filepath.Rel(c.top, dir)
	if err != nil || below == ".." || strings.HasPrefix(below, "../") {
		return "", fmt.Errorf("%s is not in the checkout %s: the guest has nothing else", dir, c.top)
	}
	return dir, nil
}

// clearing removes the counting line from the terminal before anything else is written there.
type clearing struct {
	out      *os.File
	progress *progress
}

func (c clearing) Write(p []byte) (int, error) {
	c.progress.clear()
	return c.out.Write(p)
}
