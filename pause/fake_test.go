package pause

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fakePause answers what the real one never would.
type fakePause struct {
	t    testing.TB
	sock *os.File
}

// newFake runs script as the other side of the connection that it returns Start's result of.
func newFake(t *testing.T, script func(f *fakePause)) (*Conn, events, error) {
	t.Helper()
	leakChecked(t)
	ours, theirs, err := socketPair()
	must(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer theirs.Close()
		script(&fakePause{t, theirs})
	}()
	e := newEvents()
	c, err := newConn(limited(t), ours, e.add)
	t.Cleanup(func() {
		if c != nil {
			must(t, c.Close())
		}
		<-ended
	})
	return c, e, err
}

// next reads a request's header; false: the client has gone.
func (f *fakePause) next() (msgHeader, bool) {
	fd, err := fdOf(f.sock)
	if err != nil {
		return msgHeader{}, false
	}
	buf := make([]byte, maxPacketSize)
	n, _, _, _, err := unix.Recvmsg(fd, buf, nil, 0)
	if err != nil || n == 0 {
		return msgHeader{}, false
	}
	h, err := decodeHeader(buf[:n])
	if err != nil {
		f.t.Error(err)
	}
	return h, true
}

func (f *fakePause) send(packet []byte, files ...*os.File) {
	fd, err := fdOf(f.sock)
	if err != nil {
		f.t.Error(err)
		return
	}
	fds, err := fdsOf(files)
	if err != nil {
		f.t.Error(err)
	}
	var control []byte
	if len(fds) > 0 {
		control = unix.UnixRights(fds...)
	}
	// Whether anybody still listens is the test's business.
	_, _ = unix.SendmsgN(fd, packet, control, nil, unix.MSG_NOSIGNAL)
}

// bytesOf is any message as it goes over the wire.
func bytesOf[M any](m M, kind uint32, seq uint64) []byte {
	b := make([]byte, unsafe.Sizeof(m))
	copy(b, unsafe.Slice((*byte)(unsafe.Pointer(&m)), len(b)))
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	binary.LittleEndian.PutUint32(b[4:], kind)
	binary.LittleEndian.PutUint64(b[8:], seq)
	return b
}

// welcome answers HELLO as a pause of this version.
func (f *fakePause) welcome(version uint32) {
	h, ok := f.next()
	if !ok || h.Type != typeHello {
		f.t.Errorf("first came %+v, %v", h, ok)
		return
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		f.t.Error(err)
		return
	}
	defer null.Close()
	f.send(bytesOf(msgWelcome{Version: version, TapeVersion: version, Started: 1}, typeWelcome, h.Seq), null)
}

func TestNewerPause(t *testing.T) {
	_, _, err := newFake(t, func(f *fakePause) { f.welcome(ProtocolVersion + 1) })
	var version *VersionError
	if !errors.As(err, &version) || version.Pause != ProtocolVersion+1 || version.Podlet != ProtocolVersion {
		t.Errorf("error %v, want a VersionError", err)
	}
}

