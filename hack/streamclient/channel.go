package streamclient

import (
	"encoding/base64"

	"golang.org/x/net/websocket"
)

// channel is a stream that the client writes to.
type channel struct {
	w      *channels
	number byte
	half   bool // the protocol has a message for its end
}

func (c *channel) Write(p []byte) (int, error) {
	if err := c.w.send(c.number, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close tells the end of the stream, where the protocol can.
func (c *channel) Close() error {
	if !c.half {
		return nil
	}
	return websocket.Message.Send(c.w.ws, []byte{255, c.number})
}

func (w *channels) send(number byte, p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.base64 {
		return websocket.Message.Send(w.ws, string('0'+number)+base64.StdEncoding.EncodeToString(p))
	}
	return websocket.Message.Send(w.ws, append([]byte{number}, p...))
}

// read hands messages to their streams until the connection ends.
func (w *channels) read() {
	defer func() {
		for _, in := range w.in {
			in.Close()
		}
	}()
	for {
		var message []byte
		if websocket.Message.Receive(w.ws, &message) != nil {
			return
		}
		if len(message) == 0 {
			continue
		}
		number, text := message[0], message[1:]
		if w.base64 {
			number -= '0'
			text, _ = base64.StdEncoding.DecodeString(string(text))
		}
		if in := w.in[number]; in != nil && len(text) > 0 {
			in.Write(text)
		}
	}
}
