package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// found is what the probe of the image "tools" says of itself, as far as tests look at it.
type found struct {
	PID, SID, PGID        int
	UID, EUID, GID, EGID  int
	Groups                []int
	Env                   []string
	Cwd, Hostname         string
	Status                map[string]string
	Limits                map[string][2]uint64
	FDs                   map[string]string
	Cgroup                []string
	OOMScoreAdj           string
	Nice, Scheduler, CPUs int
	Dumpable, ChildReaper int
	Keyring               int
	Terminal              [3]bool
	Mounts                []string
}

// look runs a container that looks at itself.
func (p *testPod) look(name string, change ...func(*cri.ContainerConfig)) *found {
	p.n.t.Helper()
	c := container(name)
	c.Image.Image = tools
	for _, f := range change {
		f(c)
	}
	return p.n.found(p.output(c))
}

func (n *node) found(text string) *found {
	n.t.Helper()
	f := &found{}
	if err := json.Unmarshal([]byte(text), f); err != nil {
		n.t.Fatalf("what the probe says: %v: %.300s", err, text)
	}
	return f
}

// TestProcessState: what an app is started with doesn't depend on how podlet was.
func TestProcessState(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	f := p.look("app")
	if f.PID != 1 || f.SID != 1 || f.PGID != 1 {
		t.Errorf("pid %d, session %d, process group %d", f.PID, f.SID, f.PGID)
	}
	if len(f.FDs) != 3 || !strings.HasPrefix(f.FDs["1"], "pipe:") || !strings.HasPrefix(f.FDs["2"], "pipe:") || f.FDs["1"] == f.FDs["2"] {
		t.Errorf("open files %v", f.FDs)
	}
	// The device has no path in the container's tree: it is podlet's, whatever the image's /dev/null may be.
	if out := p.output(container("stdin", "stat", "-L", "-c", "%F %t:%T", "/proc/self/fd/0")); out != "character special file 1:3\n" {
		t.Errorf("stdin is a %s", out)
	}
	if f.Nice != 0 || f.Scheduler != 0 || f.Dumpable != 1 || f.ChildReaper != 0 || f.OOMScoreAdj != "0" {
		t.Errorf("nice %d, scheduler %d, dumpable %d, subreaper %d, oom_score_adj %s", f.Nice, f.Scheduler, f.Dumpable, f.ChildReaper, f.OOMScoreAdj)
	}
	if f.Keyring == 0 {
		t.Error("no session keyring of its own")
	}
	if f.Status["Umask"] != "0022" || f.Status["NoNewPrivs"] != "0" || f.Status["Seccomp"] != "0" {
		t.Errorf("umask %s, no_new_privs %s, seccomp %s", f.Status["Umask"], f.Status["NoNewPrivs"], f.Status["Seccomp"])
	}
	if f.Cwd != "/" || f.Hostname != p.config.Hostname {
		t.Errorf("cwd %s, hostname %s", f.Cwd, f.Hostname)
	}
	for _, line := range f.Cgroup {
		if !strings.HasSuffix(line, ":/") {
			t.Errorf("cgroup %s: not in a CGROUP namespace of its own", line)
		}
	}
	if l := f.Limits["nofile"]; l[0] < 1024 || l[0] > l[1] {
		t.Errorf("open files %v", l)
	}
	// Go's runtime changes its signals; busybox doesn't.
	status := p.output(container("signals", "cat", "/proc/self/status"))
	for _, set := range []string{"SigBlk", "SigIgn", "SigCgt", "SigPnd"} {
		if !contains(status, set+":\t0000000000000000\n") {
			t.Errorf("%s of a fresh process:\n%s", set, status)
		}
	}
}

// TestEnvironment: podlet's own variables, the image's and the config's, the later winning.
func TestEnvironment(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	f := p.look("app", func(c *cri.ContainerConfig) {
		c.Envs = []*cri.KeyValue{
			{Key: "A", Value: []byte("1")}, {Key: "EMPTY"}, {Key: "A", Value: []byte("2")}, {Key: "LINES", Value: []byte("a\nb=c")}, {Key: "BYTES", Value: []byte{0xff, 0xfe}},
		}
	})
	for _, want := range []string{"A=2", "EMPTY=", "LINES=a\nb=c", "HOME=/root", "HOSTNAME=" + p.config.Hostname, "PATH=/bin:/usr/bin:/sbin:/usr/sbin"} {
		if !slices.Contains(f.Env, want) {
			t.Errorf("%q is not in %q", want, f.Env)
		}
	}
	if slices.ContainsFunc(f.Env, func(v string) bool { return strings.HasPrefix(v, "A=1") || strings.HasPrefix(v, "TERM=") }) {
		t.Errorf("%q", f.Env)
	}
	config := container("scratch", "/probe", "show")
	config.Image.Image = scratch
	config.Envs = []*cri.KeyValue{{Key: "HOME", Value: []byte("/elsewhere")}}
	f = n.found(p.output(config))
	if f.UID != 1234 || f.GID != 5678 || f.Cwd != "/work/dir" || !slices.Contains(f.Env, "FROM_IMAGE=yes") || !slices.Contains(f.Env, "HOME=/elsewhere") {
		t.Errorf("%+v", f)
	}
}

// TestArguments: command and args against the image's entrypoint and cmd.
func TestArguments(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	args := func(name string, change func(*cri.ContainerConfig)) string {
		c := container(name)
		c.Image.Image = tools // entrypoint /bin/probe, cmd show
		change(c)
		return p.output(c)
	}
	if out := args("neither", func(c *cri.ContainerConfig) {}); !contains(out, `"Args":["/bin/probe","show"]`) {
		t.Errorf("neither: %.200s", out)
	}
	if out := args("args", func(c *cri.ContainerConfig) { c.Args = []string{"cat", "/etc/image"} }); out != "a test image of podlet\n" {
		t.Errorf("args alone: %q", out)
	}
	if out := args("command", func(c *cri.ContainerConfig) { c.Command = []string{"echo"} }); out != "\n" {
		t.Errorf("command alone: %q", out)
	}
	if out := args("both", func(c *cri.ContainerConfig) { c.Command, c.Args = []string{"echo", "a"}, []string{"b c", "", "d"} }); out != "a b c  d\n" {
		t.Errorf("both: %q", out)
	}
}

// TestWorkingDirectory is made where it is absent, by the user that the pod's root is.
func TestWorkingDirectory(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	for _, c := range []struct{ dir, want string }{
		{"", "/"}, {"/tmp", "/tmp"}, {"tmp", "/tmp"}, {"/made/for/it", "/made/for/it"}, {"/usr/../var/run", "/run"}, {"/proc/self", "/proc/1"},
	} {
		f := p.look("cwd"+strings.ReplaceAll(c.dir, "/", "-"), func(config *cri.ContainerConfig) { config.WorkingDir = c.dir })
		if f.Cwd != c.want {
			t.Errorf("working_dir %q: %s, want %s", c.dir, f.Cwd, c.want)
		}
	}
}

// TestOOMScoreAdj is the config's, and a container that asks for what podlet may not give starts all the same.
func TestOOMScoreAdj(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	if f := p.look("high", limits(&cri.LinuxContainerResources{OomScoreAdj: 877})); f.OOMScoreAdj != "877" {
		t.Errorf("oom_score_adj %s", f.OOMScoreAdj)
	}
	p.look("low", limits(&cri.LinuxContainerResources{OomScoreAdj: -998}))
}
