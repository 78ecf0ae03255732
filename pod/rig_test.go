package pod

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"podlet/hack/testimages/testimage"
	"podlet/internal/image"
	"podlet/internal/mount"
	"podlet/pod/spec"
)

// rig is a Runtime on directories of its own, with the test images.
type rig struct {
	*Runtime
	cfg    Config
	net    *fakeNetwork
	dir    string
	parent string        // cgroup parent of all pods
	tries  atomic.Uint32 // the attempt of the last container
}

func newRig(t *testing.T) *rig {
	t.Helper()
	// The collector would close files that nobody closed, and so hide them from noTrace, which calls it when it has looked.
	percent := debug.SetGCPercent(-1)
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	r := &rig{dir: t.TempDir(), parent: fmt.Sprintf("/podlet-pod-test-%d", os.Getpid())}
	images, err := image.Open(filepath.Join(r.dir, "images"))
	must(t, err)
	t.Cleanup(func() { must(t, images.Close()) })
	for _, layout := range []string{testimage.Busybox(t), testimage.Scratch(t)} {
		_, err := images.Import(limited(t), layout, image.ImportOptions{})
		must(t, err)
	}
	log, err := os.Create(filepath.Join(r.dir, "log"))
	must(t, err)
	t.Cleanup(func() { log.Close() })
	r.net = &fakeNetwork{has: map[string]*Attachment{}, left: map[string]bool{}}
	r.cfg = Config{
		Root: filepath.Join(r.dir, "root"), State: filepath.Join(r.dir, "state"), CgroupMount: "/sys/fs/cgroup", NetNSDir: filepath.Join(r.dir, "netns"),
		Images: images, Log: slog.New(slog.NewTextHandler(log, nil)), Network: r.net,
	}
	r.Runtime, err = Open(r.cfg)
	must(t, err)
	t.Cleanup(func() {
		for _, p := range r.allPods() {
			must(t, r.RemovePod(limited(t), p.id))
		}
		for _, img := range images.List() {
			if images.InUse(img.ID) {
				t.Errorf("image %v is still held, with no container left", img.ID)
			}
		}
		must(t, r.Close())
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("podlet's log:\n%s", text)
		}
	})
	r.warm(t)
	return r
}

// warm does once what leaves something for the next time: the nursery, a cached device program.
func (r *rig) warm(t *testing.T) {
	t.Helper()
	pod := r.run(t, r.sandbox("warm"))
	app := r.startIn(t, pod, r.container("warm"))
	_, err := r.ExecSync(limited(t), app, []string{"true"}, 0)
	must(t, err)
	r.removePod(t, pod)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// limited is a context that ends before the test run would be killed.
func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (r *rig) sandbox(name string, change ...func(*spec.Sandbox)) *spec.Sandbox {
	s := &spec.Sandbox{
		Name: name, Namespace: "test", UID: "uid-" + name, Hostname: name, CgroupParent: r.parent,
		LogDirectory: filepath.Join(r.dir, "logs"),
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func (r *rig) run(t *testing.T, s *spec.Sandbox) string {
	t.Helper()
	id, err := r.RunPod(limited(t), s)
	must(t, err)
	return id
}

// container is one of the busybox image that does nothing for long.
func (r *rig) container(name string, change ...func(*spec.Container)) *spec.Container {
	c := &spec.Container{
		Name: name, Attempt: r.tries.Add(1), Image: testimage.BusyboxName, LogPath: name + ".log", Command: []string{"/bin/sleep", "1000"},
		PID: spec.PIDContainer,
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func (r *rig) startIn(t *testing.T, pod string, c *spec.Container) string {
	t.Helper()
	id, err := r.CreateContainer(limited(t), pod, c)
	must(t, err)
	must(t, r.StartContainer(limited(t), id))
	return id
}

func withUserNS(s *spec.Sandbox) {
	ids := []mount.IDMapping{{ContainerID: 0, HostID: 1 << 20, Length: 65536}}
	s.UserNS = &spec.IDMap{UIDs: ids, GIDs: ids}
}

func sharedPID(s *spec.Sandbox)      { s.SharedPID = true }
func hostNet(s *spec.Sandbox)        { s.HostNetwork = true }
func hostIPC(s *spec.Sandbox)        { s.HostIPC = true }
func hostPID(s *spec.Sandbox)        { s.HostPID = true }
func inHostPID(c *spec.Container)    { c.PID = spec.PIDNode }
func privileged(c *spec.Container)   { c.Privileged = true }
func withTTY(c *spec.Container)      { c.TTY = true }
func inPodPID(c *spec.Container)     { c.PID = spec.PIDPod }
func scratchProbe(c *spec.Container) { c.Image, c.Command = testimage.ScratchName, nil }
func target(id string) func(*spec.Container) {
	return func(c *spec.Container) { c.PID, c.PIDTarget = spec.PIDTarget, id }
}

func readOnlyRoot(c *spec.Container) { c.ReadOnlyRoot = true }

// everyPath has one of each kind to mask and to make read-only: a directory, a file, none; of proc, of sysfs and of the root.
func everyPath(c *spec.Container) {
	c.MaskedPaths = []string{"/proc/tty", "/proc/kcore", "/proc/none", "/sys/firmware", "/sys/kernel/notes", "/sys/none", "/some", "/probe/none", "/none"}
	c.ReadOnlyPaths = []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/none", "/sys/fs", "/some/deep", "/none"}
}

func ambient(c *spec.Container) {
	c.Capabilities = spec.Capabilities{Add: []string{"NET_BIND_SERVICE"}, Ambient: []string{"NET_BIND_SERVICE"}}
}

// needs skips a test of pods that this machine can't have.
func (r *rig) needs(t *testing.T, change []func(*spec.Sandbox)) {
	t.Helper()
	f, err := r.Features()
	must(t, err)
	if r.sandbox("", change...).UserNS != nil && !f.UserNamespaces {
		t.Skip("the kernel or the file system can't map ids: no pods with user namespaces here")
	}
}

func (r *rig) removePod(t *testing.T, id string) {
	t.Helper()
	must(t, timed(func(ctx context.Context) error { return r.RemovePod(ctx, id) }))
}
