package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"podlet/hack/vm/machine"
	"podlet/hack/vm/wire"
)

// cutFlags are those of powercut.
type cutFlags struct {
	n      int
	within time.Duration
	seed   uint64
	lie    bool
}

func (f *cutFlags) register(to *flag.FlagSet) {
	to.IntVar(&f.n, "n", 20, "powercut: the `number` of cuts")
	to.DurationVar(&f.within, "within", time.Minute, "powercut: the `longest` time between a pull's end and its cut")
	to.Uint64Var(&f.seed, "seed", 0, "powercut: the `number` that the moments are made of; 0: another one each time")
	to.BoolVar(&f.lie, "lie", false, "powercut: have podlet believe in a syncfs that did nothing; damage must be found")
}

// cut is the moment of one. Most are soon after the pull's end, where the disk has least of it; every fourth is in the middle of the pull.
type cut struct {
	after  time.Duration
	during bool
}

func (f *cutFlags) moment(i int, random *rand.Rand, lastPull time.Duration) cut {
	r := random.Float64()
	if i%4 == 3 {
		return cut{time.Duration(r * float64(lastPull)), true}
	}
	return cut{time.Duration(r * r * r * float64(f.within)), false}
}

func (c cut) String() string {
	if c.during {
		return fmt.Sprintf("%.2f s into the pull", c.after.Seconds())
	}
	return fmt.Sprintf("%.2f s after the pull", c.after.Seconds())
}

// cutReport is what cutter prints; see there.
type cutReport struct {
	Had          bool
	Layers       int
	Wrong        []string
	StartSeconds float64
	PullSeconds  float64
}

// powercut has podlet, in the guest, pull an image, cuts the power, boots again on the same disk and compares what podlet says it has with what GNU tar makes of the image, again
// and again. What podlet no longer has is pulled again; what it has must be whole.
func powercut(ctx context.Context, o *options) error {
	if len(o.args) > 0 {
		return errors.New("powercut takes no arguments but flags")
	}
	work, err := newWorkdir(o.checkout.cache())
	if err != nil {
		return err
	}
	defer work.remove()
	stop := o.progress.during("making the image")
	from, err := cutPayload(ctx, o.checkout, work.path("payload"))
	stop()
	if err != nil {
		return err
	}
	if o.data == "" {
		o.data = work.path("data.img")
	}
	seed := o.cuts.seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	fmt.Printf("%d cuts, seed %d\n", o.cuts.n, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var kept, gone, wrong int
	lastPull := 5 * time.Second
	var last cut
	for i := range o.cuts.n + 1 {
		final := i == o.cuts.n
		next := o.cuts.moment(i, random, lastPull)
		report, booted, err := oneCut(ctx, o, work, from, next, final)
		if err != nil {
			return fmt.Errorf("boot %d, after a cut %s: %w", i+1, last, err)
		}
		line := fmt.Sprintf("boot %d, up after %.1f s, podlet after %.1f s more: ", i+1, booted.Seconds(), report.StartSeconds)
		switch {
		case i == 0:
			line += "an empty disk"
		case report.Had:
			kept++
			line += fmt.Sprintf("after a cut %s podlet has the image", last)
		default:
			gone++
			line += fmt.Sprintf("after a cut %s podlet has thrown the image away", last)
		}
		if len(report.Wrong) > 0 {
			wrong++
			line += ", and this is WRONG:\n\t" + strings.ReplaceAll(strings.Join(report.Wrong, "\n"), "\n", "\n\t")
		}
		if report.PullSeconds > 0 {
			lastPull = time.Duration(report.PullSeconds * float64(time.Second))
			line += fmt.Sprintf("; pulled in %.1f s", report.PullSeconds)
		}
		if !final {
			line += fmt.Sprintf("; to be cut %s", next)
		}
		fmt.Println(line)
		last = next
	}
	fmt.Printf("%d cuts: the image kept after %d and thrown away after %d; something wrong after %d\n", o.cuts.n, kept, gone, wrong)
	if wrong > 0 {
		return exitCode(1)
	}
	return nil
}

// oneCut is one boot, up to the next cut or, the last time, to a look at what was pulled again.
func oneCut(ctx context.Context, o *options, work *workdir, from payload, at cut, final bool) (r cutReport, booted time.Duration, err error) {
	began := time.Now()
	m, err := boot(ctx, o, work, from, func(c *machine.Config) { c.Data = o.data })
	if err != nil {
		return r, 0, err
	}
	booted = time.Since(began)
	args := []string{filepath.Join(guestPayload, "cutter"), "-image", filepath.Join(guestPayload, "image"), "-podlet", filepath.Join(guestPayload, "podlet"), "-root", "/data/podlet"}
	if !final {
		args = append(args, "-cut", at.after.String())
	}
	if at.during && !final {
		args = append(args, "-during")
	}
	if o.cuts.lie {
		args = append(args, "-lie")
	}
	var out, said bytes.Buffer
	exit, err := m.Run(ctx, wire.Run{Args: args}, nil, &out, &said)
	closed := m.Close()
	if ctx.Err() != nil {
		return r, booted, context.Cause(ctx)
	}
	if errors.Is(err, machine.ErrHung) {
		work.keepConsole(o.progress.say)
		return r, booted, err
	}
	if err == nil && (exit.Code != 0 || !final) {
		return r, booted, fmt.Errorf("cutter ended with %d\n%s%s", exit.Code, said.String(), out.String())
	}
	if final {
		err = errors.Join(err, closed)
	} else {
		err = nil // the guest went off, as it was told
	}
	if err == nil {
		if decoded := json.Unmarshal(out.Bytes(), &r); decoded != nil {
			err = fmt.Errorf("the guest went off before it had told what it found: %w\n%s%s", decoded, said.String(), out.String())
		}
	}
	return r, booted, err
}

// cutPayload fills dir with the agent, podlet, cutter and the image.
func cutPayload(ctx context.Context, c checkout, dir string) (payload, error) {
	p := payload{dir}
	for _, sub := range []string{payloadTree, payloadImages, "image"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return p, err
		}
	}
	for name, pkg := range map[string]string{payloadAgent: agentPackage, "cutter": "podlet/hack/vm/cutter", "podlet": "podlet/cmd/podlet"} {
		if _, err := output(c.command(ctx, "build", "-ldflags=-s -w", "-o", filepath.Join(dir, name), pkg)); err != nil {
			return p, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, payloadCheckout), []byte(c.top+"\n"), 0o644); err != nil {
		return p, err
	}
	return p, makeCutImage(ctx, filepath.Join(dir, "image"))
}
