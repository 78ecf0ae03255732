package bridge

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const privateEnv = "PODLET_BRIDGE_TEST_PRIVATE"

// TestMain runs the tests in a network and a mount namespace of their own, the "node", and fails if they leave a file, a link, a rule
// or a thread in another network namespace behind.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("internal/network/bridge: skipped: namespaces need root")
		return
	}
	if os.Getenv(privateEnv) == "" {
		os.Exit(runPrivate())
	}
	if os.Getenv(workerEnv) != "" {
		os.Exit(runWorker())
	}
	if err := inNode(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	before := leaks()
	code := m.Run()
	if after := awaitLeaks(before); code == 0 && after != before {
		fmt.Printf("left behind: before %s, after %s\n", before, after)
		code = 1
	}
	os.Exit(code)
}

func runPrivate() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), privateEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Unshareflags: unix.CLONE_NEWNS}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// inNode makes the namespace a node: lo is up.
func inNode() error { return loopbackUp() }

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// awaitLeaks gives the leaks once they are as before, or after a minute: the last goroutines of tests may be about to close a file still.
func awaitLeaks(before string) (after string) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if after = leaks(); after == before || time.Now().After(deadline) {
			return after
		}
	}
}

// leaks says what the tests must not change. Links of pods are left out: they go on the kernel's own time.
func leaks() string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var files []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(target, "anon_inode:[event") {
			files = append(files, target)
		}
	}
	return fmt.Sprintf("files %q, %s, threads in %q", files, nodeState(), threadNamespaces())
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

// threadNamespaces gives the network namespaces in which threads of this process are.
func threadNamespaces() []string {
	tasks, _ := os.ReadDir("/proc/self/task")
	seen := map[string]bool{}
	var list []string
	for _, t := range tasks {
		if ns, err := os.Readlink("/proc/self/task/" + t.Name() + "/ns/net"); err == nil && !seen[ns] {
			seen[ns] = true
			list = append(list, ns)
		}
	}
	return list
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
