package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"podlet/hack/vm/wire"
)

// runCommand runs one command in the guest, in the directory that corresponds to this one.
func runCommand(ctx context.Context, o *options) error {
	if len(o.args) == 0 {
		return errors.New("run needs a command: go run ./hack/vm run -- COMMAND")
	}
	work, err := newWorkdir(o.checkout.cache())
	if err != nil {
		return err
	}
	defer work.remove()
	from, err := newPayload(ctx, o.checkout, work.path("payload"))
	if err != nil {
		return err
	}
	m, err := boot(ctx, o, work, from, nil)
	if err != nil {
		return err
	}
	exit, err := m.Run(ctx, wire.Run{Args: o.args, Dir: o.checkout.dir, Env: o.environment}, os.Stdin, os.Stdout, os.Stderr)
	if o.powerCut {
		m.Kill()
		<-m.Ended()
	}
	if err := errors.Join(err, m.Close()); err != nil {
		work.keepConsole(o.progress.say)
		return err
	}
	if exit.Problem != "" {
		fmt.Fprintf(os.Stderr, "vm: %s: %s\n", o.args[0], exit.Problem)
	}
	if exit.Code != 0 {
		return exitCode(exit.Code)
	}
	return nil
}
