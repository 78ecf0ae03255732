package streaming

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"testing"

	frames "github.com/moby/spdystream/spdy"
)

// TestGaugeAgrees: where the meter takes what a client sends, sound frames and broken ones, it sees each frame end where the transport does. What the
// two took for different frames would not be measured.
func TestGaugeAgrees(t *testing.T) {
	read := 0
	for range 1500 {
		wire := someFrames(t)
		g := newGauge(&backlog{most: 1 << 30})
		ends, taken := map[int]bool{}, 0
		for ; taken < len(wire) && g.take(wire[taken:taken+1]) == nil; taken++ {
			ends[taken+1] = g.have == 0 && g.body == 0
		}
		rest := bytes.NewReader(wire[:taken])
		transport, err := frames.NewFramerWithOptions(&bytes.Buffer{}, rest, frames.WithMaxControlFramePayloadSize(controlMost),
			frames.WithMaxHeaderCount(headersMost), frames.WithMaxHeaderFieldSize(headerMostBytes))
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := transport.ReadFrame(); err != nil {
				break
			}
			read++
			if at := taken - rest.Len(); !ends[at] {
				t.Fatalf("the transport sees a frame end at %d, the meter doesn't: % x", at, wire[:taken])
			}
		}
	}
	if read < 1500 {
		t.Errorf("the transport has read %d frames", read)
	}
}

// someFrames are frames of all kinds that clients send, in three cases of four with a byte of a header changed, and zeros behind them.
func someFrames(t *testing.T) []byte {
	t.Helper()
	var wire bytes.Buffer
	framer, err := frames.NewFramer(&wire, bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	begin := 0 // of one of them
	for i := range 1 + rand.IntN(5) {
		if rand.IntN(i+1) == 0 {
			begin = wire.Len()
		}
		err := framer.WriteFrame([]frames.Frame{
			&frames.SynStreamFrame{StreamId: frames.StreamId(2*i + 1), Headers: http.Header{"Name": {"value"}}},
			&frames.RstStreamFrame{StreamId: 1, Status: frames.Cancel},
			&frames.PingFrame{Id: 1},
			&frames.SettingsFrame{FlagIdValues: make([]frames.SettingsFlagIdValue, rand.IntN(3))},
			&frames.WindowUpdateFrame{StreamId: 1, DeltaWindowSize: 1},
			&frames.DataFrame{StreamId: 1, Data: make([]byte, rand.IntN(50))},
			&frames.GoAwayFrame{LastGoodStreamId: 1},
		}[rand.IntN(7)])
		if err != nil {
			t.Fatal(err)
		}
	}
	b := append(wire.Bytes(), make([]byte, 200)...)
	if rand.IntN(4) > 0 {
		b[begin+rand.IntN(12)] = byte(rand.IntN(256) >> rand.IntN(8))
	}
	return b
}
