package main

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestContainerLife follows a container through all its states, and what ContainerStatus says in each.
func TestContainerLife(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	config := container("app", "sh", "-c", "echo up; exec sleep 1000")
	config.Metadata.Attempt = 3
	config.Labels, config.Annotations = map[string]string{"l": "v"}, map[string]string{"a": "w\n"}
	config.LogPath = "deep/down/3.log"
	before := time.Now().UnixNano()
	c := p.create(config)
	s := n.status(c)
	if s.State != cri.ContainerState_CONTAINER_CREATED || s.CreatedAt < before || s.CreatedAt > time.Now().UnixNano() ||
		s.StartedAt != 0 || s.FinishedAt != 0 || s.ExitCode != 0 || s.Reason != "" {
		t.Errorf("created: %v", s)
	}
	if s.Metadata.Name != "app" || s.Metadata.Attempt != 3 || s.Labels["l"] != "v" || s.Annotations["a"] != "w\n" || s.Image.Image != busybox ||
		s.ImageId == "" || s.ImageRef == "" || s.LogPath != p.config.LogDirectory+"/deep/down/3.log" {
		t.Errorf("created: %v", s)
	}
	began := time.Now().UnixNano()
	if err := n.tryStart(c); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.LogPath); err != nil {
		t.Errorf("the log as StartContainer has returned: %v", err)
	}
	running := n.status(c)
	if running.State != cri.ContainerState_CONTAINER_RUNNING || running.CreatedAt != s.CreatedAt || running.StartedAt < began || running.StartedAt > time.Now().UnixNano() || running.FinishedAt != 0 {
		t.Errorf("running: %v", running)
	}
	n.fails(n.tryStart(c), codes.FailedPrecondition, "app", "running")
	n.stop(c, 0)
	s = n.status(c)
	if s.State != cri.ContainerState_CONTAINER_EXITED || s.StartedAt != running.StartedAt || s.FinishedAt < s.StartedAt || s.FinishedAt > time.Now().UnixNano() || s.ExitCode != 137 || s.Reason != "Error" {
		t.Errorf("exited: %v", s)
	}
	n.fails(n.tryStart(c), codes.FailedPrecondition, "app", "exited")
	for range 2 {
		if _, err := n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: c}); err != nil {
			t.Error(err)
		}
	}
	_, err := n.ContainerStatus(n.ctx(), &cri.ContainerStatusRequest{ContainerId: c})
	n.fails(err, codes.NotFound, c)
	n.fails(n.tryStart(c), codes.NotFound, c)
}

// TestPodLife does the same for a sandbox.
func TestPodLife(t *testing.T) {
	n := commonNode(t)
	before := time.Now().UnixNano()
	p := n.newPod(func(c *cri.PodSandboxConfig) {
		c.Metadata.Attempt = 2
		c.Labels, c.Annotations = map[string]string{"l": "v"}, map[string]string{"a": "\x00"}
	})
	r, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
	if err != nil {
		t.Fatal(err)
	}
	s := r.Status
	if s.Id != p.id || s.State != cri.PodSandboxState_SANDBOX_READY || s.CreatedAt < before || s.CreatedAt > time.Now().UnixNano() ||
		s.Metadata.Name != p.config.Metadata.Name || s.Metadata.Namespace != "test" || s.Metadata.Uid != p.config.Metadata.Uid || s.Metadata.Attempt != 2 ||
		s.Labels["l"] != "v" || s.Annotations["a"] != "\x00" || s.Linux.Namespaces.Options.Pid != cri.NamespaceMode_CONTAINER {
		t.Errorf("status %v", s)
	}
	running, created := p.start(container("running", "sleep", "1000")), p.create(container("created", "sleep", "1000"))
	process := n.watched(running)
	for range 2 {
		if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
			t.Fatal(err)
		}
	}
	// The kernel may still be at work on one that has left its cgroup.
	n.soon("the process of a stopped pod is gone", func() bool { return unix.PidfdSendSignal(process.pidfd, 0, nil, 0) == unix.ESRCH })
	if r, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id}); err != nil || r.Status.State != cri.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("a stopped pod: %v, %v", r, err)
	}
	if s := n.status(running); s.State != cri.ContainerState_CONTAINER_EXITED || s.ExitCode != 137 || s.Reason != "Error" || s.Message == "" || s.FinishedAt < s.StartedAt {
		t.Errorf("a container of a stopped pod: %v", s)
	}
	n.fails(n.tryStart(created), codes.FailedPrecondition, "created", "not ready")
	_, err = p.tryCreate(container("late", "true"))
	n.fails(err, codes.FailedPrecondition, "late", "not ready")
	for range 2 {
		if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
	n.fails(err, codes.NotFound, p.id)
	_, err = n.ContainerStatus(n.ctx(), &cri.ContainerStatusRequest{ContainerId: created})
	n.fails(err, codes.NotFound, created)
}

