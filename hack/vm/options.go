package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"podlet/hack/vm/image"
	"podlet/hack/vm/machine"
)

// options are the command line's, and what prepare makes of them.
type options struct {
	flags *flag.FlagSet
	args  []string // what is no flag

	chdir       string
	deadline    time.Duration
	cpus        int
	memory      int // MiB
	data        string
	tests       testFlags
	powerCut    bool
	cuts        cutFlags
	environment environment

	progress *progress
	checkout checkout
	boot     image.Boot
}

// environment collects -e KEY=value.
type environment []string

func (e *environment) String() string { return "" }

func (e *environment) Set(value string) error {
	for i := range value {
		if value[i] == '=' && i > 0 {
			*e = append(*e, value)
			return nil
		}
	}
	return fmt.Errorf("it is not KEY=value")
}

// newOptions has the flags of all commands, with the deadline that suits this one.
func newOptions(deadline time.Duration) *options {
	o := &options{flags: flag.NewFlagSet("vm", flag.ContinueOnError), progress: newProgress(os.Stderr)}
	o.flags.Usage = func() {
		fmt.Fprint(o.flags.Output(), usage)
		o.flags.PrintDefaults()
	}
	o.flags.StringVar(&o.chdir, "C", ".", "the checkout, or a `directory` below its top")
	o.flags.DurationVar(&o.deadline, "deadline", deadline, "end everything after this `time`; a shell has 24h")
	return o
}

func (o *options) forMachine() {
	o.flags.IntVar(&o.cpus, "cpus", 2, "the guest's `number` of CPUs")
	o.flags.IntVar(&o.memory, "memory", 4096, "the guest's memory in `MiB`")
	o.flags.StringVar(&o.data, "data", "", "mount the disk `file` at /data; it is made if missing, and kept: what is on it is there at the next boot")
	o.flags.Var(&o.environment, "e", "set `KEY=value` in the environment of what is run; may be repeated")
}

func (o *options) forRun() {
	o.flags.BoolVar(&o.powerCut, "cut", false, "run: cut the guest's power as the command ends, in place of unmounting /data")
}

func (o *options) forCuts() {
	o.cuts.register(o.flags)
}

func (o *options) forTests() {
	o.forMachine()
	o.tests.register(o.flags)
}

// parse takes flags after other arguments too, as go test does; "--" ends them.
func (o *options) parse(args []string) error {
	for {
		if err := o.flags.Parse(args); err != nil {
			return err
		}
		rest := o.flags.Args()
		if len(rest) == 0 {
			return nil
		}
		if ended := len(args) > len(rest) && args[len(args)-len(rest)-1] == "--"; ended {
			o.args = append(o.args, rest...)
			return nil
		}
		o.args, args = append(o.args, rest[0]), rest[1:]
	}
}

// prepare finds the checkout, installs the host's tools and makes the guest's disks.
func (o *options) prepare(ctx context.Context) error {
	var err error
	if o.data != "" {
		if o.data, err = filepath.Abs(o.data); err != nil {
			return err
		}
	}
	if o.checkout, err = findCheckout(ctx, o.chdir); err != nil {
		return err
	}
	if err := installHostTools(ctx, o.progress.say); err != nil {
		return err
	}
	o.boot, err = image.Ensure(ctx, o.checkout.cache(), o.progress.say)
	return err
}

// silence is long enough for whatever a test may do to its guest short of hanging it.
const silence = 2 * time.Minute

// config is a machine's but for its payload, mode and directory.
func (o *options) config(ctx context.Context) (machine.Config, error) {
	if err := ensureData(ctx, o.data); err != nil {
		return machine.Config{}, err
	}
	return machine.Config{
		Kernel: o.boot.Kernel, Initramfs: o.boot.Initramfs, Root: o.boot.Root,
		Data: o.data, CPUs: o.cpus, MemoryMiB: o.memory, Mode: machine.Agent, Silence: silence,
	}, nil
}
