package streaming

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"testing"

	frames "github.com/moby/spdystream/spdy"
)

// TestSPDYMeter: frames of all sizes, in pieces of all sizes.
func TestSPDYMeter(t *testing.T) {
	var wire []byte
	for _, n := range []int{0, 1, 7, 8, 9, 1000, dataMost} {
		wire = append(wire, binary.BigEndian.AppendUint32([]byte{0, 0, 0, 1}, uint32(n))...)
		wire = append(wire, make([]byte, n)...)
	}
	wire = append(wire, frame(1, 10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)...)
	wire = append(wire, frame(1, controlMost, append([]byte{0, 0, 0, 3}, make([]byte, controlMost-4)...)...)...)
	wire = append(wire, frame(3, 8, 0, 0, 0, 1, 0, 0, 0, 5)...)
	wire = append(wire, frame(4, 4, 0, 0, 0, 0)...)
	wire = append(wire, frame(4, 20, append([]byte{0, 0, 0, 2}, make([]byte, 16)...)...)...)
	wire = append(wire, frame(6, 4, 0, 0, 0, 1)...)
	for _, piece := range []int{1, 3, 8, 4096, len(wire)} {
		m := newSPDYMeter(&backlog{most: 1 << 30})
		for rest := wire; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			if err := m.take(rest[:min(piece, len(rest))]); err != nil {
				t.Fatalf("in pieces of %d: %v", piece, err)
			}
		}
	}
	first := frame(1, 10, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0)
	for _, bad := range [][]byte{
		frame(1, controlMost+1), binary.BigEndian.AppendUint32([]byte{0, 0, 0, 1}, dataMost+1), frame(8, 10),
		// More than the transport reads, or less.
		frame(3, 9), frame(3, 7), frame(6, 5), frame(6, 3), frame(7, 9), frame(9, 4), frame(4, 3), frame(4, 13, 0, 0, 0, 1), frame(1, 9),
		// Streams that are no new ones, and one that belongs to another one.
		frame(1, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), frame(1, 10, 0x80, 0, 0, 7, 0, 0, 0, 0, 0, 0), append(first, frame(1, 10, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0)...),
		append(first, frame(1, 10, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0)...), append(first, frame(1, 10, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0)...),
	} {
		if newSPDYMeter(&backlog{}).take(bad) == nil {
			t.Errorf("% x is taken", bad)
		}
	}
}

// TestSPDYMeterAgrees: where the meter takes what a client sends, sound frames and broken ones, it sees each frame end where the transport does. What the
// two took for different frames would not be measured.
func TestSPDYMeterAgrees(t *testing.T) {
	read := 0
	for range 1500 {
		wire := someFrames(t)
		m := newSPDYMeter(&backlog{most: 1 << 30})
		ends, taken := map[int]bool{}, 0
		for ; taken < len(wire) && m.take(wire[taken:taken+1]) == nil; taken++ {
			ends[taken+1] = m.have == 0 && m.body == 0
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
