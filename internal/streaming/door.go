package streaming

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// door lets only so many in who have not shown a token yet. For one more the one who has been silent longest has to go: whoever can reach the address,
// a container in the node's network among them, may hold as many as there may be, and who has a token shows it at once.
type door struct {
	net.Listener

	mu        sync.Mutex
	strangers map[net.Conn]*list.Element
	order     *list.List // of net.Conn, the oldest first
}

func newDoor(l net.Listener) *door {
	return &door{Listener: l, strangers: map[net.Conn]*list.Element{}, order: list.New()}
}

func (d *door) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if oldest := d.enter(c); oldest != nil {
		oldest.Close()
	}
	return c, nil
}

// enter gives the connection that has to go, if one has to.
func (d *door) enter(c net.Conn) (oldest net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.strangers[c] = d.order.PushBack(c)
	if len(d.strangers) <= strangersMost {
		return nil
	}
	oldest = d.order.Front().Value.(net.Conn)
	d.forget(oldest)
	return oldest
}

// forget takes a connection off the list; mu is held.
func (d *door) forget(c net.Conn) {
	if e := d.strangers[c]; e != nil {
		d.order.Remove(e)
		delete(d.strangers, c)
	}
}

// state hears from net/http: a connection is a stranger's from its beginning until it is closed or upgraded.
func (d *door) state(c net.Conn, state http.ConnState) {
	if state != http.StateHijacked && state != http.StateClosed {
		return
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget(c)
}
