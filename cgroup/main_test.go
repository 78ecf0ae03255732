package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/privatetest"
)

const (
	top       = "/sys/fs/cgroup"
	envHelper = "PODLET_CGROUP_HELPER"
)

const mib = 1 << 20

// The main goroutine keeps the process's first thread: Go can't end that one, so no
// test that spoils its thread may have it.
func init() { runtime.LockOSThread() }

// TestMain runs the tests in a mount namespace of their own and fails if they
// leave a cgroup behind.
func TestMain(m *testing.M) {
	if what := os.Getenv(envHelper); what != "" {
		helper(what)
	}
	if os.Geteuid() != 0 {
		fmt.Println("these tests need root: they make cgroups")
		os.Exit(1)
	}
	privatetest.Enter(unix.CLONE_NEWNS)
	code := m.Run()
	if left := leftovers(); len(left) > 0 {
		fmt.Println("FAIL: cgroups left behind:", left)
		code = 1
	}
	os.Exit(code)
}

// testTop is the parent of everything these tests make.
func testTop() string { return fmt.Sprintf("podlet-test-%d", os.Getpid()) }

func leftovers() []string {
	var left []string
	filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		// Nothing but the whole name: another copy of these tests may have a longer number.
		if err == nil && d.IsDir() && d.Name() == testTop() {
			left = append(left, path)
		}
		return nil
	})
	return left
}

// layouts runs test on the machine's own layout and, on a hybrid one, on its v1
// trees seen without the v2 tree.
func layouts(t *testing.T, test func(t *testing.T, h *Hierarchy)) {
	h := open(t, top)
	t.Run(h.Mode().String(), func(t *testing.T) { test(t, h) })
	if h.Mode() != Hybrid {
		return
	}
	t.Run("v1 alone", func(t *testing.T) { test(t, openV1(t)) })
}

func open(t testing.TB, at string) *Hierarchy {
	t.Helper()
	h, err := Open(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// openV1 binds the v1 trees to another place, without the v2 one.
func openV1(t testing.TB) *Hierarchy {
	t.Helper()
	at := t.TempDir()
	mounts, err := cgroupMounts(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if m.v2 {
			continue
		}
		to := filepath.Join(at, filepath.Base(m.point))
		if err := os.Mkdir(to, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(m.point, to, "", unix.MS_BIND, ""); err != nil {
			t.Fatalf("bind %s: %v", m.point, err)
		}
		t.Cleanup(func() { unix.Unmount(to, unix.MNT_DETACH) })
	}
	h := open(t, at)
	if h.Mode() != V1 {
		t.Fatalf("mode %v without the v2 tree", h.Mode())
	}
	return h
}

func path(t testing.TB, names ...string) Path {
	t.Helper()
	p, err := ParsePath("/" + testTop() + "/" + strings.Join(names, "/"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// create makes a group that goes, with its parents, when the test ends.
func create(t testing.TB, h *Hierarchy, p Path, r *Resources) *Group {
	t.Helper()
	g, err := h.Create(t.Context(), p, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(g.Kill(ctx), g.WaitEmpty(ctx), g.Remove(ctx), h.RemoveMade(p.Parent(), g.Made())); err != nil {
			t.Error(err)
		}
		g.Close()
	})
	return g
}

func need(t testing.TB, h *Hierarchy, controllers ...string) {
	t.Helper()
	have := strings.Join(h.Controllers(), " ") + " "
	for _, c := range controllers {
		if !strings.Contains(have, c+" ") {
			t.Skipf("the kernel offers no %s controller, only %s", c, have)
		}
	}
}

// everything is a value for each limit that h has.
func everything(t testing.TB, h *Hierarchy) *Resources {
	t.Helper()
	need(t, h, "cpu", "memory", "pids", "cpuset")
	r := &Resources{
		CPUPeriod: 50000, CPUQuota: 20000, CPUShares: 1024,
		MemoryLimitBytes: 64 * mib, MemorySwapLimitBytes: 64 * mib,
		CpusetCPUs: "0", CpusetMems: "0", PidsLimit: 100,
	}
	if h.by["hugetlb"] != nil {
		for _, size := range h.pageSizes {
			r.HugepageLimits = append(r.HugepageLimits, HugepageLimit{PageSize: size})
		}
	}
	return r
}

// child is a process of this test binary inside a group.
type child struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

// start runs the helper what in g and returns when it has said "ready".
func start(t testing.TB, g *Group, what string) *child { return startIn(t, g, g.V2Dir(), what) }

func startIn(t testing.TB, g *Group, v2 *os.File, what string) *child {
	t.Helper()
	joins, err := g.JoinFiles()
	if err != nil {
		t.Fatal(err)
	}
	defer closeJoinFiles(joins)
	c := &child{cmd: exec.Command("/proc/self/exe")}
	for _, j := range joins {
		c.cmd.ExtraFiles = append(c.cmd.ExtraFiles, j.File)
	}
	c.cmd.Env = append(os.Environ(), envHelper+"="+strconv.Itoa(len(joins))+" "+what)
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if v2 != nil {
		c.cmd.SysProcAttr.UseCgroupFD = true
		c.cmd.SysProcAttr.CgroupFD = int(v2.Fd())
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	})
	c.out = bufio.NewReader(out)
	if line := c.line(t); line != "ready" {
		t.Fatalf("helper said %q", line)
	}
	return c
}

func (c *child) line(t testing.TB) string {
	t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Logf("helper's output: %v", err)
	}
	return strings.TrimSpace(line)
}

// join moves this thread into the v1 trees, and makes it all there is of the
// process: after execve(2) no other thread is left.
func join(joins int, then []string) {
	runtime.LockOSThread()
	for i := range joins {
		if _, err := unix.Write(3+i, []byte("0")); err != nil {
			fmt.Println("join:", err)
			os.Exit(1)
		}
		unix.Close(3 + i)
	}
	err := unix.Exec("/proc/self/exe", os.Args[:1], []string{envHelper + "=0 " + strings.Join(then, " ")})
	fmt.Println("exec:", err)
	os.Exit(1)
}

// helper plays a container's process: it joins the v1 trees by the fds it got,
// then does what it is told.
func helper(what string) {
	args := strings.Fields(what)
	if joins, _ := strconv.Atoi(args[0]); joins > 0 {
		join(joins, args[1:])
	}
	fmt.Println("ready")
	switch args[1] {
	case "sleep":
	case "open": // try devices again and again
		for i := 0; ; i++ {
			for _, name := range args[2:] {
				f, err := os.OpenFile(name, os.O_RDWR, 0)
				if err == nil {
					f.Close()
				}
				if i == 0 || err != nil {
					fmt.Println(name, err == nil)
				}
			}
			time.Sleep(time.Millisecond)
		}
	case "alloc":
		n, _ := strconv.Atoi(args[2])
		b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			fmt.Println("mmap:", err)
			os.Exit(1)
		}
		for i := 0; i < n; i += os.Getpagesize() {
			b[i] = 1
		}
		fmt.Println("allocated")
	case "fork": // keep 8 children going, each of which may be killed
		for {
			var all []*os.Process
			for range 8 {
				p, err := os.StartProcess("/proc/self/exe", []string{"x"}, &os.ProcAttr{
					Env: []string{envHelper + "=0 exit"}, Files: []*os.File{nil, os.Stdout}})
				if err == nil {
					all = append(all, p)
				}
			}
			for _, p := range all {
				p.Wait()
			}
		}
	case "exit":
		os.Exit(0)
	}
	for {
		time.Sleep(time.Hour)
	}
}
