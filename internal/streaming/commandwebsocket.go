package streaming

import (
	"fmt"
	"io"
	"net/http"
	"sync"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// commandWebSocket is a session over a WebSocket, whose messages begin with the number of their stream.
type commandWebSocket struct {
	session  *session
	conn     *wsstream.Conn
	v4       bool
	given    Streams
	report   io.Writer
	channels []io.ReadWriteCloser
	work     sync.WaitGroup
}

// channelProtocols are the WebSocket subprotocols for these channels. "" is that of a client that names none.
func channelProtocols(channels []wsstream.ChannelType, more ...string) map[string]wsstream.ChannelProtocolConfig {
	protocols := map[string]wsstream.ChannelProtocolConfig{}
	for _, name := range append([]string{"", "v4." + wsstream.ChannelWebSocketProtocol}, more...) {
		protocols[name] = wsstream.ChannelProtocolConfig{Binary: true, Channels: channels}
	}
	protocols["v4."+wsstream.Base64ChannelWebSocketProtocol] = wsstream.ChannelProtocolConfig{Channels: channels}
	return protocols
}

func openCommandWebSocket(w http.ResponseWriter, r *http.Request, q *session, c *Command) (commandConn, error) {
	channels := make([]wsstream.ChannelType, 5) // ignored, unless said otherwise
	channels[remotecommand.StreamErr] = wsstream.WriteChannel
	channels[remotecommand.StreamResize] = wsstream.ReadChannel
	if c.Stdin {
		channels[remotecommand.StreamStdIn] = wsstream.ReadChannel
	}
	if c.Stdout {
		channels[remotecommand.StreamStdOut] = wsstream.WriteChannel
	}
	if c.Stderr {
		channels[remotecommand.StreamStdErr] = wsstream.WriteChannel
	}
	protocols := channelProtocols(channels, wsstream.ChannelWebSocketProtocol, remotecommand.StreamProtocolV5Name)
	protocols[wsstream.Base64ChannelWebSocketProtocol] = wsstream.ChannelProtocolConfig{Channels: channels}
	s := &commandWebSocket{session: q, conn: wsstream.NewConn(protocols)}
	q.meter = &webSocketMeter{backlog: &q.server.backlog}
	protocol, opened, err := s.conn.Open(w, r)
	if err != nil {
		return nil, fmt.Errorf("upgrade to a WebSocket: %w", err)
	}
	switch protocol {
	case "", wsstream.ChannelWebSocketProtocol, wsstream.Base64ChannelWebSocketProtocol:
	default:
		s.v4 = true
	}
	s.channels, s.report = opened, opened[remotecommand.StreamErr]
	if c.Stdin {
		s.given.Stdin = opened[remotecommand.StreamStdIn]
	}
	first := s.report
	if c.Stderr {
		s.given.Stderr = opened[remotecommand.StreamStdErr]
		first = s.given.Stderr
	}
	if c.Stdout {
		s.given.Stdout = opened[remotecommand.StreamStdOut]
		first = s.given.Stdout
	}
	// An empty message tells the client that the session is there.
	first.Write(nil)
	latest := newSizes()
	s.given.Resize = latest
	s.work.Go(q.guarded(func() { latest.read(opened[remotecommand.StreamResize]) }))
	return s, nil
}

func (s *commandWebSocket) streams() *Streams { return &s.given }

func (s *commandWebSocket) tell(status status) error {
	text := status.bytes(s.v4)
	if len(text) == 0 {
		return nil
	}
	_, err := s.report.Write(text)
	return err
}

func (s *commandWebSocket) close() {
	s.session.over.Store(true)
	s.conn.Close()
	s.work.Wait()
}
