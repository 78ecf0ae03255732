package pod

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// execOutputMost is how much ExecSync gives back of stdout and stderr together, in bytes; the rest is discarded (api.proto, ExecSyncResponse). A kubelet
	// takes no message above 16 MiB, and what is around the output needs some room too.
	execOutputMost = 16<<20 - 4096
	// execOutputOwn is how much of that each stream has for itself, whatever the other and other calls keep.
	execOutputOwn = 64 << 10
	// execOutputAll is how much all running calls may keep beyond their streams' own.
	execOutputAll = 64 << 20
)

// execOutput is what is left of execOutputAll: podlet's memory is one, however many Runtimes there are.
var execOutput = newAllowance(execOutputAll)

// allowance is a number of bytes that several may take of.
type allowance struct{ left atomic.Int64 }

func newAllowance(bytes int) *allowance {
	a := &allowance{}
	a.left.Store(int64(bytes))
	return a
}

// take gives as many bytes of those that are wanted as there are.
func (a *allowance) take(want int) int {
	for {
		left := a.left.Load()
		n := min(int64(want), left)
		if n <= 0 {
			return 0
		}
		if a.left.CompareAndSwap(left, left-n) {
			return int(n)
		}
	}
}

func (a *allowance) give(n int) { a.left.Add(int64(n)) }

// captured is the beginning of what a command writes to one stream.
type captured struct {
	pipe *os.File
	// room is what the call may keep beyond its streams' own, shared is what this stream has of it, and of execOutput.
	room   *allowance
	shared int
	data   []byte
	cut    bool          // there was no room: nothing that comes later may follow the beginning
	done   chan struct{} // nil until start; until it is closed all the rest is the reader's
}

// capture makes a pipe for the stream.
func capture(files fds, name string, room *allowance) (*captured, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	files[name] = os.NewFile(uintptr(ends[1]), name)
	// Only podlet's end: the command expects to block.
	unix.SetNonblock(ends[0], true)
	return &captured{pipe: os.NewFile(uintptr(ends[0]), name), room: room}, nil
}

// start begins to read.
func (o *captured) start() {
	o.done = make(chan struct{})
	go o.read()
}

// read takes what comes until the end of the stream or close, keeps the beginning and discards the rest.
func (o *captured) read() {
	defer close(o.done)
	buffer := make([]byte, 32<<10)
	for {
		n, err := o.pipe.Read(buffer)
		o.keep(buffer[:n])
		if err != nil {
			rest(o.pipe, buffer, o.keep)
			return
		}
	}
}

// pipeMost is the largest that a pipe is made (pipe(7), pipe-max-size).
const pipeMost = 1 << 20

// rest takes what is in the pipe already: on a busy machine the deadline may come before the reader had its first turn, and what a command
// wrote before its end is never cut. A child that goes on writing doesn't keep it here.
func rest(pipe *os.File, buffer []byte, keep func([]byte) error) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	for taken := 0; taken < pipeMost; {
		var n int
		if controlErr := raw.Control(func(fd uintptr) { n, err = unix.Read(int(fd), buffer) }); controlErr != nil || err != nil || n <= 0 {
			return
		}
		if keep(buffer[:n]) != nil {
			return
		}
		taken += n
	}
}

// keep adds to the beginning, as long as there is room.
func (o *captured) keep(p []byte) error {
	if o.cut {
		return nil
	}
	own := min(len(p), max(0, execOutputOwn-len(o.data)))
	n := own + o.share(len(p)-own)
	o.data = append(o.data, p[:n]...)
	o.cut = n < len(p)
	return nil
}

// share takes room for n bytes that is not the stream's own, or for as many as there is room for.
func (o *captured) share(n int) int {
	call := o.room.take(n)
	all := execOutput.take(call)
	o.room.give(call - all)
	o.shared += all
	return all
}

// until gives what has come by the end of the stream, or by the deadline.
func (o *captured) until(deadline time.Time) []byte {
	o.pipe.SetReadDeadline(deadline)
	<-o.done
	return o.data
}

// close ends the reading, and gives the room back. What was kept is the caller's for as long as it takes to send it.
func (o *captured) close() {
	o.pipe.Close()
	if o.done != nil {
		<-o.done
	}
	execOutput.give(o.shared)
}
