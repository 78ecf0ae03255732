package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

func TestFrames(t *testing.T) {
	var stream bytes.Buffer
	conn := NewConn(&stream)
	for _, payload := range []string{"", "x", "\x00\xff\n", strings.Repeat("y", maxPayload)} {
		if err := conn.Send(KindStdout, []byte(payload)); err != nil {
			t.Fatal(err)
		}
		kind, got, err := conn.Receive()
		if err != nil || kind != KindStdout || string(got) != payload {
			t.Fatalf("%d bytes came back as %q, %d bytes, %v", len(payload), kind, len(got), err)
		}
	}
	if _, _, err := conn.Receive(); err != io.EOF {
		t.Errorf("the end between frames is %v, want io.EOF itself", err)
	}
}

func TestLayout(t *testing.T) {
	var stream bytes.Buffer
	if err := NewConn(&stream).SendJSON(KindExit, map[string]int{"Code": 3}); err != nil {
		t.Fatal(err)
	}
	if want := "x\x00\x00\x00\x0a{\"Code\":3}"; stream.String() != want {
		t.Errorf("the frame is %q, want %q", stream.String(), want)
	}
}

func TestTooLarge(t *testing.T) {
	var stream bytes.Buffer
	conn := NewConn(&stream)
	if err := conn.Send(KindStdin, make([]byte, maxPayload+1)); err == nil || stream.Len() != 0 {
		t.Errorf("a frame over the limit: %v, and %d bytes were sent", err, stream.Len())
	}
	stream.WriteString("o\xff\xff\xff\xff")
	if _, _, err := conn.Receive(); err == nil || !strings.Contains(err.Error(), "claims 4294967295 bytes") {
		t.Errorf("a header over the limit: %v", err)
	}
}

func TestCutShort(t *testing.T) {
	for _, text := range []string{"o", "o\x00\x00\x00", "o\x00\x00\x00\x02", "o\x00\x00\x00\x02x"} {
		_, _, err := NewConn(bytes.NewBufferString(text)).Receive()
		if err == nil || err == io.EOF || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Frames of several writers never mix, and each writer's keep their order.
func TestStreams(t *testing.T) {
	ours, theirs := net.Pipe()
	from, to := NewConn(ours), NewConn(theirs)
	text := map[Kind]string{KindStdout: strings.Repeat("out ", 100_000), KindStderr: strings.Repeat("err ", 100_000)}
	var writers sync.WaitGroup
	for kind, all := range text {
		writers.Go(func() {
			if n, err := io.WriteString(from.Stream(kind), all); n != len(all) || err != nil {
				t.Errorf("%d of %d bytes, %v", n, len(all), err)
			}
		})
	}
	go func() { writers.Wait(); ours.Close() }()
	got := map[Kind]string{}
	for {
		kind, payload, err := to.Receive()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(payload) > chunk {
			t.Fatalf("a stream's frame has %d bytes", len(payload))
		}
		got[kind] += string(payload)
	}
	for kind, all := range text {
		if got[kind] != all {
			t.Errorf("of %q came %d bytes, not what was sent", kind, len(got[kind]))
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("o\x00\x00\x00\x02hi"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		conn := NewConn(bytes.NewBuffer(stream))
		var again bytes.Buffer
		for {
			kind, payload, err := conn.Receive()
			if err != nil {
				break
			}
			if err := NewConn(&again).Send(kind, payload); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(stream, again.Bytes()) {
			t.Errorf("%q was read as %q", stream, again.Bytes())
		}
	})
}
