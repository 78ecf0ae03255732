package streaming

import (
	"encoding/binary"
	"testing"
)

// binaryMessage is the header of a whole binary message; its mask is zero.
func binaryMessage(size uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{0x82, 0x80 | 127}, size), 0, 0, 0, 0)
}

// oneByte is the header and the body of a binary message of one byte.
var oneByte = []byte{0x82, 0x81, 0, 0, 0, 0, 0}

// TestWebSocketMeter: what a message has of the backlog it has until the transport reads on behind it, though the next one came together with its end.
func TestWebSocketMeter(t *testing.T) {
	const size, last = 3 << 20, 100
	b := &backlog{most: 8 << 20}
	m := &webSocketMeter{backlog: b}
	for _, e := range []struct {
		what  string
		bytes []byte
		used  int64
	}{
		{"its header", binaryMessage(size), 0},
		{"most of it", make([]byte, size-last), 2 * size},
		{"its end and a message", append(make([]byte, last), oneByte...), 2 * size},
		{"one that is as large", binaryMessage(size), 0},
		{"all of it, and the header of one more", append(make([]byte, size), binaryMessage(size/2)...), 2 * size},
		{"half of that", make([]byte, size/4), size},
		{"the other half, and no more", make([]byte, size/4), size},
		{"nothing", nil, 0},
	} {
		if err := m.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := m.take(e.bytes); err != nil {
			t.Fatal(err)
		}
		if b.used != e.used {
			t.Errorf("%s: %d bytes of the backlog, want %d", e.what, b.used, e.used)
		}
	}
	if m.end(); b.used != 0 {
		t.Errorf("%d bytes of the backlog in the end", b.used)
	}
}
