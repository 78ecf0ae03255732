package pause

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// List tells what pause knows: the processes that run and the exit records not acknowledged. Processes still on
// their way to their tape's FORK step are not among them. An exit that comes meanwhile may be both here and at onExit. The caller closes the States.
func (c *Conn) List(ctx context.Context) ([]State, error) {
	r, err := do(ctx, c, &call{request: "LIST", want: typeDone}, typeList, &msgHeader{}, nil)
	if err != nil {
		r.drop()
		return nil, err
	}
	return r.states, nil
}

// Ack lets pause forget the exit record of id, whose id is then free for another process. A process that runs is EBUSY, one that pause doesn't know ESRCH.
func (c *Conn) Ack(ctx context.Context, id ID) error {
	return c.about(ctx, "ACK", typeAck, id, nil)
}

// Log makes pause write the output of id that it reads from here on to file, as after a log's rotation; nil stops logging. It returns when
// no more will be written to the old one, or after a short wait for a disk that doesn't answer.
func (c *Conn) Log(ctx context.Context, id ID, file *os.File) error {
	if file == nil {
		return c.about(ctx, "LOG", typeLog, id, nil)
	}
	return c.about(ctx, "LOG", typeLog, id, []*os.File{file})
}

// LogReady is Log but for the turn itself, which waits for LogTurn: meanwhile nothing is read, and the old file gets nothing more. Where LogTurn doesn't come in
// 0.3 s the log stays with the old file. A pause of version 1 doesn't know it: EINVAL.
func (c *Conn) LogReady(ctx context.Context, id ID, file *os.File) error {
	return c.about(ctx, "LOG_READY", typeLogReady, id, []*os.File{file})
}

// LogTurn makes pause write the output of id from here on to the file of LogReady. Without one, or when it came too late, it is ENOENT: Log is what is left to do.
func (c *Conn) LogTurn(ctx context.Context, id ID) error {
	return c.about(ctx, "LOG_TURN", typeLogTurn, id, nil)
}

// CloseStdin closes the input of id. With a TTY nothing happens.
func (c *Conn) CloseStdin(ctx context.Context, id ID) error {
	return c.about(ctx, "CLOSE_STDIN", typeCloseStdin, id, nil)
}

// WriterCgroups are where a log writer is to be.
type WriterCgroups struct {
	// Into is the directory of the v2 cgroup that it is cloned into; nil where there is no such tree.
	Into *os.File
	// Join are the "tasks" files of the v1 cgroups that it joins, MaxWriterCgroups at most.
	Join []*os.File
}

// ChargeWriter makes each log writer from here on one that is in these cgroups, of which there is one at least: one that runs makes way for
// another as soon as it can. A writer that was killed has a successor which writes a little outside before it is replaced by one inside, so that a full cgroup
// loses no line. It can be said once: EEXIST. A pause of before version 3 doesn't know it: EINVAL.
func (c *Conn) ChargeWriter(ctx context.Context, to WriterCgroups) error {
	m := &msgWriter{}
	files := to.Join
	if to.Into != nil {
		m.CloneInto = 1
		files = append([]*os.File{to.Into}, files...)
	}
	_, err := do(ctx, c, &call{request: "WRITER_CGROUPS", want: typeDone}, typeWriterCgroups, m, files)
	return err
}

// FlushLogs waits until all that the processes wrote which have ended, and what pause had read of the others' output, is in the logs, or for a quarter of a
// second. A second call meanwhile is EBUSY. A pause of before version 3 doesn't know it: EINVAL.
func (c *Conn) FlushLogs(ctx context.Context) error {
	_, err := do(ctx, c, &call{request: "FLUSH", want: typeDone}, typeFlush, &msgHeader{}, nil)
	return err
}

func (c *Conn) about(ctx context.Context, request string, kind uint32, id ID, files []*os.File) error {
	_, err := do(ctx, c, &call{request: request, id: id, want: typeDone}, kind, &msgID{ID: id}, files)
	return err
}

// Tap copies the output of id, from here on, to the pipes whose write ends are stdout and stderr (nil: not that stream), for an attached
// client; pause makes them non-blocking and closes one that is full. With wantInput the input's end comes back, a pipe's or
// the terminal's master, non-blocking, the caller's to close; nil where the process has no input. One tap more than MaxTaps is EBUSY.
func (c *Conn) Tap(ctx context.Context, id ID, stdout, stderr *os.File, wantInput bool) (*os.File, error) {
	m := &msgTap{ID: id}
	var files []*os.File
	for i, f := range []*os.File{stdout, stderr} {
		if f != nil {
			m.Streams |= 1 << i
			files = append(files, f)
		}
	}
	if wantInput {
		m.WantInput = 1
	}
	r, err := do(ctx, c, &call{request: "TAP", id: id, want: typeTapped}, typeTap, m, files)
	if err != nil || r.file == nil {
		return nil, err
	}
	return unblocked(r.file, "stdin")
}

// unblocked makes f non-blocking and known to Go's poller, so that Close and deadlines end a read or write that waits.
func unblocked(f *os.File, name string) (*os.File, error) {
	defer f.Close()
	fd, err := fdOf(f)
	if err != nil {
		return nil, err
	}
	twin, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: dup: %w", name, err)
	}
	if err := unix.SetNonblock(twin, true); err != nil {
		unix.Close(twin)
		return nil, fmt.Errorf("%s: O_NONBLOCK: %w", name, err)
	}
	return os.NewFile(uintptr(twin), name), nil
}
