package pause

import (
	"sync"

	"golang.org/x/sys/unix"
)

// reserve is a file that stands for room in podlet's file table. A file that comes with a message when the table is full (EMFILE) is lost
// for good, be it the only handle on a process just started: the connection would be of no more use, and with it the pod.
// So the reserve makes way for each file that is to come.
type reserve struct {
	mu sync.Mutex
	fd int // -1: there was no room for it either
}

// room is the process's, as its file table is.
var room = newReserve()

func newReserve() *reserve {
	r := &reserve{}
	r.fill()
	return r
}

func (r *reserve) fill() {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		fd = -1
	}
	r.fd = fd
}

// use calls receive, which takes in one file, with room for that. Afterwards the room is made again: where the file took the last
// of it, as soon as there is some.
func (r *reserve) use(receive func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fd < 0 {
		r.fill()
	}
	if r.fd >= 0 {
		unix.Close(r.fd)
	}
	receive()
	r.fill()
}
