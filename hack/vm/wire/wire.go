// Package wire is what the driver (package machine) and the guest's agent say to each other over one virtio-serial port.
//
// The stream is a sequence of frames: one byte of kind, four bytes of payload length (big endian), the payload. It carries one command at a time:
//
//	agent            driver
//	  Ready     -->           once, as the guest is up
//	            <--  Run      starts a command
//	            <--  Stdin    any number, if the command wants input; an empty one is its end
//	  Stdout,
//	  Stderr    -->           any number
//	  Alive     -->           every AliveEvery while the command runs
//	  Exit      -->           after all output
//
// One stream keeps the order, so an Exit proves that all output before it has arrived. When the driver closes its end the agent returns and the guest powers off.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Kind tells what a frame holds.
type Kind byte

const (
	KindReady  Kind = 'r' // a Ready as JSON
	KindRun    Kind = 'c' // a Run as JSON
	KindStdin  Kind = 'i'
	KindStdout Kind = 'o'
	KindStderr Kind = 'e'
	KindAlive  Kind = 'a' // empty
	KindExit   Kind = 'x' // an Exit as JSON
)

// AliveEvery is how often the agent tells that it, and the guest with it, still runs.
const AliveEvery = 5 * time.Second

// PortName is the virtio-serial port's name, which the guest finds below /sys/class/virtio-ports.
const PortName = "podlet.agent"

const (
	headerSize = 5
	// maxPayload bounds what a frame may hold: both ends read a frame into memory.
	maxPayload = 1 << 20
	// chunk is the most that a Stream puts into one frame.
	chunk = 64 << 10
)

// Ready is the agent's first word.
type Ready struct {
	Kernel string        // uname -r
	Uptime time.Duration // guest time since the kernel started, in steps of 10 ms
}

// Run asks for one command.
type Run struct {
	Args  []string // Args[0] is looked up in PATH unless it has a slash
	Dir   string   // working directory; empty: /root
	Env   []string // KEY=value, added to the agent's own environment
	Stdin bool     // Stdin frames will follow; false: /dev/null
}

// Exit is a command's end.
type Exit struct {
	Code    int           // its exit code; 128 plus the signal where one killed it; 127 where it could not be started
	Problem string        // what the agent has to say beyond the code; empty: nothing
	Elapsed time.Duration // from its start to its end
}

// Conn sends and receives frames. Send and Stream may be used from several goroutines, Receive from one.
type Conn struct {
	rw io.ReadWriter
	mu sync.Mutex // held for one frame's write
}

// NewConn speaks over rw, which stays the caller's to close.
func NewConn(rw io.ReadWriter) *Conn { return &Conn{rw: rw} }

// Send writes one frame in a single write.
func (c *Conn) Send(kind Kind, payload []byte) error {
	if len(payload) > maxPayload {
		return fmt.Errorf("frame %q of %d bytes: the most is %d", kind, len(payload), maxPayload)
	}
	frame := make([]byte, headerSize, headerSize+len(payload))
	frame[0] = byte(kind)
	binary.BigEndian.PutUint32(frame[1:], uint32(len(payload)))
	frame = append(frame, payload...)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.rw.Write(frame)
	return err
}

// SendJSON sends v as JSON.
func (c *Conn) SendJSON(kind Kind, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.Send(kind, payload)
}

// Receive waits for one frame; io.EOF is an end between frames.
func (c *Conn) Receive() (Kind, []byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(c.rw, header[:]); err != nil {
		return 0, nil, err
	}
	kind, size := Kind(header[0]), binary.BigEndian.Uint32(header[1:])
	if size > maxPayload {
		return 0, nil, fmt.Errorf("frame %q claims %d bytes: the most is %d", kind, size, maxPayload)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(c.rw, payload); err != nil {
		return 0, nil, fmt.Errorf("frame %q of %d bytes is cut short: %w", kind, size, err)
	}
	return kind, payload, nil
}

// Stream is a writer whose bytes travel as frames of kind.
func (c *Conn) Stream(kind Kind) io.Writer { return stream{c, kind} }

type stream struct {
	conn *Conn
	kind Kind
}

func (s stream) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); {
		part := p[sent:min(len(p), sent+chunk)]
		if err := s.conn.Send(s.kind, part); err != nil {
			return sent, err
		}
		sent += len(part)
	}
	return len(p), nil
}
