package pause

import (
	"context"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPeer(t *testing.T) {
	p, first, _ := newPod(t)
	// The pause serves: a connection from now on has its credentials.
	_, err := first.List(limited(t))
	must(t, err)
	c := dial(t, p, nil)
	want, err := PID(p.PIDFD)
	must(t, err)
	for name, peer := range map[string]func(context.Context) (*os.File, error){"Peer": c.Peer, "by number": c.peerByNumber} {
		f, err := peer(limited(t))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if pid, err := PID(f); pid != want || err != nil {
			t.Errorf("%s: process %d, want %d, %v", name, pid, want, err)
		}
		must(t, f.Close())
	}
	must(t, Signal(p.PIDFD, unix.SIGKILL))
	<-c.Done()
	if f, err := c.Peer(limited(t)); err == nil {
		t.Error("a lost connection has a peer")
		f.Close()
	}
}

func TestPeerThatDidNotListen(t *testing.T) {
	leakChecked(t)
	n, _ := startNursery(t)
	if f, err := n.Peer(limited(t)); err == nil {
		t.Error("the nursery's socket pair is podlet's own")
		f.Close()
	}
}
