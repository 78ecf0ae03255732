package cri

import (
	"errors"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/mount"
	"podlet/pod/spec"
)

// sandboxNamespaces reads what a sandbox shares with the node or among its containers.
func sandboxNamespaces(s *spec.Sandbox, o *cri.NamespaceOption) error {
	var err error
	if s.HostNetwork, err = node("network", o.GetNetwork()); err != nil {
		return err
	}
	if s.HostIPC, err = node("ipc", o.GetIpc()); err != nil {
		return err
	}
	switch o.GetPid() {
	case cri.NamespaceMode_POD:
		s.SharedPID = true
	case cri.NamespaceMode_CONTAINER:
	case cri.NamespaceMode_NODE:
		s.HostPID = true
	default:
		return invalid("pid namespace mode %v of a sandbox", o.GetPid())
	}
	s.UserNS, err = userNamespace(o.GetUsernsOptions())
	if err != nil || s.UserNS == nil {
		return err
	}
	if s.HostNetwork || s.HostIPC || s.HostPID {
		return invalid("a pod with a user namespace can't share the node's network, IPC or PID namespace: the kernel gives rights in those to the node's user namespace alone")
	}
	return nil
}

// node says whether a mode is the node's; POD is the only other one for a sandbox's network and IPC.
func node(kind string, mode cri.NamespaceMode) (bool, error) {
	switch mode {
	case cri.NamespaceMode_POD:
		return false, nil
	case cri.NamespaceMode_NODE:
		return true, nil
	default:
		return false, invalid("%s namespace mode %v", kind, mode)
	}
}

// userNamespace reads KEP-127's mappings; nil for none.
func userNamespace(u *cri.UserNamespace) (*spec.IDMap, error) {
	switch {
	case u == nil || u.Mode == cri.NamespaceMode_NODE:
		if len(u.GetUids())+len(u.GetGids()) > 0 {
			return nil, invalid("user namespace mode NODE with id mappings")
		}
		return nil, nil
	case u.Mode != cri.NamespaceMode_POD:
		return nil, invalid("user namespace mode %v", u.Mode)
	}
	m := &spec.IDMap{UIDs: mappings(u.Uids), GIDs: mappings(u.Gids)}
	if len(m.UIDs) == 0 || len(m.GIDs) == 0 {
		return nil, invalid("user namespace mode POD without uid or gid mappings")
	}
	return m, errors.Join(checkMappings("uid", m.UIDs), checkMappings("gid", m.GIDs))
}

// maxMappings is what the kernel takes (user_namespaces(7)).
const maxMappings = 340

// checkMappings refuses what the kernel would refuse with nothing but EINVAL (user_namespaces(7)).
func checkMappings(kind string, list []mount.IDMapping) error {
	if len(list) > maxMappings {
		return invalid("%d %s mappings: at most %d are allowed", len(list), kind, maxMappings)
	}
	for i, m := range list {
		if m.Length == 0 || uint64(m.HostID)+uint64(m.Length) > 1<<32-1 || uint64(m.ContainerID)+uint64(m.Length) > 1<<32-1 {
			return invalid("%s mapping of %d ids from %d to host id %d", kind, m.Length, m.ContainerID, m.HostID)
		}
		for _, other := range list[:i] {
			if overlap(m.ContainerID, m.Length, other.ContainerID, other.Length) || overlap(m.HostID, m.Length, other.HostID, other.Length) {
				return invalid("%s mappings overlap: %d ids from %d to host id %d, and %d from %d to %d",
					kind, other.Length, other.ContainerID, other.HostID, m.Length, m.ContainerID, m.HostID)
			}
		}
	}
	return nil
}

func overlap(a, lengthA, b, lengthB uint32) bool {
	return uint64(a) < uint64(b)+uint64(lengthB) && uint64(b) < uint64(a)+uint64(lengthA)
}

func mappings(list []*cri.IDMapping) []mount.IDMapping {
	var out []mount.IDMapping
	for _, m := range list {
		out = append(out, mount.IDMapping{ContainerID: m.GetContainerId(), HostID: m.GetHostId(), Length: m.GetLength()})
	}
	return out
}

// containerPID reads a container's PID namespace mode.
func containerPID(o *cri.NamespaceOption) (mode spec.PIDMode, target string, err error) {
	switch o.GetPid() {
	case cri.NamespaceMode_POD:
		return spec.PIDPod, "", nil
	case cri.NamespaceMode_CONTAINER:
		return spec.PIDContainer, "", nil
	case cri.NamespaceMode_NODE:
		return spec.PIDNode, "", nil
	case cri.NamespaceMode_TARGET:
		if o.GetTargetId() == "" {
			return "", "", invalid("pid namespace mode TARGET without target_id")
		}
		return spec.PIDTarget, o.GetTargetId(), nil
	default:
		return "", "", invalid("pid namespace mode %v", o.GetPid())
	}
}

// sameAsSandbox says whether a container's options agree with its sandbox's, as the kubelet always sends them.
func sameAsSandbox(s *spec.Sandbox, o *cri.NamespaceOption) error {
	if o == nil {
		return nil
	}
	network, err := node("network", o.GetNetwork())
	if err != nil {
		return err
	}
	ipc, err := node("ipc", o.GetIpc())
	if err != nil {
		return err
	}
	if network != s.HostNetwork || ipc != s.HostIPC {
		return invalid("the container's network or ipc namespace mode differs from its sandbox's: they are the sandbox's to choose")
	}
	u, err := userNamespace(o.GetUsernsOptions())
	if err != nil {
		return err
	}
	if u != nil && s.UserNS == nil {
		return invalid("the container asks for a user namespace that its sandbox doesn't have")
	}
	return nil
}

func idMappings(list []mount.IDMapping) []*cri.IDMapping {
	var out []*cri.IDMapping
	for _, m := range list {
		out = append(out, &cri.IDMapping{ContainerId: m.ContainerID, HostId: m.HostID, Length: m.Length})
	}
	return out
}
