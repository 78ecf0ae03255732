package pause

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is a connection to a pause or to the nursery. Its methods may be called at any time from any goroutine: requests
// of one Conn run at the same time, each waits for its own answer.
//
// A context ends the wait, not the work: what was asked for may still happen. (Of Clone nothing is left then, see there.)
// A connection that was lost stays lost: every call returns ErrLost, and Close must be called all the same.
type Conn struct {
	sock        *os.File
	raw         syscall.RawConn
	page        *os.File // the status page; nil until the handshake
	version     uint32
	tapeVersion uint32
	started     time.Time
	onExit      func(State)
	writer      chan struct{} // holds a token where pause has told of a log writer without cgroups

	sending chan struct{} // holds one token while packets that belong together are on their way
	lost    chan struct{} // closed when the connection is over
	running sync.WaitGroup

	mu struct {
		sync.Mutex
		err        error // why the connection is over; nil: it isn't
		closed     bool  // no more calls of onExit
		seq        uint64
		waiting    map[uint64]*call
		unwanted   map[ID]bool // processes whose Clone was given up: killed, and their exit is nobody's news
		exits      []State     // not handed to onExit yet, in the order of their arrival
		delivering bool        // a goroutine hands out exits
		open       bool        // the handshake is done; before it nothing is handed out: whoever dials has no Conn yet
	}
}

// newConn takes over sock, a connected non-blocking socket, and exchanges HELLO and WELCOME.
func newConn(ctx context.Context, sock *os.File, onExit func(State)) (*Conn, error) {
	raw, err := sock.SyscallConn()
	if err != nil {
		sock.Close()
		return nil, err
	}
	c := &Conn{sock: sock, raw: raw, onExit: onExit, sending: make(chan struct{}, 1), lost: make(chan struct{}), writer: make(chan struct{}, 1)}
	c.mu.waiting = make(map[uint64]*call)
	c.mu.unwanted = make(map[ID]bool)
	c.running.Add(1)
	go c.read()
	if err := c.hello(ctx); err != nil {
		c.Close()
		return nil, err
	}
	c.handOut()
	return c, nil
}

// handOut begins to hand out exits.
func (c *Conn) handOut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.open = true
	c.deliverLocked()
}

func (c *Conn) hello(ctx context.Context) error {
	m := &msgHello{Version: ProtocolVersion}
	r, err := do(ctx, c, &call{request: "HELLO", want: typeWelcome}, typeHello, m, nil)
	if err != nil {
		return err
	}
	if r.file == nil {
		return fmt.Errorf("pause: WELCOME came without the status page")
	}
	c.page = r.file
	if r.welcome.Version > ProtocolVersion {
		return &VersionError{Pause: r.welcome.Version, Podlet: ProtocolVersion}
	}
	c.version = r.welcome.Version
	c.tapeVersion = r.welcome.TapeVersion
	c.started = wallTime(r.welcome.Started)
	return nil
}

// Version is the protocol's version that the other side speaks; at most ProtocolVersion.
func (c *Conn) Version() uint32 { return c.version }

// TapeVersion is the newest tape format that the other side plays.
func (c *Conn) TapeVersion() uint32 { return c.tapeVersion }

// Started is when the other side took up its role.
func (c *Conn) Started() time.Time { return c.started }

// Writer has a token when pause has started a log writer, or had one at the connection's beginning, whose costs nobody bears yet but whoever
// bears pause's: see ChargeWriter. A pause of before version 3 never tells.
func (c *Conn) Writer() <-chan struct{} { return c.writer }

// Done is closed when the connection is over: pause is dead, a younger connection took its place, or Close was called. Err tells why.
func (c *Conn) Done() <-chan struct{} { return c.lost }

// Err is nil as long as the connection stands, then ErrClosed or an ErrLost with its reason.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.err
}

// Close ends the connection and waits until nothing of it runs any more, onExit included, which therefore must not call it. Requests
// still waiting get ErrClosed. Exits that were not handed to onExit are in the next connection's List. Closing twice is no error.
func (c *Conn) Close() error {
	c.mu.Lock()
	first := !c.mu.closed
	c.mu.closed = true
	c.mu.Unlock()
	c.end(ErrClosed)
	c.running.Wait()
	if first && c.page != nil {
		return c.page.Close()
	}
	return nil
}

// Drain waits until pause has ended the connection and each exit that came by it was handed to onExit, which therefore must not call it.
// Who knows that pause is dead calls it before Close, so that what pause said last is not lost. After ctx it waits no more.
func (c *Conn) Drain(ctx context.Context) {
	select {
	case <-c.lost:
		c.running.Wait()
	case <-ctx.Done():
	}
}

// end makes the connection be over because of err. Only the first call does something.
func (c *Conn) end(err error) {
	if !c.fail(err) {
		return
	}
	// Wakes the reader, which closes nothing itself.
	c.sock.Close()
}

// fail gives every call that waits its failure. It returns whether the connection was still good.
func (c *Conn) fail(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.err != nil {
		return false
	}
	c.mu.err = err
	close(c.lost)
	for seq, r := range c.mu.waiting {
		r.finish(reply{err: fmt.Errorf("pause: %s: %w", r.request, err)})
		delete(c.mu.waiting, seq)
	}
	return true
}

// deliver hands exits to onExit, one after the other, and ends when there are none. It isn't the reader, so that onExit may use the connection.
func (c *Conn) deliver() {
	defer c.running.Done()
	for {
		s, ok := c.nextExit()
		if !ok {
			return
		}
		if s.unwanted {
			c.forget(s.ID)
		} else if c.onExit != nil {
			c.onExit(s)
		}
	}
}

func (c *Conn) nextExit() (State, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.exits) == 0 || c.mu.closed {
		c.mu.exits = nil
		c.mu.delivering = false
		return State{}, false
	}
	s := c.mu.exits[0]
	c.mu.exits = c.mu.exits[1:]
	return s, true
}

// exited queues an exit for deliver. A pause sends one a process, and takes no new ones in place of those that nobody acknowledged: many more are
// no pause's.
func (c *Conn) exited(s State) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.exits) >= 2*MaxPods {
		return fmt.Errorf("%d exits that nobody has taken yet", len(c.mu.exits))
	}
	s.unwanted = c.mu.unwanted[s.ID]
	delete(c.mu.unwanted, s.ID)
	c.mu.exits = append(c.mu.exits, s)
	c.deliverLocked()
	return nil
}

// deliverLocked starts deliver if there is something for it to do and nothing keeps it from that. Its callers keep running above zero.
func (c *Conn) deliverLocked() {
	if len(c.mu.exits) == 0 || c.mu.delivering || c.mu.closed || !c.mu.open {
		return
	}
	c.mu.delivering = true
	c.running.Add(1)
	go c.deliver()
}

// forget acknowledges the exit of a process whose Clone was given up. If that fails the record stays, for the next connection's List.
func (c *Conn) forget(id ID) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = c.Ack(ctx, id)
}

func lostBecause(reason error) error {
	if errors.Is(reason, os.ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrLost, reason)
}

// wallTime reads CLOCK_REALTIME nanoseconds; 0 is the zero time.
func wallTime(ns uint64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(ns))
}
