package launch

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"podlet/pod/spec"
	"podlet/pod/tape"
)

var update = flag.Bool("update", false, "write what the tapes are to testdata instead of comparing")

// The machines that the golden tapes are for; facts of this one must not show.
var (
	hybrid = &spec.Machine{
		LastCapability: 40, Capabilities: 1<<41 - 1, MaxOpenFiles: 1 << 20,
		V1Controllers: []string{"cpu,cpuacct", "memory", "pids"}, Unified: true,
	}
	pureV2 = &spec.Machine{LastCapability: 40, Capabilities: 1<<41 - 1, MaxOpenFiles: 1 << 20, Unified: true}
	onlyV1 = &spec.Machine{LastCapability: 40, Capabilities: 1<<41 - 1, MaxOpenFiles: 1 << 20, V1Controllers: []string{"cpu,cpuacct", "memory", "pids"}}
)

// made is a tape or why there is none.
type made struct {
	*tape.Tape
	err error
}

func of(t *tape.Tape, err error) made { return made{t, err} }

func sandbox(change ...func(*spec.Sandbox)) *spec.Sandbox {
	s := &spec.Sandbox{Namespace: "shop", Name: "web", Hostname: "web"}
	for _, f := range change {
		f(s)
	}
	return s
}

// userNS: which ids are mapped is no matter of the tape's.
func userNS(s *spec.Sandbox)      { s.UserNS = &spec.IDMap{} }
func hostNetwork(s *spec.Sandbox) { s.HostNetwork = true }
func hostPID(s *spec.Sandbox)     { s.HostPID = true }
func hostIPC(s *spec.Sandbox)     { s.HostIPC = true }

// request is a container to make a tape of.
type request struct {
	sandbox *spec.Sandbox
	machine *spec.Machine
	spec    spec.Container
	user    spec.Identity
	files   []bool
	// imageVolumes are VOLUMEs of the image.
	imageVolumes []string
}

