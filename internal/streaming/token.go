package streaming

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// ErrBusy says that too many URLs wait for their clients.
var ErrBusy = errors.New("too many sessions are asked for whose clients don't come")

// request is a session that its client has not come for yet.
type request struct {
	kind  string // the first part of its path
	serve func(http.ResponseWriter, *http.Request, *session)
	timer *time.Timer
}

// tokens are the requests by what only their clients know.
type tokens struct {
	life time.Duration
	most int

	mu      sync.Mutex
	waiting map[string]*request
}

// add keeps a request for its client and gives its token.
func (t *tokens) add(r *request) (string, error) {
	token := rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) >= t.most {
		return "", fmt.Errorf("%d URLs are waiting: %w", len(t.waiting), ErrBusy)
	}
	r.timer = time.AfterFunc(t.life, func() { t.take(token) })
	t.waiting[token] = r
	return token, nil
}

// take gives the request of a token, which is worth nothing from then on. nil: there is none, not any more, or its time is over.
func (t *tokens) take(token string) *request {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.waiting[token]
	if r != nil {
		r.timer.Stop()
		delete(t.waiting, token)
	}
	return r
}

// drop forgets all.
func (t *tokens) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for token, r := range t.waiting {
		r.timer.Stop()
		delete(t.waiting, token)
	}
}
