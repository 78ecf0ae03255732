package streaming

import (
	"context"
	"sync"
)

const (
	// sessionLeast is what a session may always have of the backlog, in bytes: a stalled one keeps no other from its work. More than a frame.
	sessionLeast = 256 << 10
	// sessionMost is what it may have at most: the transport's own queues hold as much of 32 KiB, the size that Kubernetes' clients send.
	sessionMost = 2 << 20
)

// backlog is the memory for what clients have sent and nobody has taken, of all sessions of a server. A session that has its share is not read from
// until something of it is taken: its client waits, and no other one.
type backlog struct {
	most int64

	mu   sync.Mutex
	used int64
	more chan struct{} // closed when something is given back; nil: nobody waits
}

// add changes what is used; mu is held.
func (b *backlog) add(n int64) {
	b.used += n
	if n < 0 && b.more != nil {
		close(b.more)
		b.more = nil
	}
}

// await returns when fits, which is called with mu held, says so, or with the cause of ctx's end.
func (b *backlog) await(ctx context.Context, fits func() bool) error {
	for {
		b.mu.Lock()
		if fits() {
			b.mu.Unlock()
			return nil
		}
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// meter reads along what a client sends: it refuses what would cost too much memory before the transport has made room for it, and says when there is
// room for more. Its methods but end are for the one goroutine that reads from the connection.
type meter interface {
	// wait returns when more may be read, or with the cause of ctx's end.
	wait(ctx context.Context) error
	// take looks at the next bytes.
	take(p []byte) error
	// end gives back what the session has of the backlog. Nothing is counted any more.
	end()
}
