package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// seen is the verbose part of a status.
type seen struct {
	PID        int               `json:"pid"`
	Namespaces map[string]uint64 `json:"namespaces"`
	NetNS      string            `json:"netns"`
	Spec       map[string]any    `json:"spec"`
}

func (n *node) seenPod(id string) seen {
	n.t.Helper()
	r, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if err != nil {
		n.t.Fatal(err)
	}
	return n.parse(r.Info["info"])
}

func (n *node) seenContainer(id string) seen {
	n.t.Helper()
	r, err := n.ContainerStatus(n.ctx(), &cri.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		n.t.Fatal(err)
	}
	return n.parse(r.Info["info"])
}

func (n *node) parse(text string) (s seen) {
	n.t.Helper()
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		n.t.Fatalf("info %q: %v", text, err)
	}
	if s.PID == 0 || len(s.Namespaces) != 7 || len(s.Spec) == 0 {
		n.t.Fatalf("info without a pid, some namespaces or the spec: %q", text)
	}
	return s
}

// hostNamespaces are this process's.
func hostNamespaces(t *testing.T) map[string]uint64 {
	t.Helper()
	host := map[string]uint64{}
	for _, kind := range []string{"mnt", "pid", "net", "ipc", "uts", "user", "cgroup"} {
		var st unix.Stat_t
		if err := unix.Stat("/proc/self/ns/"+kind, &st); err != nil {
			t.Fatal(err)
		}
		host[kind] = st.Ino
	}
	return host
}

// same lists the namespaces that two processes share.
func same(a, b map[string]uint64) string {
	var kinds []string
	for kind := range maps.Keys(a) {
		if a[kind] == b[kind] {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return strings.Join(kinds, " ")
}

func sharing(change func(*cri.NamespaceOption)) func(*cri.PodSandboxConfig) {
	return func(c *cri.PodSandboxConfig) { change(c.Linux.SecurityContext.NamespaceOptions) }
}

// TestNamespaces says for each kind of pod what its containers share with each other, with pause and with the node.
func TestNamespaces(t *testing.T) {
	host := hostNamespaces(t)
	for _, c := range []struct {
		name                   string
		change                 func(*cri.NamespaceOption)
		siblings, pause, hosts string
	}{
		{"plain", func(o *cri.NamespaceOption) {}, "ipc net user uts", "ipc net user uts", "user"},
		{"hostnetwork", func(o *cri.NamespaceOption) { o.Network = cri.NamespaceMode_NODE }, "ipc net user uts", "ipc net user uts", "net user uts"},
		{"hostipc", func(o *cri.NamespaceOption) { o.Ipc = cri.NamespaceMode_NODE }, "ipc net user uts", "ipc net user uts", "ipc user"},
		{"hostpid", func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_NODE }, "ipc net pid user uts", "ipc net pid user uts", "pid user"},
		{"sharedpid", func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_POD }, "ipc net pid user uts", "ipc net user uts", "user"},
		{"userns", userNS, "ipc net user uts", "ipc net uts", ""},
		{"usernsshared", func(o *cri.NamespaceOption) { userNS(o); o.Pid = cri.NamespaceMode_POD }, "ipc net pid user uts", "ipc net uts", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := commonNode(t)
			sandbox := n.sandbox(c.name, sharing(c.change))
			pod := n.run(sandbox)
			a := n.startIn(pod, sandbox, n.like(sandbox, container("a", "sleep", "1000")))
			b := n.startIn(pod, sandbox, n.like(sandbox, container("b", "sleep", "1000")))
			p, sa, sb := n.seenPod(pod), n.seenContainer(a), n.seenContainer(b)
			if got := same(sa.Namespaces, sb.Namespaces); got != c.siblings {
				t.Errorf("two containers share %q, want %q", got, c.siblings)
			}
			if got := same(sa.Namespaces, p.Namespaces); got != c.pause {
				t.Errorf("a container shares %q with pause, want %q", got, c.pause)
			}
			if got := same(sa.Namespaces, host); got != c.hosts {
				t.Errorf("a container shares %q with the node, want %q", got, c.hosts)
			}
			if p.NetNS != "" {
				var st unix.Stat_t
				if err := unix.Stat(p.NetNS, &st); err != nil || st.Ino != sa.Namespaces["net"] {
					t.Errorf("%s is inode %d, want %d: %v", p.NetNS, st.Ino, sa.Namespaces["net"], err)
				}
			}
			if out, code := n.exec(a, "cat", "/proc/self/mounts"); code != 0 || !strings.Contains(out, "proc /proc proc") {
				t.Errorf("/proc/self/mounts of an exec: %d, %s", code, out)
			}
			pidfd, err := unix.PidfdOpen(sa.PID, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(pidfd)
			if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
				t.Fatal(err)
			}
			// What has ended may wait for init to reap it, and its number may be another's.
			ended := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
			if _, err := unix.Poll(ended, 0); err != nil || ended[0].Revents&unix.POLLIN == 0 {
				t.Errorf("process %d of a removed pod lives still: %v", sa.PID, err)
			}
		})
	}
}

func userNS(o *cri.NamespaceOption) {
	o.UsernsOptions = &cri.UserNamespace{
		Mode: cri.NamespaceMode_POD,
		Uids: []*cri.IDMapping{{ContainerId: 0, HostId: 1 << 20, Length: 65536}},
		Gids: []*cri.IDMapping{{ContainerId: 0, HostId: 1 << 20, Length: 65536}},
	}
}

// like gives the container its sandbox's namespace options, as kubelets do.
func (n *node) like(s *cri.PodSandboxConfig, c *cri.ContainerConfig) *cri.ContainerConfig {
	if c.Linux == nil {
		c.Linux = &cri.LinuxContainerConfig{}
	}
	if c.Linux.SecurityContext == nil {
		c.Linux.SecurityContext = &cri.LinuxContainerSecurityContext{}
	}
	c.Linux.SecurityContext.NamespaceOptions = s.Linux.SecurityContext.NamespaceOptions
	return c
}

// TestTarget joins the PID namespace of another container (KEP-277's debug containers).
func TestTarget(t *testing.T) {
	n := commonNode(t)
	sandbox := n.sandbox("target")
	pod := n.run(sandbox)
	app := n.startIn(pod, sandbox, n.like(sandbox, container("app", "sleep", "1000")))
	debug := container("debug", "sleep", "1000")
	debug.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
		NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_TARGET, TargetId: app},
	}}
	d := n.startIn(pod, sandbox, debug)
	if got := same(n.seenContainer(app).Namespaces, n.seenContainer(d).Namespaces); got != "ipc net pid user uts" {
		t.Errorf("target and debug container share %q", got)
	}
	// StartContainer returns in the middle of execve, when the command line isn't the new one yet.
	n.soon("ps in the debug container shows both", func() bool {
		out, _ := n.exec(d, "ps")
		return strings.Count(out, "sleep 1000") == 2
	})
}
