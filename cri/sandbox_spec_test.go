package cri

import (
	"net/netip"
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

// plainSandbox is the least that RunPodSandbox takes.
func plainSandbox(change ...func(*cri.PodSandboxConfig)) *cri.PodSandboxConfig {
	c := &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: "n", Namespace: "ns", Uid: "u"},
		Linux:    &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}}},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func options(change func(*cri.NamespaceOption)) func(*cri.PodSandboxConfig) {
	return func(c *cri.PodSandboxConfig) { change(c.Linux.SecurityContext.NamespaceOptions) }
}

// TestSandboxSpec checks that every field of a config arrives where it belongs.
func TestSandboxSpec(t *testing.T) {
	for _, c := range []struct {
		field  string
		change func(*cri.PodSandboxConfig)
		want   func(*spec.Sandbox)
	}{
		{"nothing", func(*cri.PodSandboxConfig) {}, func(*spec.Sandbox) {}},
		{"metadata", func(c *cri.PodSandboxConfig) { c.Metadata.Attempt = 9 }, func(s *spec.Sandbox) { s.Attempt = 9 }},
		{"hostname", func(c *cri.PodSandboxConfig) { c.Hostname = "h" }, func(s *spec.Sandbox) { s.Hostname = "h" }},
		{"log_directory", func(c *cri.PodSandboxConfig) { c.LogDirectory = "/l" }, func(s *spec.Sandbox) { s.LogDirectory = "/l" }},
		{"dns", func(c *cri.PodSandboxConfig) {
			c.DnsConfig = &cri.DNSConfig{Servers: []string{"192.0.2.1"}, Searches: []string{"s"}, Options: []string{"ndots:2"}}
		}, func(s *spec.Sandbox) {
			s.DNS = spec.DNS{Servers: []string{"192.0.2.1"}, Searches: []string{"s"}, Options: []string{"ndots:2"}}
		}},
		{"labels and annotations", func(c *cri.PodSandboxConfig) {
			c.Labels, c.Annotations = map[string]string{"l": "1"}, map[string]string{"a": "2"}
		},
			func(s *spec.Sandbox) {
				s.Labels, s.Annotations = map[string]string{"l": "1"}, map[string]string{"a": "2"}
			}},
		{"cgroup_parent", func(c *cri.PodSandboxConfig) { c.Linux.CgroupParent = "/kubepods/pod1" }, func(s *spec.Sandbox) { s.CgroupParent = "/kubepods/pod1" }},
		{"privileged", func(c *cri.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true }, func(s *spec.Sandbox) { s.Privileged = true }},
		{"host namespaces", options(func(o *cri.NamespaceOption) {
			o.Network, o.Ipc, o.Pid = cri.NamespaceMode_NODE, cri.NamespaceMode_NODE, cri.NamespaceMode_NODE
		}), func(s *spec.Sandbox) { s.HostNetwork, s.HostIPC, s.HostPID = true, true, true }},
		{"shared pid", options(func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_POD }), func(s *spec.Sandbox) { s.SharedPID = true }},
		{"no options", func(c *cri.PodSandboxConfig) { c.Linux = nil }, func(s *spec.Sandbox) { s.SharedPID = true }},
		{"user namespace of the node", options(func(o *cri.NamespaceOption) { o.UsernsOptions = &cri.UserNamespace{Mode: cri.NamespaceMode_NODE} }), func(*spec.Sandbox) {}},
		{"user namespace", options(func(o *cri.NamespaceOption) {
			ids := []*cri.IDMapping{{ContainerId: 0, HostId: 65536, Length: 65536}, {ContainerId: 65536, HostId: 200000, Length: 1}}
			o.UsernsOptions = &cri.UserNamespace{Mode: cri.NamespaceMode_POD, Uids: ids, Gids: ids}
		}), func(s *spec.Sandbox) {
			ids := []mount.IDMapping{{ContainerID: 0, HostID: 65536, Length: 65536}, {ContainerID: 65536, HostID: 200000, Length: 1}}
			s.UserNS = &spec.IDMap{UIDs: ids, GIDs: ids}
		}},
		{"resources", func(c *cri.PodSandboxConfig) {
			c.Linux.Overhead, c.Linux.Resources = &cri.LinuxContainerResources{CpuShares: 2}, &cri.LinuxContainerResources{MemoryLimitInBytes: 3}
		}, func(s *spec.Sandbox) {
			s.Overhead, s.Resources = &cgroup.Resources{CPUShares: 2}, &cgroup.Resources{MemoryLimitBytes: 3}
		}},
		{"ports of containers", func(c *cri.PodSandboxConfig) { c.PortMappings = []*cri.PortMapping{{ContainerPort: 80}} }, func(*spec.Sandbox) {}},
		{"host ports", func(c *cri.PodSandboxConfig) {
			c.PortMappings = []*cri.PortMapping{
				{HostPort: 80, ContainerPort: 8080}, {HostPort: 80, ContainerPort: 8080},
				{Protocol: cri.Protocol_UDP, HostPort: 65535, ContainerPort: 1, HostIp: "fd00::1"}, {Protocol: cri.Protocol_SCTP, HostPort: 1, ContainerPort: 65535, HostIp: "0.0.0.0"},
			}
		}, func(s *spec.Sandbox) {
			s.Ports = []spec.PortMapping{
				{Protocol: "tcp", HostPort: 80, PodPort: 8080}, {Protocol: "udp", HostIP: netip.MustParseAddr("fd00::1"), HostPort: 65535, PodPort: 1},
				{Protocol: "sctp", HostIP: netip.IPv4Unspecified(), HostPort: 1, PodPort: 65535},
			}
		}},
		{"host ports in the node's network", func(c *cri.PodSandboxConfig) {
			options(func(o *cri.NamespaceOption) { o.Network = cri.NamespaceMode_NODE })(c)
			c.PortMappings = []*cri.PortMapping{{HostPort: 80, ContainerPort: 80}}
		}, func(s *spec.Sandbox) { s.HostNetwork = true }},
		{"the pause container that podlet has none of", func(c *cri.PodSandboxConfig) {
			sc := c.Linux.SecurityContext
			sc.Seccomp, sc.RunAsUser, sc.ReadonlyRootfs = &cri.SecurityProfile{}, &cri.Int64Value{Value: 65535}, true
		}, func(*spec.Sandbox) {}},
	} {
		t.Run(c.field, func(t *testing.T) {
			got, err := SandboxSpec(plainSandbox(c.change))
			if err != nil {
				t.Fatal(err)
			}
			want := &spec.Sandbox{Name: "n", Namespace: "ns", UID: "u", CgroupParent: "/podlet"}
			c.want(want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestBandwidthAnnotation: it is refused before anything is made, whatever network there is.
func TestBandwidthAnnotation(t *testing.T) {
	_, err := SandboxSpec(plainSandbox(func(c *cri.PodSandboxConfig) { c.Annotations = map[string]string{spec.EgressBandwidth: "much"} }))
	if status.Code(statusOf(err)) != codes.InvalidArgument || !strings.Contains(err.Error(), spec.EgressBandwidth) {
		t.Errorf("%v", err)
	}
}

// TestMappings refuses what the kernel would refuse without a word on why.
func TestMappings(t *testing.T) {
	id := func(container, host, length uint32) *cri.IDMapping {
		return &cri.IDMapping{ContainerId: container, HostId: host, Length: length}
	}
	many := []*cri.IDMapping{}
	for i := range uint32(341) {
		many = append(many, id(i, 1000+i, 1))
	}
	for _, c := range []struct {
		what string
		uids []*cri.IDMapping
		want string // in the message; "" is no error
	}{
		{"one", []*cri.IDMapping{id(0, 65536, 65536)}, ""},
		{"neighbours", []*cri.IDMapping{id(0, 100, 10), id(10, 110, 10), id(20, 90, 10)}, ""},
		{"as many as the kernel takes", many[:340], ""},
		{"one more", many, "341"},
		{"none", nil, "mappings"},
		{"no length", []*cri.IDMapping{id(0, 1, 0)}, "mapping of 0 ids"},
		{"to the last id", []*cri.IDMapping{id(0, 1<<32-11, 10)}, ""},
		{"past the last id", []*cri.IDMapping{id(0, 1<<32-10, 10)}, "4294967286"},
		{"past the last id inside", []*cri.IDMapping{id(1<<32-10, 0, 10)}, "4294967286"},
		{"overlap inside", []*cri.IDMapping{id(0, 100, 10), id(9, 200, 1)}, "overlap"},
		{"overlap on the host", []*cri.IDMapping{id(0, 100, 10), id(20, 91, 10)}, "overlap"},
	} {
		_, err := userNamespace(&cri.UserNamespace{Mode: cri.NamespaceMode_POD, Uids: c.uids, Gids: []*cri.IDMapping{id(0, 0, 1)}})
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
		if err != nil && status.Code(statusOf(err)) != codes.InvalidArgument {
			t.Errorf("%s: %v", c.what, statusOf(err))
		}
	}
}
