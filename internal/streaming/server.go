package streaming

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// Config says where and how sessions are served.
type Config struct {
	// Address is the host:port to listen on. Port 0 is one of the kernel's choice.
	Address string
	// TLS: nil is plain HTTP, which is for loopback: who sees a URL in time may use it.
	TLS *tls.Config
	// Log hears of sessions that failed, and of what no client is told. Not nil.
	Log    *slog.Logger
	Limits Limits
}

// Limits bound what clients may hold. Those that are 0 have the value given here.
type Limits struct {
	// Token is how long a URL is good: a minute.
	Token time.Duration
	// Handshake is how long a client may take for its request's header and then, from the upgrade on, for its streams: 30 s.
	Handshake time.Duration
	// Idle is how long a session lives without a byte in either direction, a client that doesn't read included: 4 h.
	Idle time.Duration
	// Backlog is how many bytes that clients sent may wait to be taken, of all sessions together: 64 MiB. Each may have 256 KiB in any case.
	Backlog int64
	// Tokens is how many URLs may wait for their clients, Sessions how many sessions there are at a time: 1000 each.
	Tokens, Sessions int
}

func (l Limits) filled() Limits {
	for _, d := range []struct {
		limit *time.Duration
		value time.Duration
	}{{&l.Token, time.Minute}, {&l.Handshake, 30 * time.Second}, {&l.Idle, 4 * time.Hour}} {
		if *d.limit == 0 {
			*d.limit = d.value
		}
	}
	if l.Backlog == 0 {
		l.Backlog = 64 << 20
	}
	for _, n := range []*int{&l.Tokens, &l.Sessions} {
		if *n == 0 {
			*n = 1000
		}
	}
	return l
}

const (
	// headerMost bounds a request's header in bytes; the kubelet's has some hundred.
	headerMost = 16 << 10
	// strangersMost bounds the connections that belong to no session: whoever can reach the address can make them.
	strangersMost = 500
	// stopTime is how long Close waits for sessions that hang in the kernel.
	stopTime = 8 * time.Second
)

// Server serves sessions until Close.
type Server struct {
	limits  Limits
	log     *slog.Logger
	base    string // of the URLs
	http    *http.Server
	tokens  tokens
	hangups *hangups
	backlog backlog

	// life ends with Close, and with it every session.
	life context.Context
	end  context.CancelCauseFunc
	// work are the server's own goroutines.
	work sync.WaitGroup

	mu struct {
		sync.Mutex
		closed   bool // no session begins any more
		sessions int
	}
	running sync.WaitGroup // the sessions
}

// ErrStopping is what sessions end with at Close.
var ErrStopping = errors.New("podlet is stopping")

// Listen opens the address and serves on it.
func Listen(cfg Config) (*Server, error) {
	limits := cfg.Limits.filled()
	s := &Server{limits: limits, log: cfg.Log, backlog: backlog{most: limits.Backlog}, tokens: tokens{life: limits.Token, most: limits.Tokens, waiting: map[string]*request{}}}
	listener, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("serve streams: %w", err)
	}
	if s.hangups, err = newHangups(); err != nil {
		listener.Close()
		return nil, fmt.Errorf("serve streams: %w", err)
	}
	// What the transports say is of use to a developer only: errors of clients, at the highest level.
	klog.SetSlogLogger(slog.New(&quiet{cfg.Log.Handler()}))
	scheme := "http"
	if cfg.TLS != nil {
		scheme = "https"
	}
	s.base = fmt.Sprintf("%s://%s/", scheme, listener.Addr())
	if tcp := listener.Addr().(*net.TCPAddr); !tcp.IP.IsLoopback() && cfg.TLS == nil {
		cfg.Log.Warn("exec, attach and port-forward are served without TLS outside of loopback", "address", tcp.String())
	}
	s.life, s.end = context.WithCancelCause(context.Background())
	s.http = &http.Server{
		Handler: s, TLSConfig: cfg.TLS, MaxHeaderBytes: headerMost,
		ReadHeaderTimeout: limits.Handshake, IdleTimeout: limits.Handshake,
		ErrorLog:    slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return s.life },
		// One request a connection: HTTP/2 has no upgrade.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	s.http.SetKeepAlivesEnabled(false)
	limited := newStrangerLimit(listener)
	s.http.ConnState = limited.state
	s.work.Go(s.hangups.run)
	s.work.Go(func() {
		if cfg.TLS != nil {
			err = s.http.ServeTLS(limited, "", "")
		} else {
			err = s.http.Serve(limited)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("streams are not served any more", "error", err)
		}
	})
	return s, nil
}

// Close ends every session, with ErrStopping as its status, and waits for their end, up to stopTime: one that hangs in the kernel goes with podlet.
func (s *Server) Close() {
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	s.tokens.drop()
	s.end(ErrStopping)
	s.http.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.running.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(stopTime):
		s.log.Warn("sessions hang in the kernel and are left to podlet's end")
	}
	s.hangups.close()
	s.work.Wait()
}

// url keeps a request and gives the URL for its client.
func (s *Server) url(r *request) (string, error) {
	token, err := s.tokens.add(r)
	if err != nil {
		return "", err
	}
	return s.base + r.kind + "/" + token, nil
}

// ServeHTTP takes the token and leaves the rest to the session it stands for.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		http.Error(w, "only GET and POST", http.StatusMethodNotAllowed)
		return
	}
	kind, token, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := s.tokens.take(token)
	if q == nil || q.kind != kind {
		http.Error(w, "no such session: its URL is good once, and for "+s.limits.Token.String(), http.StatusNotFound)
		return
	}
	if !s.begin() {
		http.Error(w, "too many sessions", http.StatusServiceUnavailable)
		return
	}
	defer s.ended()
	// Goroutines inherit the label: podlet's debug socket shows which belong to a session.
	pprof.Do(r.Context(), pprof.Labels(sessionLabel, kind), func(context.Context) {
		session := s.newSession()
		defer session.end()
		q.serve(&upgrader{w, session}, r, session)
	})
}

const sessionLabel = "session"

// begin counts a session, if there may be one more.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed || s.mu.sessions >= s.limits.Sessions {
		return false
	}
	s.mu.sessions++
	s.running.Add(1)
	return true
}

func (s *Server) ended() {
	s.mu.Lock()
	s.mu.sessions--
	s.mu.Unlock()
	s.running.Done()
}

// quiet makes every message one for debugging, at most.
type quiet struct{ slog.Handler }

func (q *quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return q.Handler.Enabled(ctx, min(level, slog.LevelDebug))
}

func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = min(r.Level, slog.LevelDebug)
	return q.Handler.Handle(ctx, r)
}

func (q *quiet) WithAttrs(a []slog.Attr) slog.Handler { return &quiet{q.Handler.WithAttrs(a)} }
func (q *quiet) WithGroup(name string) slog.Handler   { return &quiet{q.Handler.WithGroup(name)} }
