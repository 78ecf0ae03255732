package network

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/privatetest"
)

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request)
}

func TestInsideOfNoNamespace(t *testing.T) {
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	if err := Inside(null, func() error { t.Error("it was done all the same"); return nil }); err == nil || !strings.Contains(err.Error(), "setns") {
		t.Errorf("Inside(/dev/null): %v", err)
	}
}

// TestThreadsComeHome: TestMain looks at all threads at the end; here many are out at once.
func TestThreadsComeHome(t *testing.T) {
	ns := newNetNS(t, nil)
	away := fmt.Sprintf("net:[%d]", inode(t, ns))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				var at string
				err := Inside(ns, func() (err error) {
					at, err = os.Readlink("/proc/thread-self/ns/net")
					return err
				})
				if err != nil || at != away {
					t.Errorf("in %s, %v; want %s", at, err, away)
					return
				}
			}
		})
	}
	all.Wait()
	for _, at := range privatetest.Namespaces("net") {
		if at == away {
			t.Error("a thread stayed in the pod's namespace")
		}
	}
}

func BenchmarkInside(b *testing.B) {
	ns := newNetNS(b, nil)
	for b.Loop() {
		must(b, Inside(ns, func() error { return nil }))
	}
}
