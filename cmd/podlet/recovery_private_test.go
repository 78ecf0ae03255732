package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inPrivate says in the environment that this process is one test's own.
const inPrivate = "PODLET_TEST_PRIVATE"

// private runs the test again, in a process of its own, and gives false; in there it gives true. That process has a mount namespace whose
// /run/netns is empty, and is the reaper of all its descendants: so an observer there sees every pin and every process that a podlet left, and no other.
func private(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inPrivate) == t.Name() {
		becomePrivate(t)
		return true
	}
	if os.Getenv(inPrivate) != "" {
		t.Skip("another test's process")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.timeout=300s", fmt.Sprint("-test.v=", testing.Verbose()))
	cmd.Env = append(os.Environ(), inPrivate+"="+t.Name())
	// Unsharing makes all mounts private as well.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	} else if text := string(out); strings.Contains(text, "--- SKIP") {
		t.Skip(text)
	} else {
		t.Log(text)
	}
	return false
}

func becomePrivate(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	// Registered first, so it comes last: a test that failed in the middle leaves pods.
	t.Cleanup(func() { endDescendants(t) })
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", "/run/netns", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
}

// endDescendants kills all that descends from this process, and removes the cgroups it was in.
func endDescendants(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(hangTime); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		all := processes()
		left := 0
		for _, p := range all {
			if !p.zombie && descends(all, p.pid, os.Getpid()) {
				left++
				unix.Kill(p.pid, unix.SIGKILL)
			}
		}
		dirs := glob(fmt.Sprintf("/sys/fs/cgroup/*/podlet-test-%d-*", os.Getpid()))
		dirs = append(dirs, glob(fmt.Sprintf("/sys/fs/cgroup/podlet-test-%d-*", os.Getpid()))...)
		if left+len(dirs) == 0 {
			return
		}
		for _, dir := range dirs {
			for _, pattern := range []string{"/*/exec-*", "/podlet-logger-*", "/" + strings.Repeat("[0-9a-f]", 64)} {
				for _, below := range glob(dir + pattern) {
					os.Remove(below)
				}
			}
			os.Remove(dir)
		}
	}
	t.Error("processes or cgroups of this test are left")
}
