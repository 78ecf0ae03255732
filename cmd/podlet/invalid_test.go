package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// longID is an id as nobody should send it, of 1 MiB.
var longID = strings.Repeat("0123456789abcdef", 1<<16)

// TestStrangeIDs: whatever is no id of podlet's is not found, and there is nothing to stop or remove.
func TestStrangeIDs(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	app := p.start(container("app", "sleep", "1000"))
	for _, id := range []string{"", ".", "..", "/", "../" + p.id, p.id[1:], strings.ToUpper(p.id), p.id + "\x00", app + "/", "\x00", "*", longID} {
		name := fmt.Sprintf("%.20q", id)
		_, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: id})
		n.fails(err, codes.NotFound, "pod")
		_, err = n.ContainerStatus(n.ctx(), &cri.ContainerStatusRequest{ContainerId: id})
		n.fails(err, codes.NotFound, "container")
		n.fails(n.tryStart(id), codes.NotFound, "container")
		_, err = n.ExecSync(n.ctx(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}})
		n.fails(err, codes.NotFound, "container")
		_, err = n.CreateContainer(n.ctx(), &cri.CreateContainerRequest{PodSandboxId: id, Config: container("x", "true"), SandboxConfig: p.config})
		n.fails(err, codes.NotFound, "pod")
		if len(err.Error()) > 1000 {
			t.Errorf("%s: a message of %d bytes", name, len(err.Error()))
		}
		_, err = n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: id})
		n.fails(err, codes.OK)
		_, err = n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: id})
		n.fails(err, codes.OK)
		_, err = n.StopContainer(n.ctx(), &cri.StopContainerRequest{ContainerId: id})
		n.fails(err, codes.OK)
		_, err = n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: id})
		n.fails(err, codes.OK)
		if t.Failed() {
			t.Fatalf("id %s", name)
		}
	}
	if s := n.status(app); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("%v", s)
	}
}

// TestStrangeImages: what can be no image's name is refused, without being sent back whole.
func TestStrangeImages(t *testing.T) {
	n := commonNode(t)
	for _, name := range []string{"", "..", "/", "../../etc", "a\x00b", "a/UPPER", "a b", "sha256:", "sha256:..", "a@sha256:zz", "-", "podlet.test/" + longID} {
		image := &cri.ImageSpec{Image: name}
		_, err := n.images.ImageStatus(n.ctx(), &cri.ImageStatusRequest{Image: image})
		n.fails(err, codes.InvalidArgument, "image")
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%.20q: a message of %d bytes", name, len(err.Error()))
		}
		_, err = n.images.RemoveImage(n.ctx(), &cri.RemoveImageRequest{Image: image})
		n.fails(err, codes.InvalidArgument, "image")
		if t.Failed() {
			t.Fatalf("image %.20q", name)
		}
	}
	if r, err := n.images.ListImages(n.ctx(), &cri.ListImagesRequest{}); err != nil || len(r.Images) != 3 {
		t.Errorf("%v, %v", r, err)
	}
}

// linux gives the part of a pod's config that changes what it is allowed.
func linux(change func(*cri.LinuxPodSandboxConfig)) func(*cri.PodSandboxConfig) {
	return func(c *cri.PodSandboxConfig) { change(c.Linux) }
}

func port(m *cri.PortMapping) func(*cri.PodSandboxConfig) {
	return func(c *cri.PodSandboxConfig) { c.PortMappings = []*cri.PortMapping{m} }
}