// container is a plain one on a hybrid machine, changed.
func container(change ...func(*request)) *request {
	r := &request{
		sandbox: sandbox(), machine: hybrid, user: spec.Identity{Groups: []uint32{0}, Home: "/root"},
		spec: spec.Container{
			Name: "app", Command: []string{"/bin/server", "--port", "80"}, PID: spec.PIDContainer, NoNewPrivs: true,
			MaskedPaths: []string{"/proc/kcore", "/sys/firmware"}, ReadOnlyPaths: []string{"/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	for _, f := range change {
		f(r)
	}
	return r
}

func (r *request) process() (*spec.Process, error) {
	p, _, err := spec.NewProcess(r.sandbox, &r.spec, &spec.Image{}, &r.user, r.machine)
	return p, err
}

func (r *request) tape() made {
	p, err := r.process()
	if err != nil {
		return made{nil, err}
	}
	return of(NewContainer(r.sandbox, &r.spec, p, r.machine, CgroupOn(r.machine), r.files, r.imageVolumes).Tape())
}

func (r *request) exec(tty bool, args ...string) made {
	p, err := r.process()
	if err != nil {
		return made{nil, err}
	}
	return of((&Exec{
		Name: "shop/web/app", Process: p.Exec(args, tty), UserNS: r.sandbox.UserNS != nil, Cgroup: CgroupOn(r.machine), Machine: r.machine,
	}).Tape())
}

func on(m *spec.Machine) func(*request) { return func(r *request) { r.machine = m } }
func in(change ...func(*spec.Sandbox)) func(*request) {
	return func(r *request) { r.sandbox = sandbox(change...) }
}
func with(change func(*spec.Container)) func(*request) {
	return func(r *request) { change(&r.spec) }
}

// volumes has one of every kind: a directory deep below the root, one below another, a file, a file of /proc, and one in the place of a default mount.
func volumes(r *request) {
	for _, v := range []struct {
		target string
		file   bool
	}{{"/srv/data/deep", false}, {"/srv", false}, {"/etc/app/config.yaml", true}, {"/proc/cpuinfo", true}, {"/dev/shm", false}} {
		r.spec.Mounts = append(r.spec.Mounts, spec.Mount{Source: "/var/lib/kubelet/volume", Target: v.target})
		r.files = append(r.files, v.file)
	}
}

// imageVolumes are two VOLUMEs, one below the other.
func imageVolumes(r *request) { r.imageVolumes = []string{"/data", "/data/deep/er"} }

// nonRoot is a user with a capability that it keeps over execve (KEP-2763), in a working directory of its own.
func nonRoot(r *request) {
	r.user = spec.Identity{UID: 1000, GID: 1000, Groups: []uint32{1000, 2000}, Home: "/home/app"}
	r.spec.Capabilities = spec.Capabilities{Drop: []string{"ALL"}, Ambient: []string{"NET_BIND_SERVICE"}}
	r.spec.WorkingDir = "/home/app/work"
}

// golden are the tapes whose text stands in testdata.
var golden = map[string]func() made{
	"nursery": func() made { return of(Nursery()) },

	"pod":            func() made { return of(Pod(sandbox())) },
	"pod-hostnet":    func() made { return of(Pod(sandbox(hostNetwork))) },
	"pod-hostpid":    func() made { return of(Pod(sandbox(hostPID))) },
	"pod-hostipc":    func() made { return of(Pod(sandbox(hostIPC))) },
	"pod-userns":     func() made { return of(Pod(sandbox(userNS))) },
	"userns":         func() made { return of(UserNS()) },
	"init":           func() made { return of(Init(sandbox())) },
	"init-userns":    func() made { return of(Init(sandbox(userNS))) },
	"container":      func() made { return container().tape() },
	"container-v2":   func() made { return container(on(pureV2)).tape() },
	"container-v1":   func() made { return container(on(onlyV1)).tape() },
	"container-tty":  func() made { return container(on(pureV2), with(func(c *spec.Container) { c.TTY = true })).tape() },
	"container-user": func() made { return container(on(pureV2), nonRoot).tape() },
	"container-userns": func() made {
		return container(in(userNS)).tape()
	},
	"container-hostipc": func() made { return container(on(pureV2), in(hostIPC)).tape() },
	"container-privileged": func() made {
		return container(on(pureV2), with(func(c *spec.Container) { c.Privileged, c.NoNewPrivs = true, false })).tape()
	},
	"container-readonly": func() made {
		return container(on(pureV2), with(func(c *spec.Container) { c.ReadOnlyRoot = true })).tape()
	},
	"container-volumes": func() made { return container(on(pureV2), volumes).tape() },
	"container-imagevolumes": func() made {
		return container(on(pureV2), imageVolumes).tape()
	},
	"container-imagevolumes-readonly": func() made {
		return container(on(pureV2), imageVolumes, with(func(c *spec.Container) { c.ReadOnlyRoot = true })).tape()
	},
	"container-podpid": func() made {
		return container(on(pureV2), in(func(s *spec.Sandbox) { s.SharedPID = true }), with(func(c *spec.Container) { c.PID = spec.PIDPod })).tape()
	},
	"container-hostpid": func() made {
		return container(on(pureV2), in(hostPID), with(func(c *spec.Container) { c.PID = spec.PIDNode })).tape()
	},
	"container-target": func() made {
		return container(on(pureV2), with(func(c *spec.Container) { c.PID = spec.PIDTarget })).tape()
	},
	"container-path": func() made {
		return container(on(pureV2), with(func(c *spec.Container) { c.Command = []string{"server"} })).tape()
	},
	"exec":        func() made { return container().exec(false, "/bin/true") },
	"exec-v2":     func() made { return container(on(pureV2)).exec(false, "true") },
	"exec-tty":    func() made { return container(on(pureV2)).exec(true, "/bin/sh") },
	"exec-userns": func() made { return container(on(pureV2), in(userNS)).exec(false, "/bin/true") },
}

// TestGolden compares every tape with its text; "go test ./pod/launch -update" writes them anew, and the diff of testdata is what to review.
func TestGolden(t *testing.T) {
	for name, make := range golden {
		t.Run(name, func(t *testing.T) {
			m := make()
			if m.err != nil {
				t.Fatal(m.err)
			}
			var text bytes.Buffer
			if err := m.Explain(&text, tape.ExplainOptions{Env: true}); err != nil {
				t.Fatal(err)
			}
			compare(t, filepath.Join("testdata", name+".txt"), text.String())
		})
	}
	if *update {
		return
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if golden[strings.TrimSuffix(filepath.Base(file), ".txt")] == nil {
			t.Errorf("%s is of no tape", file)
		}
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(string(want), got); d != "" {
		t.Errorf("%s (-) differs from the tape (+):\n%s\nIf it should: go test ./pod/launch -update", file, d)
	}
}

// diff shows the lines that two texts don't have in common, without the numbers of the steps, which all change with one step more.
func diff(want, got string) string {
	a, b := bare(want), bare(got)
	// length[i][j] is the longest common subsequence of a[i:] and b[j:].
	length := make([][]int, len(a)+1)
	for i := range length {
		length[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			length[i][j] = max(length[i+1][j], length[i][j+1])
			if a[i] == b[j] {
				length[i][j] = length[i+1][j+1] + 1
			}
		}
	}
	var out strings.Builder
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && length[i+1][j] >= length[i][j+1]:
			fmt.Fprintf(&out, "-%4d %s\n", i, a[i])
			i++
		default:
			fmt.Fprintf(&out, "+%4d %s\n", j, b[j])
			j++
		}
	}
	return out.String()
}

// bare are the lines without their numbers.
func bare(text string) []string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, " 0123456789")
		if i == 0 {
			// "name: 123 steps, …": the number goes, the fds stay.
			name, rest, _ := strings.Cut(line, ": ")
			_, fds, _ := strings.Cut(rest, " steps")
			lines[i] = name + fds
		}
	}
	return lines
}

func TestDiff(t *testing.T) {
	a := "x: 3 steps\n0  a()\n1  b()\n2  c()\n"
	if d := diff(a, a); d != "" {
		t.Errorf("a text differs from itself: %q", d)
	}
	if got, want := diff(a, "x: 3 steps\n0  a()\n1  d()\n2  c()\n"), "-   2 b()\n+   2 d()\n"; got != want {
		t.Errorf("diff: %q, want %q", got, want)
	}
	if got, want := diff(a, "x: 4 steps\n0  z()\n1  a()\n2  b()\n3  c()\n"), "+   1 z()\n"; got != want {
		t.Errorf("diff: %q, want %q", got, want)
	}
}

// TestLint holds every tape to the rules that other runtimes have learned the hard way.
func TestLint(t *testing.T) {
	for name, make := range golden {
		m := make()
		if m.err != nil {
			t.Fatal(m.err)
		}
		for _, finding := range tape.Lint(m.Tape, Rules()) {
			t.Errorf("%s: %v", name, finding)
		}
	}
}

// TestSame: the same request gives the same bytes.
func TestSame(t *testing.T) {
	for name, make := range golden {
		a, err := make().Encode()
		if err != nil {
			t.Fatal(err)
		}
		b, err := make().Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a, b) {
			t.Errorf("%s: two tapes of one request differ", name)
		}
	}
}
