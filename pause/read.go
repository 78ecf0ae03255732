package pause

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// read takes in packets until the connection is over. It waits for nobody else: answers go to channels with room, exits to a queue.
func (c *Conn) read() {
	defer c.running.Done()
	buf := make([]byte, maxPacketSize)
	for {
		n, file, err := c.receive(buf)
		if err == nil {
			err = c.handle(buf[:n], file)
		}
		if err != nil {
			c.end(lostBecause(err))
			return
		}
	}
}

// receive reads one packet with the file that came with it, if any.
func (c *Conn) receive(buf []byte) (int, *os.File, error) {
	var control [64]byte // the kernel closes what doesn't fit: nothing sends more than one
	var n, controlSize, flags int
	var err error
	receive := func(fd int) {
		n, controlSize, flags, _, err = retryMsg(fd, buf, control[:], unix.MSG_CMSG_CLOEXEC)
	}
	readErr := c.raw.Read(func(fd uintptr) bool {
		var begin [1]byte
		_, _, flags, _, err = retryMsg(int(fd), begin[:], nil, unix.MSG_PEEK)
		switch {
		case err != nil:
		case flags&unix.MSG_CTRUNC != 0:
			room.use(func() { receive(int(fd)) })
		default:
			receive(int(fd))
		}
		return err != unix.EAGAIN
	})
	if err = errors.Join(readErr, err); err != nil {
		return 0, nil, err
	}
	fds, err := rights(control[:controlSize])
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(fds) > 1 {
		err = fmt.Errorf("a packet of more than %d bytes or with more than one file", len(buf))
	}
	if err != nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return 0, nil, err
	}
	if len(fds) == 0 {
		return n, nil, nil
	}
	return n, os.NewFile(uintptr(fds[0]), "from pause"), nil
}

// retryMsg is recvmsg(2) that doesn't wait, and that no signal interrupts.
func retryMsg(fd int, buf, control []byte, flags int) (n, controlSize, got int, from unix.Sockaddr, err error) {
	for {
		n, controlSize, got, from, err = unix.Recvmsg(fd, buf, control, unix.MSG_DONTWAIT|flags)
		if err != unix.EINTR {
			return n, controlSize, got, from, err
		}
	}
}

func rights(control []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range messages {
		some, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fds, err
		}
		fds = append(fds, some...)
	}
	return fds, nil
}

// handle deals with one message and takes over file. An error means that the two sides don't understand each other: the connection can't go on.
func (c *Conn) handle(packet []byte, file *os.File) error {
	r := reply{file: file}
	h, err := decodeHeader(packet)
	switch {
	case err != nil:
	case h.Type == typeExited:
		err = c.handleExited(packet)
	case h.Type == typeWriter:
		err = c.handleWriter(packet)
	default:
		err = c.handleAnswer(h, packet, &r)
	}
	if err != nil {
		err = fmt.Errorf("pause sent what it must not: %w", err)
	}
	// Whoever took it has set it to nil.
	r.drop()
	return err
}

func (c *Conn) handleExited(packet []byte) error {
	m, err := decode[msgProcess](packet)
	if err != nil {
		return err
	}
	return c.exited(stateOf(m, nil))
}

func (c *Conn) handleWriter(packet []byte) error {
	if _, err := decode[msgHeader](packet); err != nil {
		return err
	}
	select {
	case c.writer <- struct{}{}:
	default:
	}
	return nil
}

// handleAnswer gives *r, completed, to the call with this seq, or leaves it where it can't.
func (c *Conn) handleAnswer(h msgHeader, packet []byte, r *reply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.mu.waiting[h.Seq]
	if k == nil && c.mu.err != nil {
		return nil
	}
	if k == nil {
		return fmt.Errorf("an answer of type %d to request %d, which nobody made or which is answered", h.Type, h.Seq)
	}
	if h.Type == typeProcess && k.request == "LIST" {
		return k.listed(packet, r)
	}
	if h.Type != k.want && h.Type != typeFailed {
		return fmt.Errorf("an answer of type %d to %s", h.Type, k.request)
	}
	if err := k.complete(h.Type, packet, r); err != nil {
		return err
	}
	delete(c.mu.waiting, h.Seq)
	k.finish(*r)
	*r = reply{}
	return nil
}

// listed adds a process to a LIST's answer. Its file belongs to the call from then on.
func (k *call) listed(packet []byte, r *reply) error {
	if len(k.states) >= MaxPods {
		return fmt.Errorf("LIST has more than %d processes", MaxPods)
	}
	m, err := decode[msgProcess](packet)
	if err != nil {
		return err
	}
	s := stateOf(m, r.file)
	r.file = nil
	if k.gaveUp {
		s.Close()
		return nil
	}
	k.states = append(k.states, s)
	return nil
}

// complete decodes the last, often the only, message of an answer into *r.
func (k *call) complete(kind uint32, packet []byte, r *reply) (err error) {
	switch kind {
	case typeWelcome:
		r.welcome, err = decode[msgWelcome](packet)
	case typeCloned:
		r.cloned, err = decode[msgCloned](packet)
		if err == nil && r.file == nil {
			err = errors.New("CLONED without a pidfd")
		}
	case typeTapped:
		_, err = decode[msgHeader](packet)
	case typeDone:
		_, err = decode[msgHeader](packet)
		r.dropFile()
	case typeFailed:
		var m msgFailed
		m, err = decode[msgFailed](packet)
		r.dropFile()
		r.err = &FailedError{Request: k.request, ID: k.id, Errno: unix.Errno(m.Error), Step: m.Step}
	}
	if err != nil {
		r.err = nil
		return err
	}
	r.states = k.states
	k.states = nil
	return nil
}
