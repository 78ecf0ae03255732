package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
)

// window is a person's terminal window, whose size is what was sent last. It is closed by closing the channel.
type window chan remotecommand.TerminalSize

func (w window) Next() *remotecommand.TerminalSize {
	size, ok := <-w
	if !ok {
		return nil
	}
	return &size
}

// terminal: a shell's window is made larger and smaller, and the shell says so.
func (k *kubelet) terminal(ctx context.Context, _ []string) error {
	sizes := window(make(chan remotecommand.TerminalSize, 1))
	defer close(sizes)
	keys, out := newKeyboard(), newTranscript()
	streams := remotecommand.StreamOptions{Stdin: keys, Stdout: out, Tty: true, TerminalSizeQueue: sizes}
	session, err := k.executor("exec", streams, "sh")
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- session.StreamWithContext(ctx, streams)
		out.end()
	}()
	for _, size := range []remotecommand.TerminalSize{{Width: 132, Height: 43}, {Width: 80, Height: 25}} {
		sizes <- size
		// The size comes by another stream than the command that asks for it. A terminal shows what is typed: the quotes keep it from being the answer.
		keys.typed(fmt.Sprintf("until [ \"$(stty size)\" = '%d %d' ]; do :; done; echo now ''%d\n", size.Height, size.Width, size.Width))
		if err := out.until(ctx, fmt.Sprintf("now %d\r\n", size.Width)); err != nil {
			return err
		}
	}
	keys.typed("exit 7\n")
	err = <-ended
	var status exec.CodeExitError
	if !errors.As(err, &status) || status.Code != 7 {
		return fmt.Errorf("a shell that exits with 7: %v", err)
	}
	return nil
}

// cat: what goes in comes out, byte for byte.
func (k *kubelet) cat(ctx context.Context, args []string) error {
	size, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return fmt.Errorf("how many bytes: %w", err)
	}
	command := []string{"cat"}
	if k.transport == webSocketV4 { // which can't tell the end of stdin
		const block = 1 << 16
		if size%block != 0 {
			return fmt.Errorf("%d bytes over v4: want a multiple of %d", size, block)
		}
		command = []string{"dd", fmt.Sprintf("bs=%d", block), fmt.Sprintf("count=%d", size/block), "iflag=fullblock", "status=none"}
	}
	compared := &comparison{want: noise(size)}
	streams := remotecommand.StreamOptions{Stdin: noise(size), Stdout: compared, Stderr: os.Stderr}
	session, err := k.executor("exec", streams, command...)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := session.StreamWithContext(ctx, streams); err != nil {
		return err
	}
	took := time.Since(began)
	if compared.bad != nil {
		return compared.bad
	}
	if compared.got != size {
		return fmt.Errorf("%d bytes came back of %d, all of them right", compared.got, size)
	}
	fmt.Printf("%d bytes there and back in %.1f s over %s\n", size, took.Seconds(), k.transport)
	return nil
}

// attach: a line to the container's process, and its answer.
func (k *kubelet) attach(ctx context.Context, args []string) error {
	keys, out := newKeyboard(), newTranscript()
	streams := remotecommand.StreamOptions{Stdin: keys, Stdout: out, Tty: true}
	session, err := k.executor("attach", streams)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- session.StreamWithContext(ctx, streams)
		out.end()
	}()
	keys.typed(args[0] + "\n")
	err = out.until(ctx, args[1])
	cancel() // as a person who closes the window
	if end := <-ended; err == nil && !errors.Is(end, context.Canceled) {
		err = fmt.Errorf("the session ended before its client did: %v", end)
	}
	return err
}

// run: a command with this process's streams; its exit code is this one's.
func (k *kubelet) run(ctx context.Context, args []string) error {
	streams := remotecommand.StreamOptions{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	session, err := k.executor("exec", streams, args...)
	if err != nil {
		return err
	}
	err = session.StreamWithContext(ctx, streams)
	var status exec.CodeExitError
	if errors.As(err, &status) {
		os.Exit(status.Code)
	}
	return err
}
