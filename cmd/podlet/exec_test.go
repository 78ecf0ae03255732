package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/streamclient"
)

func TestExecExit(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	c := p.start(container("app", "sleep", "1000"))
	for _, e := range []struct {
		script string
		code   int32
	}{
		{"exit 0", 0}, {"exit 1", 1}, {"exit 255", 255}, {"kill -TERM $$", 143}, {"kill -KILL $$", 137}, {"kill -SEGV $$", 139},
	} {
		if out, code := n.exec(c, "sh", "-c", e.script); code != e.code || out != "" {
			t.Errorf("%s: %d %q, want %d", e.script, code, out, e.code)
		}
	}
	r, err := n.ExecSync(n.ctx(), &cri.ExecSyncRequest{ContainerId: c, Cmd: []string{"sh", "-c", "echo out; echo err >&2; cat"}})
	if err != nil || string(r.Stdout) != "out\n" || string(r.Stderr) != "err\n" || r.ExitCode != 0 {
		t.Errorf("%v, %v", r, err)
	}
}

// TestExecOutputIsCut: as much is given back as a kubelet takes in one message, of both streams; the rest is thrown away and the command runs to its end (api.proto).
func TestExecOutputIsCut(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	c := p.start(container("app", "sleep", "1000"))
	r, err := n.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: c, Timeout: 120, Cmd: []string{"sh", "-c", "yes | head -c 17000001; yes | head -c 17000002 >&2; exit 5"}})
	if err != nil {
		t.Fatal(err)
	}
	// The first 64 KiB of each are its own: what was wrong stands on stderr, whatever went to stdout before.
	if len(r.Stdout) != 16<<20-4096-64<<10 || len(r.Stderr) != 64<<10 || r.ExitCode != 5 {
		t.Errorf("%d and %d bytes, code %d", len(r.Stdout), len(r.Stderr), r.ExitCode)
	}
	if !bytes.HasPrefix(r.Stdout, []byte("y\ny\n")) || !bytes.HasSuffix(r.Stderr, []byte("y\ny\n")) {
		t.Error("the output is not what was written")
	}
}

// TestExecOutputsShare: calls that hold much output at the same time share 64 MiB for it; each keeps the beginning and runs to its end. Afterwards there is room again.
func TestExecOutputsShare(t *testing.T) {
	n := commonNode(t)
	c := n.newPod().start(container("app", "sleep", "1000"))
	const calls = 8
	write := func(then string) *cri.ExecSyncResponse {
		script := "i=0; yes | head -c 10000000; yes | head -c 10000000 >&2; " + then
		r, err := n.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: c, Timeout: 120, Cmd: []string{"sh", "-c", script}})
		if err != nil {
			t.Error(err)
			return nil
		}
		for _, stream := range [][]byte{r.Stdout, r.Stderr} {
			if len(stream) < 64<<10 || !bytes.Equal(stream, bytes.Repeat([]byte("y\n"), len(stream)/2+1)[:len(stream)]) {
				t.Errorf("%d bytes, not what was written", len(stream))
			}
		}
		return r
	}
	var all sync.WaitGroup
	var kept atomic.Int64
	for range calls {
		all.Go(func() {
			// None ends before all have written.
			r := write(fmt.Sprintf("echo >>/tmp/written; until [ $(wc -l </tmp/written) = %d ]; do sleep 0.05; done; exit 3", calls))
			kept.Add(int64(len(r.GetStdout()) + len(r.GetStderr())))
			if r.GetExitCode() != 3 {
				t.Errorf("code %d", r.GetExitCode())
			}
		})
	}
	all.Wait()
	if k := kept.Load(); k > 64<<20+calls*2*64<<10 || k < 60<<20 {
		t.Errorf("%d calls at the same time kept %d KiB", calls, k>>10)
	}
	if r := write("exit 0"); len(r.GetStdout())+len(r.GetStderr()) != 16<<20-4096 {
		t.Errorf("a call after them kept %d and %d bytes", len(r.GetStdout()), len(r.GetStderr()))
	}
}