// TestExitCodes says what becomes of each kind of end.
func TestExitCodes(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(sharing(func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_POD }))
	for _, c := range []struct {
		name   string
		signal unix.Signal // sent from the node
		args   []string
		code   int32
		reason string
	}{
		{"completed", 0, []string{"true"}, 0, "Completed"},
		{"error", 0, []string{"sh", "-c", "exit 7"}, 7, "Error"},
		{"most", 0, []string{"sh", "-c", "exit 255"}, 255, "Error"},
		{"term", unix.SIGTERM, []string{"sleep", "1000"}, 143, "Error"},
		{"segv", unix.SIGSEGV, []string{"sleep", "1000"}, 139, "Error"},
		{"kill", unix.SIGKILL, []string{"sleep", "1000"}, 137, "Error"},
		{"realtime", 40, []string{"sleep", "1000"}, 168, "Error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := p.start(container(c.name, c.args...))
			if c.signal != 0 {
				if err := unix.Kill(n.seenContainer(id).PID, c.signal); err != nil {
					t.Fatal(err)
				}
			}
			if s := n.exited(id); s.ExitCode != c.code || s.Reason != c.reason {
				t.Errorf("%d %s, want %d %s", s.ExitCode, s.Reason, c.code, c.reason)
			}
		})
	}
}

// TestCannotRun starts what can't be started: the call fails, and the container stays as exited with the reason.
func TestCannotRun(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	for _, c := range []struct {
		name   string
		change func(*cri.ContainerConfig)
		code   codes.Code
		names  []string
	}{
		{"absent", func(c *cri.ContainerConfig) { c.Command = []string{"/no/such"} }, codes.Unknown, []string{"/no/such", "ENOENT"}},
		{"absent-in-path", func(c *cri.ContainerConfig) { c.Command = []string{"no-such"} }, codes.Unknown, []string{`"no-such": executable file not found in $PATH (/`}},
		{"not-executable", func(c *cri.ContainerConfig) { c.Command = []string{"/etc/passwd"} }, codes.Unknown, []string{"/etc/passwd", "EACCES"}},
		{"directory", func(c *cri.ContainerConfig) { c.Command = []string{"/etc"} }, codes.Unknown, []string{"/etc", "EACCES"}},
		{"cwd-is-file", func(c *cri.ContainerConfig) { c.WorkingDir = "/etc/passwd" }, codes.Unknown, []string{"/etc/passwd", "ENOTDIR"}},
		{"cwd-is-host", func(c *cri.ContainerConfig) { c.WorkingDir = "/proc/self/fd/3" }, codes.Unknown, []string{"/proc/self/fd/3"}},
		{"huge", func(c *cri.ContainerConfig) { c.Args = []string{string(make200KiB())} }, codes.Unknown, []string{"sleep", "E2BIG"}},
		{"log-is-directory", func(c *cri.ContainerConfig) {
			c.LogPath = "taken"
			if err := os.MkdirAll(p.config.LogDirectory+"/taken", 0o755); err != nil {
				t.Fatal(err)
			}
		}, codes.InvalidArgument, []string{"taken"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := container(c.name, "sleep")
			c.change(config)
			id := p.create(config)
			err := n.tryStart(id)
			if err == nil {
				t.Fatalf("started: %v", n.status(id))
			}
			n.fails(err, c.code, append(c.names, c.name)...)
			s := n.status(id)
			if s.State != cri.ContainerState_CONTAINER_EXITED || s.ExitCode != 128 || s.Reason != "ContainerCannotRun" || s.FinishedAt == 0 {
				t.Errorf("status %v", s)
			}
			for _, name := range c.names {
				if !contains(s.Message, name) {
					t.Errorf("message %q does not name %q", s.Message, name)
				}
			}
			if _, err := n.ExecSync(n.ctx(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}}); err == nil {
				t.Error("an exec in it succeeds")
			}
			n.stop(id, 10)
		})
	}
}

// make200KiB is more than execve takes in one string.
func make200KiB() []byte {
	text := make([]byte, 200<<10)
	for i := range text {
		text[i] = 'x'
	}
	return text
}
