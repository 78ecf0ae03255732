package registry

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/privatetest"
	"podlet/internal/image"
)

// TestMain runs the suite in a mount namespace of its own, where the image store mounts layers, and fails if a file or a goroutine is left behind.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("internal/registry: skipped: unpacking layers needs root")
		return
	}
	privatetest.Enter(unix.CLONE_NEWNS)
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	files, goroutines := len(privatetest.Files()), runtime.NumGoroutine()
	code := m.Run()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if code == 0 && !fuzzing() {
		code = leftBehind(files, goroutines)
	}
	os.Exit(code)
}

// fuzzing: the machinery of fuzzing keeps files and goroutines.
func fuzzing() bool {
	return flag.Lookup("test.fuzz").Value.String() != "" || flag.Lookup("test.fuzzworker").Value.String() == "true"
}

// leftBehind gives connections that are being closed their time.
func leftBehind(files, goroutines int) int {
	var f, g int
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if f, g = len(privatetest.Files()), runtime.NumGoroutine(); f <= files && g <= goroutines {
			return 0
		}
	}
	buf := make([]byte, 1<<20)
	fmt.Printf("left behind: %d files, before %d; %d goroutines, before %d\n%s\n", f, files, g, goroutines, buf[:runtime.Stack(buf, true)])
	return 1
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a Puller on a fresh store.
type rig struct {
	*Puller
	certs string
	logs  *logs
	slept naps
}

// naps are the times that were to be waited.
type naps struct {
	mu   sync.Mutex
	list []time.Duration
}

func (n *naps) add(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, d)
}

// take gives those since the last take.
func (n *naps) take() []time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = nil
	return list
}

// newRig makes a Puller whose repeats come at once and whose hosts.toml files are below rig.certs.
func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	dir := t.TempDir()
	store, err := image.Open(filepath.Join(dir, "store"))
	must(t, err)
	store.HoldsComplete()
	r := &rig{certs: filepath.Join(dir, "certs.d"), logs: &logs{}}
	must(t, os.Mkdir(r.certs, 0o755))
	c := Config{Images: store, CertsDirs: []string{r.certs}, Log: slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, f := range change {
		f(&c)
	}
	r.Puller = New(c)
	r.sleep = func(ctx context.Context, d time.Duration) error {
		r.slept.add(d)
		return ctx.Err()
	}
	r.proxy = nil
	t.Cleanup(func() {
		r.Close()
		// What a failed pull leaves would be here.
		if left, err := os.ReadDir(filepath.Join(dir, "store", "tmp")); err != nil || len(left) > 0 {
			t.Errorf("left in the store's tmp: %v, %v", left, err)
		}
		must(t, store.Close())
	})
	return r
}

// hosts writes the hosts.toml of a registry.
func (r *rig) hosts(t testing.TB, registry, text string) string {
	t.Helper()
	dir := filepath.Join(r.certs, registry)
	must(t, os.MkdirAll(dir, 0o755))
	file := filepath.Join(dir, "hosts.toml")
	must(t, os.WriteFile(file, []byte(text), 0o644))
	return file
}

type outcome struct {
	img image.Image
	err error
}

func (r *rig) pullAside(ctx context.Context, ref string, c Credentials) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		img, err := r.Pull(ctx, ref, c)
		done <- outcome{img, err}
	}()
	return done
}

// isBlob reports whether the request is for a blob.
func isBlob(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/") }

func raw(w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	io.WriteString(conn, text)
	conn.Close()
}
