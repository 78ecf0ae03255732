package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"podlet/hack/vm/machine"
	"podlet/hack/vm/wire"
)

// grace is how long after its -timeout a package may take to panic, and to write its goroutines' traces, before the machine is ended under it.
const grace = time.Minute

// test builds the packages' tests here and runs them in the guest, a package at a time. Where one takes the machine down, or has to be ended with it, the others run in another.
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
	if g.machine == nil {
		if err := g.start(ctx); err != nil {
			return err
		}
	}
	dir, err := g.options.checkout.inGuest(p.Dir)
	if err != nil {
		return err
	}
	command := wire.Run{Args: append([]string{p.binary}, g.options.tests.arguments()...), Dir: dir, Env: g.options.environment}
	own, cancel := ctx, context.CancelFunc(func() {})
	if timeout := g.options.tests.timeout; timeout > 0 {
		own, cancel = context.WithTimeoutCause(ctx, timeout+grace, fmt.Errorf("the tests were still there %s after their -timeout of %s; their machine was ended", grace, timeout))
	}
	defer cancel()
	began := time.Now()
	stop := g.options.progress.during("%s", p.ImportPath)
	exit, err := g.machine.Run(own, command, nil, r, r)
	stop()
	if err == nil {
		r.ended(p.ImportPath, exit)
		return nil
	}
	r.lost(p.ImportPath, err, time.Since(began))
	g.machine.Close()
	g.machine = nil
	g.work.keepConsole(g.options.progress.say)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// start boots a machine with a fresh copy of the payload.
func (g *guest) start(ctx context.Context) error {
	m, err := boot(ctx, g.options, g.work, g.payload, nil)
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