// TestExecAsTheContainerEnds: a command that can't start because its container ends just then fails for that, not for the step that noticed.
func TestExecAsTheContainerEnds(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	for name, try := range map[string]func(c string) error{
		"sync": func(c string) error {
			_, err := n.ExecSync(n.ctx(), &cri.ExecSyncRequest{ContainerId: c, Cmd: []string{"true"}})
			n.fails(err, codes.FailedPrecondition)
			return err
		},
		"stream": func(c string) error {
			_, _, _, err := n.streamExec(streamclient.SPDY, c, streamclient.Want{Stdout: true}, "true").Output()
			return err
		},
		"terminal": func(c string) error {
			_, _, _, err := n.streamExec(streamclient.SPDY, c, streamclient.Want{Stdout: true, TTY: true}, "true").Output()
			return err
		},
	} {
		c := p.start(container(name, "sleep", "1000"))
		pause, app := n.pauseOf(p.id), n.seenContainer(c).PID
		// As long as pause is stopped podlet doesn't hear of the end.
		if err := unix.Kill(pause, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		wake := time.AfterFunc(300*time.Millisecond, func() { unix.Kill(pause, unix.SIGCONT) })
		t.Cleanup(func() { wake.Stop(); unix.Kill(pause, unix.SIGCONT) })
		if err := unix.Kill(app, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		n.soon("the app has ended", func() bool {
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", app))
			return strings.Contains(string(stat), ") Z ")
		})
		if err := try(c); err == nil || !strings.Contains(err.Error(), "has ended meanwhile") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestExecTimeout kills all that the command started, whatever it did to get away.
func TestExecTimeout(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	c := p.start(container("app", "sh", "-c", "while :; do sleep 0.1; done"))
	script := "setsid sleep 4444 & (trap '' TERM INT HUP; setsid sh -c 'sleep 4444; :' &) ; exec sleep 4444"
	began := time.Now()
	_, err := n.ExecSync(n.ctx(), &cri.ExecSyncRequest{ContainerId: c, Cmd: []string{"sh", "-c", script}, Timeout: 1})
	n.fails(err, codes.DeadlineExceeded, "app", "1s")
	if took := time.Since(began); took < time.Second {
		t.Errorf("a timeout of 1 s took %v", took)
	}
	n.noneOf(c, "sleep 4444")
	ctx, cancel := context.WithTimeout(n.ctx(), 300*time.Millisecond)
	defer cancel()
	_, err = n.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: c, Cmd: []string{"sh", "-c", script}})
	n.fails(err, codes.DeadlineExceeded)
	n.noneOf(c, "sleep 4444")
}

// noneOf waits until no process in the container has a command line that begins like this.
func (n *node) noneOf(container, line string) {
	n.t.Helper()
	n.soon("no process "+line, func() bool { return n.count(container, line) == 0 })
}

// count counts the processes that the container sees whose command line begins like this.
func (n *node) count(container, line string) (count int) {
	n.t.Helper()
	out, _ := n.exec(container, "ps", "-o", "args")
	for l := range strings.Lines(out) {
		if strings.HasPrefix(l, line) {
			count++
		}
	}
	return count
}

// TestExecIsNotHeldUp by a child in the background that keeps the output open.
func TestExecIsNotHeldUp(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	c := p.start(container("app", "sleep", "1000"))
	if out, code := n.exec(c, "sh", "-c", "echo begun; sleep 5555 & exit 3"); out != "begun\n" || code != 3 {
		t.Errorf("%q, %d", out, code)
	}
	// The child may live; it writes to nobody, and ends with the container. It need not have come to its execve when the shell ends.
	n.soon("the child lives", func() bool { return n.count(c, "sleep 5555") == 1 })
}

func TestExecRefused(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	running, created := p.start(container("app", "sleep", "1000")), p.create(container("created", "true"))
	exited := p.start(container("exited", "true"))
	n.exited(exited)
	for _, e := range []struct {
		what    string
		request *cri.ExecSyncRequest
		code    codes.Code
		names   []string
	}{
		{"unknown container", &cri.ExecSyncRequest{ContainerId: "no-such", Cmd: []string{"true"}}, codes.NotFound, []string{"no-such"}},
		{"created", &cri.ExecSyncRequest{ContainerId: created, Cmd: []string{"true"}}, codes.FailedPrecondition, []string{"created"}},
		{"exited", &cri.ExecSyncRequest{ContainerId: exited, Cmd: []string{"true"}}, codes.FailedPrecondition, []string{"exited"}},
		{"no command", &cri.ExecSyncRequest{ContainerId: running}, codes.InvalidArgument, []string{"no command"}},
		{"empty command", &cri.ExecSyncRequest{ContainerId: running, Cmd: []string{""}}, codes.InvalidArgument, []string{"no command"}},
		{"NUL", &cri.ExecSyncRequest{ContainerId: running, Cmd: []string{"echo", "a\x00b"}}, codes.InvalidArgument, []string{"NUL"}},
		{"negative timeout", &cri.ExecSyncRequest{ContainerId: running, Cmd: []string{"true"}, Timeout: -1}, codes.InvalidArgument, []string{"-1"}},
		{"absent command", &cri.ExecSyncRequest{ContainerId: running, Cmd: []string{"/no/such"}}, codes.Unknown, []string{"/no/such", "ENOENT"}},
		{"not in PATH", &cri.ExecSyncRequest{ContainerId: running, Cmd: []string{"no-such"}}, codes.Unknown, []string{`"no-such": executable file not found in $PATH (/`}},
		{"not executable", &cri.ExecSyncRequest{ContainerId: running, Cmd: []string{"/etc/passwd"}}, codes.Unknown, []string{"/etc/passwd", "EACCES"}},
	} {
		_, err := n.ExecSync(n.ctx(), e.request)
		if err == nil {
			t.Errorf("%s: succeeds", e.what)
			continue
		}
		n.fails(err, e.code, e.names...)
	}
}

// TestExecIsTheContainer: a command runs as the container's own process does.
func TestExecIsTheContainer(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	config := container("app", "sleep", "1000")
	config.Envs = []*cri.KeyValue{{Key: "FROM", Value: []byte("config")}}
	config.WorkingDir = "/tmp"
	config.Linux = &cri.LinuxContainerConfig{
		Resources: &cri.LinuxContainerResources{OomScoreAdj: 900, MemoryLimitInBytes: 64 << 20},
		SecurityContext: &cri.LinuxContainerSecurityContext{
			RunAsUser: &cri.Int64Value{Value: 1000}, SupplementalGroups: []int64{4000}, NoNewPrivs: true, Capabilities: &cri.Capability{DropCapabilities: []string{"ALL"}},
		},
	}
	c := p.start(config)
	const look = "id; pwd; echo $FROM; umask; cat /proc/self/oom_score_adj; ls -l /proc/self/ns | sed 's/.*-> //'; grep -E '^(Cap|NoNewPrivs|Seccomp|Sig[PBIC])' /proc/self/status; ulimit -n; cut -d' ' -f18,19,41 /proc/self/stat"
	out, code := n.exec(c, "sh", "-c", look)
	app := p.output(withCommand(config, "again", "sh", "-c", look))
	if code != 0 || withoutPID(out) != withoutPID(app) {
		t.Errorf("exec:\n%s\nown:\n%s", out, app)
	}
	group, _ := n.exec(c, "sh", "-c", "cat /proc/self/cgroup")
	for line := range strings.Lines(group) {
		if path := line[strings.LastIndex(line, ":")+1:]; path != "/\n" && !strings.HasPrefix(path, "/exec-") {
			t.Errorf("an exec is outside the container's cgroup: %s", line)
		}
	}
}

// withCommand is the same container with another name and command.
func withCommand(c *cri.ContainerConfig, name string, command ...string) *cri.ContainerConfig {
	other := container(name, command...)
	other.Envs, other.WorkingDir, other.Linux, other.Image, other.Mounts = c.Envs, c.WorkingDir, c.Linux, c.Image, c.Mounts
	return other
}

// withoutPID leaves out the lines about what two containers don't share.
func withoutPID(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "pid:") && !strings.HasPrefix(line, "mnt:") && !strings.HasPrefix(line, "cgroup:") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func TestManyExecsAtOnce(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	c := p.start(container("app", "sleep", "1000"))
	var calls sync.WaitGroup
	for i := range 40 {
		calls.Go(func() {
			r, err := n.ExecSync(n.ctx(), &cri.ExecSyncRequest{ContainerId: c, Cmd: []string{"sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i)}})
			if err != nil || string(r.Stdout) != fmt.Sprintf("%d\n", i) || r.ExitCode != int32(i) {
				t.Errorf("exec %d: %v, %v", i, r, err)
			}
		})
	}
	calls.Wait()
	if out, _ := n.exec(c, "ps", "-o", "stat,args"); strings.Contains(out, "Z") {
		t.Errorf("zombies:\n%s", out)
	}
}
