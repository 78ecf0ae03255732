package cri

import (
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/cgroup"
	"podlet/internal/mount"
	"podlet/pod/spec"
)

// machine is one on which nothing is lacking.
var machine = spec.Machine{LastCapability: 40, Capabilities: 1<<41 - 1, MaxOpenFiles: 1 << 20, Unified: true}

// plainContainer is the least that CreateContainer takes.
func plainContainer(change ...func(*cri.ContainerConfig)) *cri.ContainerConfig {
	c := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "app"},
		Image:    &cri.ImageSpec{Image: "image"},
		Linux:    &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}}},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// TestContainerSpec checks that every field of a config arrives where it belongs.
func TestContainerSpec(t *testing.T) {
	uid := int64(1000)
	for _, c := range []struct {
		field  string
		change func(*cri.ContainerConfig)
		want   func(*spec.Container)
	}{
		{"nothing", func(*cri.ContainerConfig) {}, func(*spec.Container) {}},
		{"metadata", func(c *cri.ContainerConfig) { c.Metadata.Attempt = 7 }, func(s *spec.Container) { s.Attempt = 7 }},
		{"user_specified_image", func(c *cri.ContainerConfig) { c.Image.UserSpecifiedImage = "u" }, func(s *spec.Container) { s.UserImage = "u" }},
		{"command and args", func(c *cri.ContainerConfig) { c.Command, c.Args = []string{"a"}, []string{"b", ""} }, func(s *spec.Container) { s.Command, s.Args = []string{"a"}, []string{"b", ""} }},
		{"working_dir", func(c *cri.ContainerConfig) { c.WorkingDir = "/w" }, func(s *spec.Container) { s.WorkingDir = "/w" }},
		{"envs", func(c *cri.ContainerConfig) { c.Envs = []*cri.KeyValue{{Key: "A", Value: []byte("b=\xff")}} }, func(s *spec.Container) { s.Env = []spec.Var{{Name: "A", Value: "b=\xff"}} }},
		{"labels and annotations", func(c *cri.ContainerConfig) {
			c.Labels, c.Annotations = map[string]string{"l": "1"}, map[string]string{"a": "2"}
		},
			func(s *spec.Container) {
				s.Labels, s.Annotations = map[string]string{"l": "1"}, map[string]string{"a": "2"}
			}},
		{"log_path", func(c *cri.ContainerConfig) { c.LogPath = "app/0.log" }, func(s *spec.Container) { s.LogPath = "app/0.log" }},
		{"streams", func(c *cri.ContainerConfig) { c.Tty, c.Stdin, c.StdinOnce = true, true, true }, func(s *spec.Container) { s.TTY, s.Stdin, s.StdinOnce = true, true, true }},
		{"stop_signal", func(c *cri.ContainerConfig) { c.StopSignal = cri.Signal_SIGNAL_SIGRTMINPLUS3 }, func(s *spec.Container) { s.StopSignal = 37 }},
		{"mounts", func(c *cri.ContainerConfig) {
			c.Mounts = []*cri.Mount{{HostPath: "/h", ContainerPath: "v/../w/", Readonly: true, Propagation: cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER, SelinuxRelabel: true}}
		}, func(s *spec.Container) {
			s.Mounts = []spec.Mount{{Source: "/h", Target: "/w", ReadOnly: true, Propagation: mount.HostToContainer}}
		}},
		{"recursive_read_only", func(c *cri.ContainerConfig) {
			c.Mounts = []*cri.Mount{{HostPath: "/h", ContainerPath: "/w", Readonly: true, RecursiveReadOnly: true}}
		}, func(s *spec.Container) {
			s.Mounts = []spec.Mount{{Source: "/h", Target: "/w", ReadOnly: true, RecursiveReadOnly: true, Propagation: mount.Private}}
		}},
		{"lxcfs", func(c *cri.ContainerConfig) {
			c.Mounts = []*cri.Mount{{HostPath: "/h", ContainerPath: "/proc/meminfo"}}
		},
			func(s *spec.Container) {
				s.Mounts = []spec.Mount{{Source: "/h", Target: "/proc/meminfo", Propagation: mount.Private}}
			}},
		{"image volume", func(c *cri.ContainerConfig) {
			c.Mounts = []*cri.Mount{{ContainerPath: "/w", Readonly: true, Image: &cri.ImageSpec{Image: "i", UserSpecifiedImage: "u"}, ImageSubPath: "a/b"}}
		}, func(s *spec.Container) {
			s.Mounts = []spec.Mount{{Target: "/w", ReadOnly: true, Image: "i", UserImage: "u", ImageSubPath: "a/b"}}
		}},
		{"idmapped mount", func(c *cri.ContainerConfig) {
			ids := []*cri.IDMapping{{ContainerId: 1, HostId: 2, Length: 3}}
			c.Mounts = []*cri.Mount{{HostPath: "/h", ContainerPath: "/w", UidMappings: ids, GidMappings: ids}}
		}, func(s *spec.Container) {
			ids := []mount.IDMapping{{ContainerID: 1, HostID: 2, Length: 3}}
			s.Mounts = []spec.Mount{{Source: "/h", Target: "/w", Propagation: mount.Private, IDMap: &spec.IDMap{UIDs: ids, GIDs: ids}}}
		}},
		{"devices", func(c *cri.ContainerConfig) {
			c.Devices = []*cri.Device{{HostPath: "/dev/a", ContainerPath: "/dev//b", Permissions: "rw"}, {HostPath: "/dev/c", ContainerPath: "/dev/c"}}
		}, func(s *spec.Container) {
			s.Devices = []spec.Device{{HostPath: "/dev/a", ContainerPath: "/dev/b", Access: "rw"}, {HostPath: "/dev/c", ContainerPath: "/dev/c", Access: "rwm"}}
		}},
		{"resources", func(c *cri.ContainerConfig) {
			c.Linux.Resources = &cri.LinuxContainerResources{
				CpuPeriod: 1, CpuQuota: 2, CpuShares: 3, MemoryLimitInBytes: 4, MemorySwapLimitInBytes: 5, CpusetCpus: "6", CpusetMems: "7", OomScoreAdj: -8,
				HugepageLimits: []*cri.HugepageLimit{{PageSize: "2MB", Limit: 9}}, Unified: map[string]string{"memory.high": "10"},
			}
		}, func(s *spec.Container) {
			s.OOMScoreAdj = -8
			s.Resources = cgroup.Resources{
				CPUPeriod: 1, CPUQuota: 2, CPUShares: 3, MemoryLimitBytes: 4, MemorySwapLimitBytes: 5, CpusetCPUs: "6", CpusetMems: "7",
				HugepageLimits: []cgroup.HugepageLimit{{PageSize: "2MB", Limit: 9}}, Unified: map[string]string{"memory.high": "10"},
			}
		}},
		{"flags", func(c *cri.ContainerConfig) {
			sc := c.Linux.SecurityContext
			sc.ReadonlyRootfs, sc.NoNewPrivs = true, true
		}, func(s *spec.Container) { s.ReadOnlyRoot, s.NoNewPrivs = true, true }},
		{"user by id", func(c *cri.ContainerConfig) {
			sc := c.Linux.SecurityContext
			sc.RunAsUser, sc.RunAsGroup, sc.SupplementalGroups = &cri.Int64Value{Value: uid}, &cri.Int64Value{Value: uid}, []int64{5}
			sc.SupplementalGroupsPolicy = cri.SupplementalGroupsPolicy_Strict
		}, func(s *spec.Container) { s.User = spec.User{UID: &uid, GID: &uid, Groups: []int64{5}, Strict: true} }},
		{"user by name", func(c *cri.ContainerConfig) { c.Linux.SecurityContext.RunAsUsername = "app" }, func(s *spec.Container) { s.User.Name = "app" }},
		{"capabilities", func(c *cri.ContainerConfig) {
			c.Linux.SecurityContext.Capabilities = &cri.Capability{AddCapabilities: []string{"ALL"}, DropCapabilities: []string{"CHOWN"}, AddAmbientCapabilities: []string{"KILL"}}
		}, func(s *spec.Container) {
			s.Capabilities = spec.Capabilities{Add: []string{"ALL"}, Drop: []string{"CHOWN"}, Ambient: []string{"KILL"}}
		}},
		{"masked and read-only paths", func(c *cri.ContainerConfig) {
			c.Linux.SecurityContext.MaskedPaths, c.Linux.SecurityContext.ReadonlyPaths = []string{"/proc/kcore"}, []string{"/proc/sys"}
		}, func(s *spec.Container) {
			s.MaskedPaths, s.ReadOnlyPaths = []string{"/proc/kcore"}, []string{"/proc/sys"}
		}},
		{"target", func(c *cri.ContainerConfig) {
			c.Linux.SecurityContext.NamespaceOptions = &cri.NamespaceOption{Pid: cri.NamespaceMode_TARGET, TargetId: "t"}
		}, func(s *spec.Container) { s.PID, s.PIDTarget = spec.PIDTarget, "t" }},
		{"no namespace options", func(c *cri.ContainerConfig) { c.Linux.SecurityContext = nil }, func(*spec.Container) {}},
	} {
		t.Run(c.field, func(t *testing.T) {
			got, err := ContainerSpec(&spec.Sandbox{LogDirectory: "/logs"}, plainContainer(c.change), &machine)
			if err != nil {
				t.Fatal(err)
			}
			want := &spec.Container{Name: "app", Image: "image", PID: spec.PIDContainer}
			c.want(want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestContainerPID: a container whose config is silent has the mode of its sandbox.
func TestContainerPID(t *testing.T) {
	for _, c := range []struct {
		sandbox spec.Sandbox
		want    spec.PIDMode
	}{
		{spec.Sandbox{}, spec.PIDContainer}, {spec.Sandbox{SharedPID: true}, spec.PIDPod}, {spec.Sandbox{HostPID: true}, spec.PIDNode},
	} {
		config := plainContainer(func(c *cri.ContainerConfig) { c.Linux = nil })
		if got, err := ContainerSpec(&c.sandbox, config, &machine); err != nil || got.PID != c.want {
			t.Errorf("%+v: %v, %v, want %s", c.sandbox, got, err, c.want)
		}
	}
}

// TestPrivilegedNeedsAPrivilegedPod, and where it has one takes no notice of profiles.
func TestPrivilegedNeedsAPrivilegedPod(t *testing.T) {
	config := plainContainer(func(c *cri.ContainerConfig) {
		c.Linux.SecurityContext.Privileged = true
		c.Linux.SecurityContext.Seccomp = &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}
	})
	if _, err := ContainerSpec(&spec.Sandbox{}, config, &machine); status.Code(statusOf(err)) != codes.InvalidArgument {
		t.Errorf("in a plain pod: %v", err)
	}
	if got, err := ContainerSpec(&spec.Sandbox{Privileged: true}, config, &machine); err != nil || !got.Privileged {
		t.Errorf("in a privileged pod: %v, %v", got, err)
	}
}

// TestProfiles says what becomes of each confinement on a machine with and without AppArmor.
func TestProfiles(t *testing.T) {
	confined := machine
	confined.AppArmor = true
	profile := func(kind cri.SecurityProfile_ProfileType, ref string) *cri.SecurityProfile {
		return &cri.SecurityProfile{ProfileType: kind, LocalhostRef: ref}
	}
	const standard, none, local = cri.SecurityProfile_RuntimeDefault, cri.SecurityProfile_Unconfined, cri.SecurityProfile_Localhost
	for _, c := range []struct {
		what    string
		change  func(*cri.LinuxContainerSecurityContext)
		machine *spec.Machine
		code    codes.Code
	}{
		{"no seccomp", func(s *cri.LinuxContainerSecurityContext) { s.Seccomp = profile(none, "") }, &machine, codes.OK},
		{"local seccomp without a name", func(s *cri.LinuxContainerSecurityContext) { s.Seccomp = profile(local, "") }, &machine, codes.InvalidArgument},
		{"default AppArmor, none there", func(s *cri.LinuxContainerSecurityContext) { s.Apparmor = profile(standard, "") }, &machine, codes.OK},
		{"no AppArmor", func(s *cri.LinuxContainerSecurityContext) { s.Apparmor = profile(none, "") }, &confined, codes.OK},
		{"local AppArmor without a name", func(s *cri.LinuxContainerSecurityContext) { s.Apparmor = profile(local, "") }, &confined, codes.InvalidArgument},
		{"local AppArmor, none there", func(s *cri.LinuxContainerSecurityContext) { s.Apparmor = profile(local, "p") }, &machine, codes.Unimplemented},
	} {
		config := plainContainer(func(config *cri.ContainerConfig) { c.change(config.Linux.SecurityContext) })
		if _, err := ContainerSpec(&spec.Sandbox{}, config, c.machine); status.Code(statusOf(err)) != c.code {
			t.Errorf("%s: %v, want %v", c.what, err, c.code)
		}
	}
}

// TestResourcesThereAndBack: what a status shows is what was asked for.
func TestResourcesThereAndBack(t *testing.T) {
	want := &cri.LinuxContainerResources{
		CpuPeriod: 1, CpuQuota: 2, CpuShares: 3, MemoryLimitInBytes: 4, MemorySwapLimitInBytes: 5, CpusetCpus: "6", CpusetMems: "7", OomScoreAdj: -8,
		HugepageLimits: []*cri.HugepageLimit{{PageSize: "2MB", Limit: 9}}, Unified: map[string]string{"memory.high": "10"},
	}
	r, err := resources(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := resourcesOf(r, -8); got.String() != want.String() {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestSignals: every signal of the CRI that Linux has goes there and back.
func TestSignals(t *testing.T) {
	aliases := map[string]string{"SIGNAL_SIGCLD": "SIGNAL_SIGCHLD", "SIGNAL_SIGPOLL": "SIGNAL_SIGIO", "SIGNAL_SIGIOT": "SIGNAL_SIGABRT"}
	seen := 0
	for value, name := range cri.Signal_name {
		n, err := stopSignal(cri.Signal(value))
		if value == 0 {
			if n != 0 || err != nil {
				t.Errorf("%s: %d, %v", name, n, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		seen++
		want := name
		if other, ok := aliases[name]; ok {
			want = other
		}
		if back := criSignal(n).String(); back != want && !strings.Contains(name, "RTM") {
			t.Errorf("%s is %d, which is %s", name, n, back)
		}
		// SIGRTMAX-13 may come back as SIGRTMIN+17, which is the same.
		if again, err := stopSignal(criSignal(n)); err != nil || again != n {
			t.Errorf("%s is %d, which comes back as %d: %v", name, n, again, err)
		}
	}
	if seen < 60 {
		t.Errorf("%d signals", seen)
	}
	if _, err := stopSignal(1000); status.Code(statusOf(err)) != codes.InvalidArgument {
		t.Errorf("signal 1000: %v", err)
	}
}
