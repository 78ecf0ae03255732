package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"podlet/hack/vm/machine"
)

// shell gives this terminal to a shell in the guest.
func shell(ctx context.Context, o *options) error {
	if len(o.args) > 0 {
		return errors.New("shell takes no arguments: for a command there is run")
	}
	terminal := int(os.Stdin.Fd())
	state, err := unix.IoctlGetTermios(terminal, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("a shell needs a terminal as its standard input (for a script there is run -- bash): %w", err)
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
	m, err := boot(ctx, o, work, from, func(config *machine.Config) {
		config.Mode = machine.Shell
		if size, err := unix.IoctlGetWinsize(terminal, unix.TIOCGWINSZ); err == nil {
			config.Rows, config.Columns = int(size.Row), int(size.Col)
		}
	})
	if err != nil {
		return err
	}
	defer m.Close()
	o.progress.say("booting; the shell's end (exit, or Ctrl-D) is the machine's")
	if err := unix.IoctlSetTermios(terminal, unix.TCSETS, raw(*state)); err != nil {
		return err
	}
	defer unix.IoctlSetTermios(terminal, unix.TCSETS, state)
	if err := m.Attach(os.Stdin, os.Stdout); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// raw is the terminal with every byte passed on as it is: the guest's own terminal does the rest.
func raw(state unix.Termios) *unix.Termios {
	state.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	state.Oflag &^= unix.OPOST
	state.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	state.Cflag = state.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	state.Cc[unix.VMIN], state.Cc[unix.VTIME] = 1, 0
	return &state
}
