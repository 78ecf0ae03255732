package cri

import (
	"path"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/cgroup"
	"podlet/pod/etcfiles"
	"podlet/pod/spec"
)

// SandboxSpec checks a PodSandboxConfig and gives what it asks for.
func SandboxSpec(c *cri.PodSandboxConfig) (*spec.Sandbox, error) {
	if c.GetMetadata().GetName() == "" || c.GetMetadata().GetNamespace() == "" || c.GetMetadata().GetUid() == "" {
		return nil, invalid("the sandbox's metadata lacks a name, a namespace or a uid")
	}
	m := c.Metadata
	s := &spec.Sandbox{
		Name: m.Name, Namespace: m.Namespace, UID: m.Uid, Attempt: m.Attempt,
		Labels: c.Labels, Annotations: c.Annotations,
		Hostname:     c.Hostname,
		LogDirectory: c.LogDirectory,
		DNS:          spec.DNS{Servers: c.GetDnsConfig().GetServers(), Searches: c.GetDnsConfig().GetSearches(), Options: c.GetDnsConfig().GetOptions()},
	}
	if c.LogDirectory != "" && !path.IsAbs(c.LogDirectory) {
		return nil, invalid("log_directory %q is not absolute", c.LogDirectory)
	}
	if c.Hostname != "" {
		if err := etcfiles.CheckHostname(c.Hostname); err != nil {
			return nil, err
		}
	}
	if err := etcfiles.DNS(s.DNS).Check(); err != nil {
		return nil, err
	}
	if err := sandboxLinux(s, c.GetLinux()); err != nil {
		return nil, err
	}
	if _, err := s.Bandwidth(); err != nil {
		return nil, err
	}
	return s, hostPorts(s, c.PortMappings)
}

func sandboxLinux(s *spec.Sandbox, l *cri.LinuxPodSandboxConfig) error {
	parent, err := cgroup.ParsePath(l.GetCgroupParent())
	if err != nil {
		return err
	}
	s.CgroupParent = parent.String()
	sc := l.GetSecurityContext()
	s.Privileged = sc.GetPrivileged()
	if err := sandboxNamespaces(s, sc.GetNamespaceOptions()); err != nil {
		return err
	}
	if err := noSELinux(sc.GetSelinuxOptions()); err != nil {
		return err
	}
	s.RawSysctls = l.GetSysctls()
	if _, err := s.Sysctls(); err != nil {
		return err
	}
	// The sandbox's own seccomp and AppArmor profiles, user and groups are those of a pause container, and podlet has none:
	// no code of the pod runs in its pause.
	if s.Overhead, err = resources(l.GetOverhead()); err != nil {
		return err
	}
	s.Resources, err = resources(l.GetResources())
	return err
}

func noSELinux(o *cri.SELinuxOption) error {
	if o.GetUser() != "" || o.GetRole() != "" || o.GetType() != "" || o.GetLevel() != "" {
		return unsupported("SELinux options")
	}
	return nil
}