func TestPodRefused(t *testing.T) {
	n := commonNode(t)
	_, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{})
	n.fails(err, codes.InvalidArgument, "config")
	_, err = n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: n.sandbox("handler"), RuntimeHandler: "kata"})
	n.fails(err, codes.InvalidArgument, "kata")
	for _, c := range []struct {
		what   string
		change func(*cri.PodSandboxConfig)
		code   codes.Code
		names  []string
	}{
		{"no metadata", func(c *cri.PodSandboxConfig) { c.Metadata = nil }, codes.InvalidArgument, []string{"metadata"}},
		{"no name", func(c *cri.PodSandboxConfig) { c.Metadata.Name = "" }, codes.InvalidArgument, []string{"metadata"}},
		{"no namespace", func(c *cri.PodSandboxConfig) { c.Metadata.Namespace = "" }, codes.InvalidArgument, []string{"metadata"}},
		{"no uid", func(c *cri.PodSandboxConfig) { c.Metadata.Uid = "" }, codes.InvalidArgument, []string{"metadata"}},
		{"long host name", func(c *cri.PodSandboxConfig) { c.Hostname = strings.Repeat("h", 65) }, codes.InvalidArgument, []string{"host name", "64"}},
		{"host name with NUL", func(c *cri.PodSandboxConfig) { c.Hostname = "a\x00b" }, codes.InvalidArgument, []string{"host name"}},
		{"host name with newline", func(c *cri.PodSandboxConfig) { c.Hostname = "a\n127.0.0.1 b" }, codes.InvalidArgument, []string{"host name"}},
		{"relative log directory", func(c *cri.PodSandboxConfig) { c.LogDirectory = "logs" }, codes.InvalidArgument, []string{"log_directory", "logs"}},
		{"dns server", func(c *cri.PodSandboxConfig) { c.DnsConfig = &cri.DNSConfig{Servers: []string{"1.2.3.4\noptions x"}} }, codes.InvalidArgument, []string{"1.2.3.4"}},
		{"dns search", func(c *cri.PodSandboxConfig) { c.DnsConfig = &cri.DNSConfig{Searches: []string{"a b"}} }, codes.InvalidArgument, []string{"a b"}},
		{"cgroup parent with ..", linux(func(l *cri.LinuxPodSandboxConfig) { l.CgroupParent = "/a/../../b" }), codes.InvalidArgument, []string{"/a/../../b"}},
		{"relative cgroup parent", linux(func(l *cri.LinuxPodSandboxConfig) { l.CgroupParent = "kubepods" }), codes.InvalidArgument, []string{"kubepods"}},
		{"systemd slice", linux(func(l *cri.LinuxPodSandboxConfig) { l.CgroupParent = "kubepods-besteffort.slice:cri:x" }), codes.InvalidArgument, []string{"kubepods-besteffort.slice:cri:x"}},
		{"cgroup parent with NUL", linux(func(l *cri.LinuxPodSandboxConfig) { l.CgroupParent = "/a\x00b" }), codes.InvalidArgument, []string{"cgroup"}},
		{"long cgroup parent", linux(func(l *cri.LinuxPodSandboxConfig) { l.CgroupParent = "/" + strings.Repeat("c", 300) }), codes.InvalidArgument, []string{"cgroup"}},
		{"selinux", linux(func(l *cri.LinuxPodSandboxConfig) { l.SecurityContext.SelinuxOptions = &cri.SELinuxOption{Level: "s0"} }), codes.Unimplemented, []string{"SELinux"}},
		{"network mode", sharing(func(o *cri.NamespaceOption) { o.Network = 7 }), codes.InvalidArgument, []string{"network", "7"}},
		{"network mode CONTAINER", sharing(func(o *cri.NamespaceOption) { o.Network = cri.NamespaceMode_CONTAINER }), codes.InvalidArgument, []string{"network", "CONTAINER"}},
		{"ipc mode", sharing(func(o *cri.NamespaceOption) { o.Ipc = -1 }), codes.InvalidArgument, []string{"ipc", "-1"}},
		{"pid mode", sharing(func(o *cri.NamespaceOption) { o.Pid = 9 }), codes.InvalidArgument, []string{"pid", "9"}},
		{"pid mode TARGET", sharing(func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_TARGET }), codes.InvalidArgument, []string{"pid", "TARGET"}},
		{"userns mode", sharing(func(o *cri.NamespaceOption) { userNS(o); o.UsernsOptions.Mode = 5 }), codes.InvalidArgument, []string{"user namespace", "5"}},
		{"userns without mappings", sharing(func(o *cri.NamespaceOption) { userNS(o); o.UsernsOptions.Uids = nil }), codes.InvalidArgument, []string{"mappings"}},
		{"userns without root", sharing(func(o *cri.NamespaceOption) { userNS(o); o.UsernsOptions.Uids[0].ContainerId = 1 }), codes.InvalidArgument, []string{"root"}},
		{"userns mapping of none", sharing(func(o *cri.NamespaceOption) { userNS(o); o.UsernsOptions.Gids[0].Length = 0 }), codes.InvalidArgument, []string{"mapping"}},
		{"userns mapping past the end", sharing(func(o *cri.NamespaceOption) { userNS(o); o.UsernsOptions.Gids[0].HostId = 1<<32 - 5 }), codes.InvalidArgument, []string{"mapping"}},
		{"userns mappings that overlap", sharing(func(o *cri.NamespaceOption) {
			userNS(o)
			o.UsernsOptions.Uids = append(o.UsernsOptions.Uids, &cri.IDMapping{ContainerId: 5, HostId: 1 << 21, Length: 10})
		}), codes.InvalidArgument, []string{"overlap"}},
		{"userns with the node's network", sharing(func(o *cri.NamespaceOption) { userNS(o); o.Network = cri.NamespaceMode_NODE }), codes.InvalidArgument, []string{"user namespace"}},
		{"negative host port", port(&cri.PortMapping{HostPort: -1, ContainerPort: 80}), codes.InvalidArgument, []string{"host port -1"}},
		{"host port past the end", port(&cri.PortMapping{HostPort: 65536, ContainerPort: 80}), codes.InvalidArgument, []string{"host port 65536"}},
		{"host port to nowhere", port(&cri.PortMapping{HostPort: 80}), codes.InvalidArgument, []string{"container port 0", "host port 80"}},
		{"host port to a port past the end", port(&cri.PortMapping{HostPort: 80, ContainerPort: 1 << 16}), codes.InvalidArgument, []string{"container port 65536"}},
		{"host port of a protocol", port(&cri.PortMapping{HostPort: 80, ContainerPort: 80, Protocol: 3}), codes.InvalidArgument, []string{"protocol 3"}},
		{"host port at a name", port(&cri.PortMapping{HostPort: 80, ContainerPort: 80, HostIp: "localhost"}), codes.InvalidArgument, []string{"localhost"}},
		{"host port at ::1", port(&cri.PortMapping{HostPort: 80, ContainerPort: 80, HostIp: "::1"}), codes.InvalidArgument, []string{"::1"}},
		{"host port twice", func(c *cri.PodSandboxConfig) {
			c.PortMappings = []*cri.PortMapping{{HostPort: 80, ContainerPort: 80}, {HostPort: 80, ContainerPort: 81}}
		}, codes.InvalidArgument, []string{"80", "81"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			n := commonNode(t)
			_, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: n.sandbox("refused", c.change)})
			n.fails(err, c.code, c.names...)
			if r, err := n.ListPodSandbox(n.ctx(), &cri.ListPodSandboxRequest{}); err != nil || len(r.Items) != 0 {
				t.Errorf("pods: %v, %v", r, err)
			}
		})
	}
}

