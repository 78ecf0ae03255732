package streaming

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// strangerLimit lets only so many in who have not shown a token yet. For one more the one who has been silent longest has to go: whoever can reach the address,
// a container in the node's network among them, may hold as many as there may be, and who has a token shows it at once.
type strangerLimit struct {
	net.Listener

	mu        sync.Mutex
	strangers map[net.Conn]*list.Element
	order     *list.List // of net.Conn, the oldest first
}

func newStrangerLimit(listener net.Listener) *strangerLimit {
	return &strangerLimit{Listener: listener, strangers: map[net.Conn]*list.Element{}, order: list.New()}
}

func (l *strangerLimit) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if oldest := l.enter(c); oldest != nil {
		oldest.Close()
	}
	return c, nil
}

// enter gives the connection that has to go, if one has to.
func (l *strangerLimit) enter(c net.Conn) (oldest net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strangers[c] = l.order.PushBack(c)
	if len(l.strangers) <= strangersMost {
		return nil
	}
	oldest = l.order.Front().Value.(net.Conn)
	l.forget(oldest)
	return oldest
}

// forget takes a connection off the list; mu is held.
func (l *strangerLimit) forget(c net.Conn) {
	if e := l.strangers[c]; e != nil {
		l.order.Remove(e)
		delete(l.strangers, c)
	}
}

// state hears from net/http: a connection is a stranger's from its beginning until it is closed or upgraded.
func (l *strangerLimit) state(c net.Conn, state http.ConnState) {
	if state != http.StateHijacked && state != http.StateClosed {
		return
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(c)
}
