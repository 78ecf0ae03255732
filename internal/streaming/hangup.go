package streaming

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// hangups sees clients go. A transport reads from its connection only as long as what came is wanted: of a client that is killed while
// its stdin fills every queue no read would ever tell. (The end of one that closes properly comes behind all that it sent: if that is more than
// the connection takes, its kernel keeps the end back, and gives up after some minutes, with a reset.)
type hangups struct {
	epoll *os.File
	raw   syscall.RawConn

	mu      sync.Mutex
	watched map[uint64]func()
	number  uint32
}

func newHangups() (*hangups, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	// Go's own poller waits for the epoll's events: no thread does.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	h := &hangups{epoll: os.NewFile(uintptr(fd), "hangups"), watched: map[uint64]func(){}}
	if h.raw, err = h.epoll.SyscallConn(); err != nil {
		h.epoll.Close()
		return nil, err
	}
	return h, nil
}

// run tells of clients that went until close.
func (h *hangups) run() {
	events := make([]unix.EpollEvent, 64)
	h.raw.Read(func(fd uintptr) bool {
		for {
			n, err := unix.EpollWait(int(fd), events, 0)
			if err == unix.EINTR {
				continue
			}
			if err != nil || n == 0 {
				return err != nil
			}
			for _, e := range events[:n] {
				h.tell(key(e.Fd, e.Pad))
			}
		}
	})
}

func (h *hangups) close() { h.epoll.Close() }

func key(fd, number int32) uint64 { return uint64(uint32(number))<<32 | uint64(uint32(fd)) }

func (h *hangups) tell(k uint64) {
	h.mu.Lock()
	gone := h.watched[k]
	delete(h.watched, k)
	h.mu.Unlock()
	if gone != nil {
		gone()
	}
}

// watch calls gone once, when conn's other end closes it or is lost. stop ends that; it is to be called before conn is closed.
func (h *hangups) watch(conn *net.TCPConn, gone func()) (stop func(), err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.number++
	number := int32(h.number)
	h.mu.Unlock()
	var k uint64
	err = h.control(raw, func(epoll, fd int) error {
		k = key(int32(fd), number)
		h.mu.Lock()
		h.watched[k] = gone
		h.mu.Unlock()
		// EPOLLERR and EPOLLHUP come unasked.
		return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd), Pad: number})
	})
	stop = func() {
		h.mu.Lock()
		delete(h.watched, k)
		h.mu.Unlock()
		h.control(raw, func(epoll, fd int) error { return unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, fd, nil) })
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("watch a connection: %w", err)
	}
	return stop, nil
}

// control calls do with both fds, which stay open meanwhile.
func (h *hangups) control(conn syscall.RawConn, do func(epoll, fd int) error) (err error) {
	outer := h.raw.Control(func(epoll uintptr) {
		inner := conn.Control(func(fd uintptr) { err = do(int(epoll), int(fd)) })
		if inner != nil {
			err = inner
		}
	})
	if outer != nil {
		return outer
	}
	return err
}
