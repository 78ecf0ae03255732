package bridge

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"podlet/hack/privatetest"
)

// TestMain runs the tests in a network and a mount namespace of their own, the "node", and fails if they leave a file, a link, a rule
// or a thread in another network namespace behind.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("internal/network/bridge: skipped: namespaces need root")
		return
	}
	privatetest.Enter(unix.CLONE_NEWNS | unix.CLONE_NEWNET)
	if os.Getenv(workerEnv) != "" {
		os.Exit(runWorker())
	}
	if err := inNode(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(privatetest.Run(m.Run, leaks))
}

// inNode makes the namespace a node that forwards nothing, whatever the machine had at the namespace's making, which is inherited (devconf_inherit_init_net). lo is up.
func inNode() error {
	forwardsNot := []setting{{"all/forwarding", "0"}}
	return errors.Join(write(conf4, forwardsNot), write(conf6, forwardsNot), loopbackUp())
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// leaks says what the tests must not change. Links of pods are left out: they go on the kernel's own time.
func leaks() string {
	return fmt.Sprintf("files %q, %s, threads in %q", privatetest.Files(), nodeState(), privatetest.Namespaces("net"))
}

// nodeState says what of the node a network changes.
func nodeState() string {
	links, _ := listLinks()
	var names []string
	for _, l := range links {
		if name := l.Attrs().Name; !strings.HasPrefix(name, "pod") {
			names = append(names, name)
		}
	}
	var tables []string
	if c, err := nftables.New(); err == nil {
		list, _ := c.ListTables()
		for _, t := range list {
			tables = append(tables, t.Name)
		}
	}
	v4, _ := read(forward4)
	v6, _ := read(forward6)
	return fmt.Sprintf("links %q, tables %q, forwarding %s %s", names, tables, v4, v6)
}

// newNetNS makes a network namespace with lo up.
func newNetNS(t testing.TB) *os.File {
	t.Helper()
	var f *os.File
	must(t, onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		var err error
		if f, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		return loopbackUp()
	}))
	t.Cleanup(func() { f.Close() })
	return f
}

// inside runs do in the namespace; nil is the node's. Sockets made there stay there.
func inside(t testing.TB, ns *os.File, do func() error) {
	t.Helper()
	must(t, tryInside(ns, do))
}

func tryInside(ns *os.File, do func() error) error {
	if ns == nil {
		return do()
	}
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return do()
	})
}

// onThread runs do, which may change the thread's network namespace, on a thread that comes home or dies.
func onThread(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		err = do()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
