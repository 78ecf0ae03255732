package pause

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// call is a request that waits for its answer.
type call struct {
	request string
	id      ID
	want    uint32 // type of the answer that means yes
	// late, if not nil, gets the good answer that came after its asker had given up. It runs under Conn.mu.
	late func(reply)

	// Guarded by Conn.mu.
	states   []State // of LIST, until DONE
	answered bool
	gaveUp   bool
	reply    chan reply // room for one
}

// reply is an answer: the struct that belongs to its type is set, and the file that came with it belongs to whoever has the reply.
type reply struct {
	welcome msgWelcome
	cloned  msgCloned
	states  []State
	file    *os.File
	err     error
}

// dropFile closes a file that no answer of its kind has.
func (r *reply) dropFile() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

func (r *reply) drop() {
	r.dropFile()
	for i := range r.states {
		r.states[i].Close()
	}
}

// finish gives the call its answer. The caller holds Conn.mu and takes the call off the list.
func (k *call) finish(r reply) {
	k.answered = true
	for i := range k.states { // of a LIST that broke off
		k.states[i].Close()
	}
	k.states = nil
	if !k.gaveUp {
		k.reply <- r
		return
	}
	if k.late != nil && r.err == nil {
		k.late(r)
		return
	}
	r.drop()
}

// do sends the request m with files and waits for its answer.
func do[M request](ctx context.Context, c *Conn, k *call, kind uint32, m *M, files []*os.File) (reply, error) {
	fds, err := fdsOf(files)
	if err != nil {
		return reply{}, fmt.Errorf("pause: %s %s: %w", k.request, k.id, err)
	}
	seq, err := c.expect(k)
	if err != nil {
		return reply{}, err
	}
	var packets []packet
	for len(fds) > maxPacketFDs {
		packets = append(packets, packet{encode(&msgHeader{}, typeFDs, 0), fds[:maxPacketFDs]})
		fds = fds[maxPacketFDs:]
	}
	packets = append(packets, packet{encode(m, kind, seq), fds})
	err = c.send(ctx, packets)
	runtime.KeepAlive(files)
	if err != nil {
		return reply{}, c.unsent(k, seq, err)
	}
	return c.await(ctx, k)
}

func fdsOf(files []*os.File) ([]int, error) {
	fds := make([]int, len(files))
	for i, f := range files {
		fd, err := fdOf(f)
		if err != nil {
			return nil, err
		}
		fds[i] = fd
	}
	return fds, nil
}

// expect puts the call on the list, before it is sent: the answer may be quicker than the sender.
func (c *Conn) expect(k *call) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.err != nil {
		return 0, fmt.Errorf("pause: %s: %w", k.request, c.mu.err)
	}
	c.mu.seq++
	k.reply = make(chan reply, 1)
	c.mu.waiting[c.mu.seq] = k
	return c.mu.seq, nil
}

// unsent takes a call off the list that could not be sent, and says why.
func (c *Conn) unsent(k *call, seq uint64, reason error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.waiting, seq)
	if k.answered { // the connection's end was quicker
		return (<-k.reply).err
	}
	if c.mu.err != nil {
		reason = c.mu.err
	}
	return fmt.Errorf("pause: %s: %w", k.request, reason)
}

func (c *Conn) await(ctx context.Context, k *call) (reply, error) {
	select {
	case r := <-k.reply:
		return r, r.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.answered {
		r := <-k.reply
		return r, r.err
	}
	k.gaveUp = true
	return reply{}, fmt.Errorf("pause: %s: no answer: %w", k.request, context.Cause(ctx))
}

// packet is one message with its files' numbers.
type packet struct {
	bytes []byte
	fds   []int
}

// send puts packets on the wire one behind the other, with none of another call between them: pause adds the files of FDS to the next CLONE,
// whoever's it is. The lock covers nothing but this.
func (c *Conn) send(ctx context.Context, packets []packet) error {
	select {
	case c.sending <- struct{}{}:
	case <-c.lost:
		return c.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.sending }()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	release := c.interruptible(ctx)
	defer release()
	for i, p := range packets {
		err := c.sendPacket(p)
		if err == nil {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = context.Cause(ctx)
		}
		if i > 0 {
			// The files sent so far would go to the next CLONE.
			c.end(fmt.Errorf("%w: it broke off in the middle of a request: %w", ErrLost, err))
		}
		return err
	}
	return nil
}

// interruptible lets the end of ctx interrupt a send that waits for pause to read, until release is called.
func (c *Conn) interruptible(ctx context.Context) (release func()) {
	set := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(set)
		_ = c.sock.SetWriteDeadline(time.Unix(1, 0))
	})
	return func() {
		if stop() {
			return
		}
		<-set
		_ = c.sock.SetWriteDeadline(time.Time{})
	}
}

func (c *Conn) sendPacket(p packet) error {
	var rights []byte
	if len(p.fds) > 0 {
		rights = unix.UnixRights(p.fds...)
	}
	var err error
	writeErr := c.raw.Write(func(fd uintptr) bool {
		for {
			_, err = unix.SendmsgN(int(fd), p.bytes, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if writeErr != nil {
		return writeErr
	}
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return lostBecause(err)
	}
	if err != nil {
		return fmt.Errorf("sendmsg with %d fds: %w", len(p.fds), err)
	}
	return nil
}
