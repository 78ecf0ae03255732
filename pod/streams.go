package pod

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Streams are a client's ends of a process's standard streams.
type Streams struct {
	// Stdin, nil for none: Close must end a Read that waits. Whoever gets the Streams closes it.
	Stdin io.ReadCloser
	// Stdout and Stderr, nil for those that are thrown away. A terminal has Stdout only.
	Stdout, Stderr io.Writer
	// TTY: the process's streams are, or are to be, a terminal.
	TTY bool
	// Resize gives the window's sizes, nil for none. It need not be closed.
	Resize <-chan unix.Winsize
}

// outflow copies what a process writes to a client, who may be slow.
type outflow struct {
	from *os.File
	to   io.Writer
	done chan struct{}
}

func newOutflow(from *os.File, to io.Writer) *outflow {
	o := &outflow{from: from, to: to, done: make(chan struct{})}
	go o.run()
	return o
}

// run copies to the stream's end, or to the deadline set by last. A client that is gone ends it too: who writes on then gets EPIPE.
func (o *outflow) run() {
	defer close(o.done)
	defer o.from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := o.from.Read(buffer)
		if n > 0 && o.write(buffer[:n]) != nil {
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			rest(o.from, buffer, o.write)
		}
		if err != nil { // EIO is a terminal's end
			return
		}
	}
}

func (o *outflow) write(p []byte) error {
	_, err := o.to.Write(p)
	return err
}

// inflow copies what a client says to a process.
type inflow struct {
	from io.ReadCloser
	done chan struct{}
}

// newInflow copies until the client's end, and then calls ended. What the process doesn't want is read all the same.
func newInflow(from io.ReadCloser, to io.Writer, ended func()) *inflow {
	i := &inflow{from: from, done: make(chan struct{})}
	go func() {
		defer close(i.done)
		io.Copy(struct{ io.Writer }{to}, from)
		ended()
		io.Copy(io.Discard, from)
	}()
	return i
}

// stop ends the copying, if there is any.
func (i *inflow) stop() {
	if i != nil {
		i.from.Close()
		<-i.done
	}
}

// follow gives a terminal the sizes of its client's window until stop is closed.
func follow(terminal *os.File, sizes <-chan unix.Winsize, stop <-chan struct{}) {
	for {
		select {
		case size := <-sizes:
			setSize(terminal, &size)
		case <-stop:
			return
		}
	}
}

// setSize has no error that anybody could act on: a terminal that is gone needs no size.
func setSize(terminal *os.File, size *unix.Winsize) {
	raw, err := terminal.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) { unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
}

// pollable gives f in non-blocking mode, with deadlines, and such that Close ends a read or write that waits. It takes f over.
func pollable(f *os.File) (*os.File, error) {
	defer f.Close()
	twin, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate the fd of %s: %w", f.Name(), err)
	}
	if err := unix.SetNonblock(twin, true); err != nil {
		unix.Close(twin)
		return nil, fmt.Errorf("make %s non-blocking: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(twin), f.Name()), nil
}
