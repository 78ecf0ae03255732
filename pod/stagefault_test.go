package pod

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
	"podlet/pause"
	"podlet/pod/spec"
	"podlet/pod/tape"
)

// TestFaultOutsideTapes makes a start fail at each of its stages but the tape, and wants what TestFaultAtEveryStep wants.
func TestFaultOutsideTapes(t *testing.T) {
	r := newRig(t)
	pod := r.run(t, r.sandbox("stages"))
	file := filepath.Join(r.dir, "a-file")
	must(t, os.WriteFile(file, nil, 0o644))
	for _, fault := range []struct {
		name string
		// pod is the pod to start in; "": the common one.
		pod    []func(*spec.Sandbox)
		change func(*spec.Container)
		// spoil is done between create and start, and taken back before the container is removed.
		spoil func(t *testing.T) (restore func())
		want  string
	}{
		{
			name: "the log directory is a file",
			pod:  []func(*spec.Sandbox){func(s *spec.Sandbox) { s.LogDirectory = file }},
			want: file,
		},
		{
			name:   "the log is a directory",
			change: func(c *spec.Container) { c.LogPath = "taken" },
			spoil: func(t *testing.T) func() {
				must(t, os.MkdirAll(filepath.Join(r.dir, "logs", "taken"), 0o755))
				return func() {}
			},
			want: "taken",
		},
		{
			name: "no more cgroups below the parent in the v2 tree",
			pod:  []func(*spec.Sandbox){func(s *spec.Sandbox) { s.CgroupParent = r.parent + "-full" }},
			spoil: func(t *testing.T) func() {
				return unifiedParent(t, r.parent+"-full", "cgroup.max.descendants", "0")
			},
			want: r.parent + "-full",
		},
		{
			name:   "a layer's directory is gone",
			change: scratchProbe,
			spoil: func(t *testing.T) func() {
				img, err := r.images.Get(testimage.ScratchName)
				must(t, err)
				layer := img.LayerDirs()[0]
				must(t, os.Rename(layer, layer+"-away"))
				return func() { must(t, os.Rename(layer+"-away", layer)) }
			},
			want: "root filesystem",
		},
		{
			name: "a volume's source is gone",
			change: func(c *spec.Container) {
				c.Mounts = []spec.Mount{{Source: filepath.Join(r.dir, "source"), Target: "/data"}}
			},
			spoil: func(t *testing.T) func() {
				must(t, os.RemoveAll(filepath.Join(r.dir, "source")))
				return func() {}
			},
			want: "/data",
		},
		{
			name:   "a file's mount point is a directory",
			change: func(c *spec.Container) { c.Mounts = []spec.Mount{{Source: file, Target: "/etc"}} },
			want:   "mount volume on /etc: EINVAL (a file can't be mounted on a directory",
		},
		{
			name: "a device is gone",
			change: func(c *spec.Container) {
				c.Devices = []spec.Device{{HostPath: filepath.Join(r.dir, "source", "null"), ContainerPath: "/dev/mine", Access: "rw"}}
			},
			spoil: func(t *testing.T) func() {
				must(t, os.Remove(filepath.Join(r.dir, "source", "null")))
				return func() {}
			},
			want: "source/null",
		},
		{
			name:   "no such program",
			change: func(c *spec.Container) { c.Command = []string{"none"} },
			want:   `run "none": executable file not found in $PATH (/`,
		},
		{
			name:   "a working directory that is a file",
			change: func(c *spec.Container) { c.WorkingDir = "/etc/passwd" },
			want:   "/etc/passwd",
		},
		{
			name:   "arguments that are too long",
			change: func(c *spec.Container) { c.Command = []string{"/bin/true", strings.Repeat("x", 1<<18)} },
			want:   "E2BIG",
		},
	} {
		t.Run(fault.name, func(t *testing.T) {
			in := pod
			if fault.pod != nil {
				in = r.run(t, r.sandbox("own", fault.pod...))
				defer r.removePod(t, in)
			}
			must(t, os.MkdirAll(filepath.Join(r.dir, "source"), 0o755))
			must(t, unix.Mknod(filepath.Join(r.dir, "source", "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
			defer os.Remove(filepath.Join(r.dir, "source", "null"))
			before := r.settled()
			c := r.container("c")
			if fault.change != nil {
				fault.change(c)
			}
			restore := func() {}
			id, err := r.CreateContainer(limited(t), in, c)
			must(t, err)
			if fault.spoil != nil {
				restore = fault.spoil(t)
			}
			failure := r.StartContainer(limited(t), id)
			if failure == nil || !strings.Contains(failure.Error(), fault.want) {
				t.Errorf("StartContainer: %v; want %q in it", failure, fault.want)
			} else {
				r.cannotRun(t, id, failure)
			}
			must(t, timed(func(ctx context.Context) error { return r.RemoveContainer(ctx, id) }))
			restore()
			r.noTrace(t, before)
			if in == pod {
				must(t, r.startAndRemove(t, in, r.container("c")))
				r.noTrace(t, before)
			}
		})
	}
}

// unifiedParent makes a cgroup in the v2 tree, with one of its files set, until restore is called.
func unifiedParent(t *testing.T, path, name, value string) (restore func()) {
	t.Helper()
	top := "/sys/fs/cgroup/unified"
	if _, err := os.Stat(top); err != nil {
		top = "/sys/fs/cgroup"
	}
	must(t, os.Mkdir(top+path, 0o755))
	must(t, os.WriteFile(filepath.Join(top+path, name), []byte(value), 0))
	return func() {
		// What was in it may be on its way out still.
		err := os.Remove(top + path)
		for deadline := time.Now().Add(settleTime); errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); err = os.Remove(top + path) {
			time.Sleep(2 * time.Millisecond)
		}
		must(t, err)
	}
}

// onPlay calls f when a tape of that name is about to be sent, once.
func onPlay(t *testing.T, name string, f func()) {
	was, done := encode, false
	encode = func(of *tape.Tape) ([]byte, error) {
		if of.Name() == name && !done {
			done = true
			f()
		}
		return was(of)
	}
	t.Cleanup(func() { encode = was })
}

// TestStartIsCancelled ends the caller's patience between the preparations and the tape: the container is as it was, and can be started.
func TestStartIsCancelled(t *testing.T) {
	r := newRig(t)
	pod := r.run(t, r.sandbox("stages"))
	before := r.settled()
	id, err := r.CreateContainer(limited(t), pod, r.container("c"))
	must(t, err)
	ctx, cancel := context.WithCancel(limited(t))
	onPlay(t, "container test/stages/c", cancel)
	if err := r.StartContainer(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("StartContainer: %v, want context.Canceled", err)
	}
	must(t, r.StartContainer(limited(t), id))
	must(t, r.RemoveContainer(limited(t), id))
	r.noTrace(t, before)
}

// TestStartIntoFrozenCgroup: nothing would run there, and no caller waits for that.
func TestStartIntoFrozenCgroup(t *testing.T) {
	r := newRig(t)
	before := r.settled()
	frozen := r.parent + "-frozen"
	restore := unifiedParent(t, frozen, "cgroup.freeze", "1")
	pod := r.run(t, r.sandbox("frozen", func(s *spec.Sandbox) { s.CgroupParent = frozen }))
	id, err := r.CreateContainer(limited(t), pod, r.container("c"))
	must(t, err)
	failure := r.StartContainer(limited(t), id)
	if failure == nil || !strings.Contains(failure.Error(), "frozen") {
		t.Errorf("StartContainer: %v, want a word of the frozen cgroup", failure)
	} else {
		r.cannotRun(t, id, failure)
	}
	must(t, r.RemovePod(limited(t), pod))
	r.noTrace(t, before)
	restore()
}

// TestPauseDiesDuringStart kills pause with the container's cgroup and mounts made.
func TestPauseDiesDuringStart(t *testing.T) {
	r := newRig(t)
	before := r.settled()
	pod := r.run(t, r.sandbox("stages"))
	id, err := r.CreateContainer(limited(t), pod, r.container("c"))
	must(t, err)
	p, err := r.pod(t.Context(), pod)
	must(t, err)
	onPlay(t, "container test/stages/c", func() { must(t, pause.Signal(p.mu.pidfd, unix.SIGKILL)) })
	if err := r.StartContainer(limited(t), id); err == nil {
		t.Error("a container was started without a pause")
	}
	s, err := r.ContainerStatus(t.Context(), id)
	must(t, err)
	if s.State != Exited || s.Reason == "" {
		t.Errorf("the container reads %s, %q", s.State, s.Reason)
	}
	must(t, r.RemovePod(limited(t), pod))
	r.noTrace(t, before)
}

// TestRecordCannotBeWritten takes the record's directory away between the intent and the word that the container runs.
func TestRecordCannotBeWritten(t *testing.T) {
	r := newRig(t)
	before := r.settled()
	pod := r.run(t, r.sandbox("stages"))
	id, err := r.CreateContainer(limited(t), pod, r.container("c"))
	must(t, err)
	dir := filepath.Join(r.dir, "root", "state", "pods", pod)
	onPlay(t, "container test/stages/c", func() { must(t, os.Rename(dir, dir+"-away")) })
	failure := r.StartContainer(limited(t), id)
	must(t, os.Rename(dir+"-away", dir))
	if failure == nil {
		t.Fatal("StartContainer: no error")
	}
	r.cannotRun(t, id, failure)
	must(t, r.RemovePod(limited(t), pod))
	r.noTrace(t, before)
}

// TestFewFiles leaves podlet room for 0, 1, 2 … more files, until what it does succeeds: whatever can't be opened leaves nothing behind.
func TestFewFiles(t *testing.T) {
	r := newRig(t)
	pod := r.run(t, r.sandbox("few"))
	app := r.startIn(t, pod, r.container("app"))
	for _, verb := range []struct {
		name  string
		needs []func(*spec.Sandbox)
		act   func(n int) error
	}{
		{"RunPod", nil, func(n int) error { return r.runFew(t, n, r.sandbox("more", sharedPID)) }},
		{"RunPod with a user namespace", []func(*spec.Sandbox){withUserNS}, func(n int) error { return r.runFew(t, n, r.sandbox("mapped", withUserNS)) }},
		{"CreateContainer", nil, func(n int) error {
			id := ""
			err := starved(t, n, func() (err error) {
				id, err = r.CreateContainer(limited(t), pod, r.container("c"))
				return err
			})
			if err == nil {
				must(t, r.RemoveContainer(limited(t), id))
			}
			return err
		}},
		{"StartContainer", nil, func(n int) error {
			id, err := r.CreateContainer(limited(t), pod, r.container("c", withTTY))
			must(t, err)
			failure := starved(t, n, func() error { return r.StartContainer(limited(t), id) })
			// Where not even the intent could be recorded the container is as it was.
			if s, err := r.ContainerStatus(limited(t), id); failure != nil && (err != nil || s.State != Created) {
				r.cannotRun(t, id, failure)
			}
			must(t, r.RemoveContainer(limited(t), id))
			return failure
		}},
		{"ExecSync", nil, func(n int) error {
			return starved(t, n, func() error {
				_, err := r.ExecSync(limited(t), app, []string{"true"}, 0)
				return err
			})
		}},
	} {
		t.Run(verb.name, func(t *testing.T) {
			const plenty = 100
			r.needs(t, verb.needs)
			must(t, verb.act(plenty))
			before := r.settled()
			for n := range plenty {
				err := verb.act(n)
				r.noTrace(t, before)
				if t.Failed() {
					t.Fatalf("with %d files: %v", n, err)
				}
				if err == nil {
					t.Logf("succeeds with %d files", n)
					return
				}
			}
		})
	}
}

func (r *rig) runFew(t *testing.T, n int, s *spec.Sandbox) error {
	t.Helper()
	id := ""
	err := starved(t, n, func() (err error) {
		id, err = r.RunPod(limited(t), s)
		return err
	})
	if err == nil {
		r.removePod(t, id)
	}
	return err
}

// starved calls f with room for n more files in this process's table, and no more: all other room is taken.
func starved(t *testing.T, n int, f func() error) error {
	t.Helper()
	var was unix.Rlimit
	must(t, unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &was))
	null, err := os.Open("/dev/null")
	must(t, err)
	fillers := []int{}
	defer func() {
		for _, fd := range fillers {
			unix.Close(fd)
		}
		must(t, unix.Prlimit(0, unix.RLIMIT_NOFILE, &was, nil))
	}()
	few := was
	few.Cur = 128 // more than the suite has open
	must(t, unix.Prlimit(0, unix.RLIMIT_NOFILE, &few, nil))
	for {
		fd, err := unix.FcntlInt(null.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.EINVAL) {
			break
		}
		must(t, err)
		fillers = append(fillers, fd)
	}
	null.Close()
	room := 1 // null's
	for ; room > n; room-- {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if errors.Is(err, unix.EMFILE) {
			break // podlet itself has taken it, as a reserve
		}
		must(t, err)
		fillers = append(fillers, fd)
	}
	for ; room < n && len(fillers) > 0; room++ {
		unix.Close(fillers[0])
		fillers = fillers[1:]
	}
	return f()
}

// TestStartWithoutMemory: a limit that is too low for the launch itself is named, not the step at which the process was killed. Some kernels let it come
// to its program first.
func TestStartWithoutMemory(t *testing.T) {
	r := newRig(t)
	pod := r.run(t, r.sandbox("poor"))
	before := r.settled()
	id, err := r.CreateContainer(limited(t), pod, r.container("c", func(c *spec.Container) { c.Resources.MemoryLimitBytes = 1 }))
	must(t, err)
	failure := r.StartContainer(limited(t), id)
	s, err := r.ContainerStatus(limited(t), id)
	for ; err == nil && s.State == Running; s, err = r.ContainerStatus(limited(t), id) {
		time.Sleep(time.Millisecond)
	}
	must(t, err)
	told := []string{s.Message}
	if failure != nil {
		told = append(told, failure.Error())
	}
	for _, text := range told {
		if !strings.Contains(text, "killed for want of memory") || !strings.Contains(text, "limit is 1 bytes") {
			t.Errorf("StartContainer: %v; the status: %+v; want the limit in %q", failure, s, text)
		}
	}
	must(t, r.RemoveContainer(limited(t), id))
	r.noTrace(t, before)
}