func TestHandshakeGoesWrong(t *testing.T) {
	for name, script := range map[string]func(f *fakePause){
		"it hangs up":    func(f *fakePause) { f.next() },
		"no status page": func(f *fakePause) { h, _ := f.next(); f.send(bytesOf(msgWelcome{Version: 1}, typeWelcome, h.Seq)) },
		"no": func(f *fakePause) {
			h, _ := f.next()
			f.send(bytesOf(msgFailed{Error: int32(unix.EPERM)}, typeFailed, h.Seq))
		},
		"a short answer": func(f *fakePause) { h, _ := f.next(); f.send(bytesOf(msgHeader{}, typeWelcome, h.Seq)) },
		"a wrong seq":    func(f *fakePause) { h, _ := f.next(); f.send(bytesOf(msgHeader{}, typeDone, h.Seq+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := newFake(t, script); err == nil {
				t.Error("no error")
			} else {
				t.Log(err)
			}
		})
	}
}

// TestSenseless: one message that makes no sense ends the connection, and every call that waits, with the reason.
func TestSenseless(t *testing.T) {
	null, err := os.Open("/dev/null")
	must(t, err)
	t.Cleanup(func() { null.Close() })
	long := append(bytesOf(msgHeader{}, typeDone, 2), 1)
	long[0]++
	for name, m := range map[string]struct {
		packet []byte
		files  []*os.File
	}{
		"an answer to nobody":       {bytesOf(msgHeader{}, typeDone, 77), nil},
		"an answer of a wrong type": {bytesOf(msgCloned{}, typeCloned, 2), []*os.File{null}},
		"an unknown type":           {bytesOf(msgHeader{}, 99, 2), []*os.File{null}},
		"a size that is wrong":      {append(bytesOf(msgHeader{}, typeDone, 2), 0), nil},
		"a later field":             {long, nil},
		"not even a header":         {[]byte("x"), []*os.File{null}},
		"a short exit":              {bytesOf(msgID{}, typeExited, 0), nil},
		"a short process":           {bytesOf(msgID{}, typeProcess, 2), []*os.File{null}},
		"two files":                 {bytesOf(msgHeader{}, typeDone, 2), []*os.File{null, null}},
		"very many files":           {bytesOf(msgHeader{}, typeDone, 2), []*os.File{null, null, null, null, null, null, null, null, null, null, null, null, null, null}},
		"too long":                  {bytesOf([maxPacketSize + 8]byte{}, typeDone, 2), nil},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, err := newFake(t, func(f *fakePause) {
				f.welcome(ProtocolVersion)
				f.next()
				f.send(m.packet, m.files...)
				f.next()
			})
			must(t, err)
			if _, err := c.List(limited(t)); !isLost(err) {
				t.Errorf("List: %v, want ErrLost", err)
			} else {
				t.Log(err)
			}
		})
	}
}

// TestLaterFieldOfZero: what a pause appends in our own version's name and leaves at 0 is nothing new.
func TestLaterFieldOfZero(t *testing.T) {
	c, _, err := newFake(t, func(f *fakePause) {
		f.welcome(ProtocolVersion)
		h, _ := f.next()
		m := append(bytesOf(msgHeader{}, typeDone, h.Seq), make([]byte, 8)...)
		m[0] = byte(len(m))
		f.send(m)
		f.next()
	})
	must(t, err)
	must(t, c.Ack(limited(t), testID(1)))
}

// TestFilesNobodyWants come with answers that have none; the leak check looks for them.
func TestFilesNobodyWants(t *testing.T) {
	null, err := os.Open("/dev/null")
	must(t, err)
	t.Cleanup(func() { null.Close() })
	c, exits, err := newFake(t, func(f *fakePause) {
		f.welcome(ProtocolVersion)
		h, _ := f.next()
		f.send(bytesOf(msgProcess{ID: testID(9), State: processExited, Exited: 1, Started: 1}, typeExited, 0), null)
		f.send(bytesOf(msgHeader{}, typeDone, h.Seq), null)
		h, _ = f.next()
		f.send(bytesOf(msgFailed{Error: int32(unix.EPERM), Step: StepNone}, typeFailed, h.Seq), null)
		h, _ = f.next()
		f.send(bytesOf(msgProcess{State: processRunning}, typeProcess, h.Seq), null)
		f.send(bytesOf(msgFailed{Error: int32(unix.EPERM), Step: StepNone}, typeFailed, h.Seq), null)
		h, _ = f.next()
		f.send(bytesOf(msgProcess{State: processRunning}, typeProcess, h.Seq), null)
	})
	must(t, err)
	must(t, c.Ack(limited(t), testID(1)))
	exits.exit(t, testID(9))
	wantErrno(t, c.Ack(limited(t), testID(1)), unix.EPERM, StepNone)
	_, err = c.List(limited(t))
	wantErrno(t, err, unix.EPERM, StepNone)
	if _, err := c.List(limited(t)); !isLost(err) {
		t.Errorf("a LIST that broke off: %v, want ErrLost", err)
	}
}
