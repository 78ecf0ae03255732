package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"podlet/hack/vm/wire"
)

// Run runs one command in the guest and returns its end, after all of its output has been written. stdin may be nil; the goroutine that reads it lives until its reader returns.
//
// An error means that there was no such end: the guest went off, hung (ErrHung) or broke the protocol, or ctx ended, which ends the machine, as there is no other way to be sure that the command's processes are gone. No other command can be run then. Where time ran out, for ctx or for the guest, the console has every task's stack.
func (m *Machine) Run(ctx context.Context, run wire.Run, stdin io.Reader, stdout, stderr io.Writer) (wire.Exit, error) {
	defer context.AfterFunc(ctx, func() { m.giveUp(ctx) })()
	run.Stdin = stdin != nil
	if err := m.wire.SendJSON(wire.KindRun, run); err != nil {
		return wire.Exit{}, m.failed(ctx, err)
	}
	if stdin != nil {
		go m.feed(stdin)
	}
	done := make(chan struct{})
	defer close(done)
	go m.hear(m.config.Silence, done)
	for {
		m.heard()
		kind, payload, err := m.wire.Receive()
		if err != nil {
			return wire.Exit{}, m.failed(ctx, err)
		}
		switch kind {
		case wire.KindStdout:
			_, err = stdout.Write(payload)
		case wire.KindStderr:
			_, err = stderr.Write(payload)
		case wire.KindExit:
			var exit wire.Exit
			return exit, decode(payload, &exit)
		case wire.KindAlive:
		default:
			err = fmt.Errorf("the agent sent a frame of kind %q", kind)
		}
		if err != nil {
			m.Kill()
			return wire.Exit{}, err
		}
	}
}

// feed sends what it reads, and an empty frame at the end.
func (m *Machine) feed(stdin io.Reader) {
	io.Copy(m.wire.Stream(wire.KindStdin), stdin)
	m.wire.Send(wire.KindStdin, nil)
}

// failed waits for the machine's end, so that its console's log is whole, and tells why there is no more to receive.
func (m *Machine) failed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		// What ended ctx ends the machine.
		<-m.ended
		return m.explain(context.Cause(ctx))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return m.explain(m.hung())
	case errors.Is(err, io.EOF):
		err = errors.New("the guest went off")
	}
	m.Kill()
	<-m.ended
	return m.explain(err)
}

func decode(payload []byte, into any) error {
	if err := json.Unmarshal(payload, into); err != nil {
		return fmt.Errorf("decode %T: %w", into, err)
	}
	return nil
}