// security is for changes of a container's security context.
func security(change func(*cri.LinuxContainerSecurityContext)) func(*cri.ContainerConfig) {
	return func(c *cri.ContainerConfig) {
		if c.Linux == nil {
			c.Linux = &cri.LinuxContainerConfig{}
		}
		if c.Linux.SecurityContext == nil {
			c.Linux.SecurityContext = &cri.LinuxContainerSecurityContext{NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}}
		}
		change(c.Linux.SecurityContext)
	}
}

// limits is for changes of a container's resources.
func limits(r *cri.LinuxContainerResources) func(*cri.ContainerConfig) {
	return func(c *cri.ContainerConfig) {
		if c.Linux == nil {
			c.Linux = &cri.LinuxContainerConfig{}
		}
		c.Linux.Resources = r
	}
}

func mounting(m *cri.Mount) func(*cri.ContainerConfig) {
	return func(c *cri.ContainerConfig) { c.Mounts = append(c.Mounts, m) }
}

func TestContainerRefused(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	source := t.TempDir()
	_, err := n.CreateContainer(n.ctx(), &cri.CreateContainerRequest{PodSandboxId: p.id})
	n.fails(err, codes.InvalidArgument, "config")
	for _, c := range []struct {
		what   string
		change func(*cri.ContainerConfig)
		code   codes.Code
		names  []string
	}{
		{"no metadata", func(c *cri.ContainerConfig) { c.Metadata = nil }, codes.InvalidArgument, []string{"metadata"}},
		{"no name", func(c *cri.ContainerConfig) { c.Metadata.Name = "" }, codes.InvalidArgument, []string{"metadata", "name"}},
		{"no image", func(c *cri.ContainerConfig) { c.Image = nil }, codes.InvalidArgument, []string{"image"}},
		{"missing image", func(c *cri.ContainerConfig) { c.Image.Image = "podlet.test/none:v1" }, codes.NotFound, []string{"podlet.test/none:v1"}},
		{"missing image id", func(c *cri.ContainerConfig) { c.Image.Image = "sha256:" + strings.Repeat("a", 64) }, codes.NotFound, []string{"sha256:aaaa"}},
		{"malformed image", func(c *cri.ContainerConfig) { c.Image.Image = "a\x00b" }, codes.InvalidArgument, []string{`a\x00b`}},
		{"no command", func(c *cri.ContainerConfig) { c.Command = []string{""} }, codes.InvalidArgument, []string{"no command"}},
		{"NUL in the command", func(c *cri.ContainerConfig) { c.Command = []string{"a\x00b"} }, codes.InvalidArgument, []string{"command", `a\x00b`}},
		{"NUL in the arguments", func(c *cri.ContainerConfig) { c.Args = []string{"a\x00b"} }, codes.InvalidArgument, []string{"args", `a\x00b`}},
		{"NUL in the working directory", func(c *cri.ContainerConfig) { c.WorkingDir = "/a\x00b" }, codes.InvalidArgument, []string{"working_dir"}},
		{"variable without name", func(c *cri.ContainerConfig) { c.Envs = []*cri.KeyValue{{Value: []byte("v")}} }, codes.InvalidArgument, []string{"environment"}},
		{"variable with =", func(c *cri.ContainerConfig) { c.Envs = []*cri.KeyValue{{Key: "A=B"}} }, codes.InvalidArgument, []string{"A=B"}},
		{"variable with NUL", func(c *cri.ContainerConfig) { c.Envs = []*cri.KeyValue{{Key: "A", Value: []byte("\x00")}} }, codes.InvalidArgument, []string{`"A"`}},
		{"log path that leads out", func(c *cri.ContainerConfig) { c.LogPath = "../../x.log" }, codes.InvalidArgument, []string{"../../x.log"}},
		{"absolute log path", func(c *cri.ContainerConfig) { c.LogPath = "/etc/x.log" }, codes.InvalidArgument, []string{"/etc/x.log"}},
		{"log path with NUL", func(c *cri.ContainerConfig) { c.LogPath = "x\x00.log" }, codes.InvalidArgument, []string{"log"}},
		{"long log path", func(c *cri.ContainerConfig) { c.LogPath = strings.Repeat("l", 300) }, codes.InvalidArgument, []string{"log"}},
		{"stop signal", func(c *cri.ContainerConfig) { c.StopSignal = 999 }, codes.InvalidArgument, []string{"999"}},
		{"stdin once without stdin", func(c *cri.ContainerConfig) { c.StdinOnce = true }, codes.InvalidArgument, []string{"stdin"}},
		{"CDI device", func(c *cri.ContainerConfig) { c.CDIDevices = []*cri.CDIDevice{{Name: "a/b=c"}} }, codes.Unimplemented, []string{"CDI"}},
		{"privileged in a pod that isn't", security(func(s *cri.LinuxContainerSecurityContext) { s.Privileged = true }), codes.InvalidArgument, []string{"privileged"}},
		{"the node's network", security(func(s *cri.LinuxContainerSecurityContext) { s.NamespaceOptions.Network = cri.NamespaceMode_NODE }), codes.InvalidArgument, []string{"network"}},
		{"the node's processes", security(func(s *cri.LinuxContainerSecurityContext) { s.NamespaceOptions.Pid = cri.NamespaceMode_NODE }), codes.InvalidArgument, []string{"PID"}},
		{"the pod's processes", security(func(s *cri.LinuxContainerSecurityContext) { s.NamespaceOptions.Pid = cri.NamespaceMode_POD }), codes.InvalidArgument, []string{"PID"}},
		{"an absent target", security(func(s *cri.LinuxContainerSecurityContext) {
			s.NamespaceOptions.Pid, s.NamespaceOptions.TargetId = cri.NamespaceMode_TARGET, "no-such"
		}), codes.NotFound, []string{"no-such"}},
		{"target without an id", security(func(s *cri.LinuxContainerSecurityContext) { s.NamespaceOptions.Pid = cri.NamespaceMode_TARGET }), codes.InvalidArgument, []string{"target_id"}},
		{"pid mode", security(func(s *cri.LinuxContainerSecurityContext) { s.NamespaceOptions.Pid = 77 }), codes.InvalidArgument, []string{"pid", "77"}},
		{"user namespace", security(func(s *cri.LinuxContainerSecurityContext) { userNS(s.NamespaceOptions) }), codes.InvalidArgument, []string{"user namespace"}},
		{"user by id and name", security(func(s *cri.LinuxContainerSecurityContext) {
			s.RunAsUser, s.RunAsUsername = &cri.Int64Value{Value: 1}, "app"
		}), codes.InvalidArgument, []string{"run_as_username"}},
		{"group without user", security(func(s *cri.LinuxContainerSecurityContext) { s.RunAsGroup = &cri.Int64Value{Value: 1} }), codes.InvalidArgument, []string{"run_as_group"}},
		{"negative user", security(func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = &cri.Int64Value{Value: -1} }), codes.InvalidArgument, []string{"-1"}},
		{"user past 2^31", security(func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = &cri.Int64Value{Value: 1 << 31} }), codes.InvalidArgument, []string{"2147483648"}},
		{"negative group", security(func(s *cri.LinuxContainerSecurityContext) { s.SupplementalGroups = []int64{-3} }), codes.InvalidArgument, []string{"-3"}},
		{"unknown user", security(func(s *cri.LinuxContainerSecurityContext) { s.RunAsUsername = "stranger" }), codes.InvalidArgument, []string{"stranger"}},
		{"groups policy", security(func(s *cri.LinuxContainerSecurityContext) { s.SupplementalGroupsPolicy = 5 }), codes.InvalidArgument, []string{"supplemental_groups_policy", "5"}},
		{"capability", security(func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{AddCapabilities: []string{"FLY"}}
		}), codes.InvalidArgument, []string{"FLY"}},
		{"masked path", security(func(s *cri.LinuxContainerSecurityContext) { s.MaskedPaths = []string{"proc/kcore"} }), codes.InvalidArgument, []string{"proc/kcore"}},
		{"masked path with ..", security(func(s *cri.LinuxContainerSecurityContext) { s.MaskedPaths = []string{"/proc/../etc"} }), codes.InvalidArgument, []string{"/proc/../etc"}},
		{"seccomp type", security(func(s *cri.LinuxContainerSecurityContext) { s.Seccomp = &cri.SecurityProfile{ProfileType: 9} }), codes.InvalidArgument, []string{"seccomp", "9"}},
		{"apparmor type", security(func(s *cri.LinuxContainerSecurityContext) { s.Apparmor = &cri.SecurityProfile{ProfileType: 9} }), codes.InvalidArgument, []string{"AppArmor", "9"}},
		{"selinux", security(func(s *cri.LinuxContainerSecurityContext) { s.SelinuxOptions = &cri.SELinuxOption{Type: "t"} }), codes.Unimplemented, []string{"SELinux"}},
		{"oom_score_adj", limits(&cri.LinuxContainerResources{OomScoreAdj: 1001}), codes.InvalidArgument, []string{"oom_score_adj", "1001"}},
		{"negative memory", limits(&cri.LinuxContainerResources{MemoryLimitInBytes: -7}), codes.InvalidArgument, []string{"memory"}},
		{"negative shares", limits(&cri.LinuxContainerResources{CpuShares: -7}), codes.InvalidArgument, []string{"shares"}},
		{"cpuset", limits(&cri.LinuxContainerResources{CpusetCpus: "0-x"}), codes.InvalidArgument, []string{"0-x"}},
		{"huge page size", limits(&cri.LinuxContainerResources{HugepageLimits: []*cri.HugepageLimit{{PageSize: "../2MB"}}}), codes.FailedPrecondition, []string{"../2MB"}},
		{"relative source", mounting(&cri.Mount{HostPath: "tmp", ContainerPath: "/v"}), codes.InvalidArgument, []string{"tmp"}},
		{"absent source", mounting(&cri.Mount{HostPath: "/no/such", ContainerPath: "/v"}), codes.InvalidArgument, []string{"/no/such", "/v"}},
		{"no target", mounting(&cri.Mount{HostPath: source}), codes.InvalidArgument, []string{source}},
		{"the root as target", mounting(&cri.Mount{HostPath: source, ContainerPath: "/a/.."}), codes.InvalidArgument, []string{"/"}},
		{"proc as target", mounting(&cri.Mount{HostPath: source, ContainerPath: "/proc"}), codes.InvalidArgument, []string{"/proc"}},
		{"below proc", mounting(&cri.Mount{HostPath: source, ContainerPath: "/proc/self/attr"}), codes.InvalidArgument, []string{"/proc/self/attr"}},
		{"propagation", mounting(&cri.Mount{HostPath: source, ContainerPath: "/v", Propagation: 3}), codes.InvalidArgument, []string{"propagation", "3"}},
		{"recursively read-only and writable", mounting(&cri.Mount{HostPath: source, ContainerPath: "/v", RecursiveReadOnly: true}), codes.InvalidArgument, []string{"recursive_read_only"}},
		{"recursively read-only and shared", mounting(&cri.Mount{HostPath: source, ContainerPath: "/v", Readonly: true, RecursiveReadOnly: true, Propagation: cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER}), codes.InvalidArgument, []string{"recursive_read_only"}},
		{"two on one target", func(c *cri.ContainerConfig) {
			c.Mounts = []*cri.Mount{{HostPath: source, ContainerPath: "/v"}, {HostPath: "/tmp", ContainerPath: "/v/"}}
		}, codes.InvalidArgument, []string{"/v"}},
		{"one sort of ids mapped", mounting(&cri.Mount{HostPath: source, ContainerPath: "/v", UidMappings: []*cri.IDMapping{{Length: 1}}}), codes.InvalidArgument, []string{"/v", "mappings"}},
		{"image volume", mounting(&cri.Mount{ContainerPath: "/v", Image: &cri.ImageSpec{Image: busybox}}), codes.InvalidArgument, []string{"/v"}},
		{"mount options", mounting(&cri.Mount{HostPath: source, ContainerPath: "/v", MountOptions: []string{"nodev", "sync"}}), codes.Unimplemented, []string{"mount_options", "/v"}},
		{"relative device", func(c *cri.ContainerConfig) { c.Devices = []*cri.Device{{HostPath: "null", ContainerPath: "/dev/x"}} }, codes.InvalidArgument, []string{"null"}},
		{"absent device", func(c *cri.ContainerConfig) {
			c.Devices = []*cri.Device{{HostPath: "/dev/none", ContainerPath: "/dev/x"}}
		}, codes.InvalidArgument, []string{"/dev/none"}},
		{"no device", func(c *cri.ContainerConfig) {
			c.Devices = []*cri.Device{{HostPath: "/etc/passwd", ContainerPath: "/dev/x"}}
		}, codes.InvalidArgument, []string{"/etc/passwd"}},
		{"device permissions", func(c *cri.ContainerConfig) {
			c.Devices = []*cri.Device{{HostPath: "/dev/null", ContainerPath: "/dev/x", Permissions: "rx"}}
		}, codes.InvalidArgument, []string{`"rx"`}},
	} {
		t.Run(c.what, func(t *testing.T) {
			config := container("refused", "sleep", "1000")
			c.change(config)
			id, err := p.tryCreate(config)
			if err == nil {
				n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: id})
				t.Fatal("created")
			}
			n.fails(err, c.code, c.names...)
			if r, err := n.ListContainers(n.ctx(), &cri.ListContainersRequest{}); err != nil || len(r.Containers) != 0 {
				t.Errorf("containers: %v, %v", r, err)
			}
			if layers, err := os.ReadDir(filepath.Join(n.dir, "root", "containers")); err != nil || len(layers) != 0 {
				t.Errorf("writable layers: %v, %v", layers, err)
			}
		})
	}
}

