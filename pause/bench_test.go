package pause

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// benchClone starts, waits for the end and acknowledges.
func benchClone(b *testing.B, q Clone) {
	_, c, exits := newPod(b)
	q.ID = testID(1)
	b.ReportAllocs()
	for b.Loop() {
		p, err := c.Clone(b.Context(), q)
		must(b, err)
		p.PIDFD.Close()
		if s := <-exits; s.Err() != nil {
			b.Fatal(s.Err())
		}
		must(b, c.Ack(b.Context(), q.ID))
	}
}

func BenchmarkRunNothing(b *testing.B) {
	benchClone(b, Clone{Kind: KindRun, Tape: new(assembler).bytes(0)})
}

func BenchmarkExecTrue(b *testing.B) {
	benchClone(b, Clone{Kind: KindExec, Tape: execTape("/bin/true")})
}

func BenchmarkRunWith600FDs(b *testing.B) {
	null, err := os.Open("/dev/null")
	must(b, err)
	defer null.Close()
	files := make([]*os.File, 600)
	for i := range files {
		files[i] = null
	}
	benchClone(b, Clone{Kind: KindRun, Tape: new(assembler).bytes(600), FDs: files})
}

func BenchmarkListEmpty(b *testing.B) {
	_, c, _ := newPod(b)
	b.ReportAllocs()
	for b.Loop() {
		_, err := c.List(b.Context())
		must(b, err)
	}
}

// BenchmarkPauseUp is a pause with its namespaces, up to its answer to the first connection. The nursery has the host's mounts here.
func BenchmarkPauseUp(b *testing.B) {
	leakChecked(b)
	n, exits := startNursery(b)
	dir := b.TempDir()
	tape := pauseTape()
	i := 0
	for b.Loop() {
		path := filepath.Join(dir, fmt.Sprint(i))
		i++
		sock, err := Listen(path)
		must(b, err)
		p, err := n.Clone(b.Context(), Clone{ID: testID(1), Kind: KindPause, Flags: podNamespaces &^ unix.CLONE_NEWNET, Tape: tape, FDs: []*os.File{sock},
			Listen: sock, Name: "bench"})
		must(b, err)
		sock.Close()
		c, err := Dial(b.Context(), path, nil)
		must(b, err)
		b.StopTimer()
		must(b, c.Close())
		must(b, Signal(p.PIDFD, unix.SIGKILL))
		p.PIDFD.Close()
		<-exits
		must(b, n.Ack(b.Context(), p.ID))
		b.StartTimer()
	}
}

// BenchmarkMemory reports what a connection costs podlet, in heap and stack. Go's stacks come in spans, so take many.
func BenchmarkMemory(b *testing.B) {
	leakChecked(b)
	n, _ := startNursery(b)
	const count = 60
	var pauses []*testPause
	for range count {
		pauses = append(pauses, startPause(b, n))
	}
	for b.Loop() {
		before := memory()
		var all []*Conn
		for _, p := range pauses {
			c, err := Dial(b.Context(), p.path, func(State) {})
			must(b, err)
			all = append(all, c)
		}
		b.ReportMetric(float64(memory()-before)/count, "B/conn")
		for _, c := range all {
			must(b, c.Close())
		}
	}
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
