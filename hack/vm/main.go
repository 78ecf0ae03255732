// Command vm runs this module's tests, or any command, in a virtual machine with Debian's kernel for clouds: Linux 6.1, cgroup v2 alone, AppArmor, nftables, all capabilities.
// The machine is emulated by software, so that it runs wherever Go does, some six times slower; what the host lacks for it is installed by apt-get. See usage for how it is called.
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
)

const usage = `Usage:

  go run ./hack/vm test [flags] [packages]    run Go tests in the guest; "./..." if none is named
  go run ./hack/vm run [flags] -- command     run a command in the guest, with this input and output; the exit code
                                              is the command's, of which "go run" makes 1
  go run ./hack/vm shell [flags]              give a shell in the guest; its end is the machine's
  go run ./hack/vm powercut [flags]           have podlet pull an image, cut the guest's power at a random moment, boot again
                                              and look at what is left; -n times
  go run ./hack/vm make                       only install and make what the others need

The guest has the checkout, bin/ and build/ with it, where it stands on the host; commands start there. It has no
network. Its disks are made once, into build/vm; what is written to them is gone with the machine, but for /data.

Flags, with their defaults:

`

// exitCode is an end that has been told already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	var code exitCode
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.As(err, &code):
		os.Exit(int(code))
	default:
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(2)
	}
}

func run(ctx context.Context, args []string) error {
	name := "help"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	deadline := 20 * time.Minute
	if name == "shell" {
		deadline = 24 * time.Hour
	}
	o := newOptions(deadline)
	var command func(context.Context, *options) error
	switch name {
	case "test":
		o.forTests()
		command = test
	case "run":
		o.forMachine()
		o.forRun()
		command = runCommand
	case "shell":
		o.forMachine()
		command = shell
	case "powercut":
		o.forMachine()
		o.forCuts()
		command = powercut
	case "make":
		command = func(context.Context, *options) error { return nil }
	case "help", "-h", "-help", "--help":
		o.forTests()
		o.forRun()
		o.forCuts()
		o.flags.SetOutput(os.Stdout)
		o.flags.Usage()
		return nil
	default:
		return fmt.Errorf("there is no command %q: see go run ./hack/vm help", name)
	}
	if err := o.parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.deadline, fmt.Errorf("the deadline of %s for all (-deadline) has passed", o.deadline))
	defer cancel()
	if err := o.prepare(ctx); err != nil {
		return err
	}
	return command(ctx, o)
}
