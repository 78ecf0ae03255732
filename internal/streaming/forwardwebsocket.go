package streaming

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"sync"

	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// portsMost is how many ports a WebSocket has channels for: a channel's number is a byte, and 255 is none (the transport reserves it).
const portsMost = 127

// serveForwardWebSocket serves a session over a WebSocket: channels 2n and 2n+1 are data and error of the n-th port, one connection each. Both begin
// with the port, in two bytes, the low one first.
func serveForwardWebSocket(w http.ResponseWriter, r *http.Request, q *session, f *Forward) error {
	if len(f.Ports) == 0 {
		err := fmt.Errorf("a WebSocket's channels are for ports, and the request names none")
		http.Error(w, err.Error(), http.StatusBadRequest)
		return err
	}
	if len(f.Ports) > portsMost {
		err := fmt.Errorf("a WebSocket has channels for each of the request's %d ports; %d is the limit", len(f.Ports), portsMost)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return err
	}
	var channels []wsstream.ChannelType
	for range f.Ports {
		channels = append(channels, wsstream.ReadWriteChannel, wsstream.WriteChannel)
	}
	conn := wsstream.NewConn(channelProtocols(channels))
	q.meter = &webSocketMeter{backlog: &q.server.backlog}
	_, opened, err := conn.Open(w, r)
	if err != nil {
		return fmt.Errorf("upgrade to a WebSocket: %w", err)
	}
	var work sync.WaitGroup
	for i, port := range f.Ports {
		data, report := opened[2*i], opened[2*i+1]
		number := binary.LittleEndian.AppendUint16(nil, port)
		data.Write(number)
		report.Write(number)
		work.Go(q.guarded(func() {
			conn, err := f.connect(q.ctx, port)
			if err != nil {
				io.WriteString(report, err.Error())
				return
			}
			relay(q, data, conn)
		}))
	}
	work.Wait()
	q.over.Store(true)
	return conn.Close()
}