// TestManyVariables: an environment that fills what execve takes arrives whole, and a larger one is refused by the kernel's own word.
func TestManyVariables(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	// More than 16 bits count, and no more: a busy machine takes long over each.
	many := func(size int) []*cri.KeyValue {
		var list []*cri.KeyValue
		for i := range 70_000 {
			list = append(list, &cri.KeyValue{Key: fmt.Sprintf("V%d", i), Value: fmt.Appendf(nil, "%0*d", size, i%10)})
		}
		return list
	}
	config := container("many", "env")
	config.Envs = many(10)
	got := map[string]bool{}
	for line := range strings.Lines(p.output(config)) {
		got[strings.TrimSuffix(line, "\n")] = true
	}
	for _, v := range config.Envs {
		if !got[v.Key+"="+string(v.Value)] {
			t.Fatalf("%s is not among them", v.Key)
		}
	}
	config = container("more", "true")
	config.Envs = many(30)
	id := p.create(config)
	n.fails(n.tryStart(id), codes.Unknown, "more", "E2BIG")
	if s := n.status(id); s.ExitCode != 128 || s.Reason != "ContainerCannotRun" || len(s.Message) > 4096 {
		t.Errorf("%.300v", s)
	}
}

// TestOtherVerbs: what podlet doesn't serve yet says so.
func TestOtherVerbs(t *testing.T) {
	n := commonNode(t)
	calls := map[string]func() error{
		"Checkpoint": func() error { _, err := n.CheckpointContainer(n.ctx(), &cri.CheckpointContainerRequest{}); return err },
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		if err := calls[name](); err == nil {
			t.Errorf("%s succeeds", name)
		} else {
			n.fails(err, codes.Unimplemented, name)
		}
	}
}
