package streaming

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/moby/spdystream"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
)

// commandSPDY is a session over SPDY/3.1: a stream each for stdin, stdout, stderr, the window's sizes and the status, all opened by the client.
type commandSPDY struct {
	session *session
	conn    *spdystream.Connection
	v4      bool
	sizes   sizes

	mu       sync.Mutex
	closed   bool
	missing  map[string]bool
	answers  int // that are still to be sent
	got      map[string]httpstream.Stream
	complete chan struct{}
	work     sync.WaitGroup
}

func openCommandSPDY(w http.ResponseWriter, r *http.Request, q *session, c *Command) (commandConn, error) {
	protocol, err := httpstream.Handshake(r, w, remotecommand.SupportedStreamingProtocols[:3]) // not the first one, which closed stdin at once
	if err != nil {
		return nil, err
	}
	s := &commandSPDY{
		session: q, v4: protocol == remotecommand.StreamProtocolV4Name, sizes: newSizes(), complete: make(chan struct{}),
		missing: map[string]bool{remotecommand.StreamTypeError: true}, got: map[string]httpstream.Stream{},
	}
	for name, has := range map[string]bool{
		remotecommand.StreamTypeStdin: c.Stdin, remotecommand.StreamTypeStdout: c.Stdout, remotecommand.StreamTypeStderr: c.Stderr,
		// A client that finds the session over before this one is answered would wait for it.
		remotecommand.StreamTypeResize: c.TTY && protocol != remotecommand.StreamProtocolV2Name,
	} {
		if has {
			s.missing[name] = true
		}
	}
	s.answers = len(s.missing)
	s.conn, err = upgradeSPDY(w, r, q, s.accept)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(q.server.limits.Handshake)
	defer timer.Stop()
	select {
	case <-s.complete:
		return s, nil
	case <-timer.C:
		err = fmt.Errorf("the client did not open its streams within %v", q.server.limits.Handshake)
	case <-q.ctx.Done():
		err = q.cause()
	}
	s.close()
	return nil, err
}

// accept takes a stream that the session has a place for; an error makes the transport reset the stream.
func (s *commandSPDY) accept(stream httpstream.Stream) error {
	name := stream.Headers().Get(remotecommand.StreamType)
	if err := s.place(name, stream); err != nil {
		return err
	}
	if err := answer(stream); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errSession
	}
	if name == remotecommand.StreamTypeResize {
		s.work.Go(s.session.guarded(func() { s.sizes.read(stream) }))
	}
	if s.answers--; s.answers == 0 {
		close(s.complete)
	}
	return nil
}

func (s *commandSPDY) place(name string, stream httpstream.Stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !s.missing[name] {
		return fmt.Errorf("no place for a stream %.20q", name)
	}
	delete(s.missing, name)
	s.got[name] = stream
	return nil
}

func (s *commandSPDY) streams() *Streams {
	s.mu.Lock()
	defer s.mu.Unlock()
	streams := &Streams{Resize: s.sizes}
	// A nil of the interface's own type, not of the stream's.
	if in := s.got[remotecommand.StreamTypeStdin]; in != nil {
		streams.Stdin = resetter{in}
	}
	if out := s.got[remotecommand.StreamTypeStdout]; out != nil {
		streams.Stdout = out
	}
	if out := s.got[remotecommand.StreamTypeStderr]; out != nil {
		streams.Stderr = out
	}
	return streams
}

// resetter is a stream that is only read from.
type resetter struct{ httpstream.Stream }

func (r resetter) Close() error { return r.Reset() }

func (s *commandSPDY) tell(status status) error {
	s.mu.Lock()
	streams := s.got
	s.mu.Unlock()
	for _, name := range []string{remotecommand.StreamTypeStdout, remotecommand.StreamTypeStderr} {
		if out := streams[name]; out != nil {
			out.Close()
		}
	}
	report := streams[remotecommand.StreamTypeError]
	if text := status.bytes(s.v4); len(text) > 0 {
		if _, err := report.Write(text); err != nil {
			return err
		}
	}
	return report.Close()
}

func (s *commandSPDY) close() {
	s.session.over.Store(true)
	s.mu.Lock()
	s.closed = true
	streams := s.got
	s.got = nil
	s.mu.Unlock()
	for _, stream := range streams {
		stream.Reset()
	}
	s.conn.Close()
	s.work.Wait()
}
