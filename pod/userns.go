package pod

import (
	"context"
	"fmt"
	"os"
	"strings"

	"podlet/internal/mount"
	"podlet/pause"
	"podlet/pod/launch"
)

// userNamespace makes the pod's user namespace, with those that it owns, and puts the latter into files for pause to join. The
// helper process that was cloned for it ends as soon as podlet holds the namespaces. own is the pod's root.
//
// The namespace itself needs no holder: it lives as long as those it owns (ioctl_ns(2), NS_GET_USERNS finds it again).
func (p *Pod) userNamespace(ctx context.Context, n *pause.Nursery, files fds) (own owner, err error) {
	features, err := p.rt.mounts.Features()
	if err != nil {
		return owner{}, err
	}
	if !features.IDMappedDir || !features.IDMappedLayers {
		return owner{}, fmt.Errorf("%w: the file system of %s or the kernel can't map ids (idmapped mounts: ext4, xfs, btrfs, tmpfs on Linux 5.19)",
			ErrUnsupported, p.rt.cfg.Root)
	}
	t, err := launch.UserNS()
	if err != nil {
		return owner{}, err
	}
	read, write, err := pipe(-1, -1)
	if err != nil {
		return owner{}, err
	}
	defer read.Close()
	defer write.Close()
	wire, passed, err := fds{launch.FDGate: read}.pack(t)
	if err != nil {
		return owner{}, err
	}
	helper, err := n.Clone(ctx, pause.Clone{ID: pauseID(newID()), Kind: pause.KindRun, Flags: launch.UserNSFlags(p.spec), Tape: wire, FDs: passed})
	if err != nil {
		return owner{}, explainFailure(t, err)
	}
	defer helper.PIDFD.Close()
	if err := p.holdNamespaces(helper, files); err != nil {
		if status, statusErr := helper.Status(); statusErr == nil && status.Errno != 0 {
			return owner{}, t.Error(status.Step, int32(status.Errno))
		}
		return owner{}, err
	}
	return p.mappedRoot()
}

// holdNamespaces maps the ids of the helper's user namespace and opens the namespaces that it owns.
func (p *Pod) holdNamespaces(helper *pause.Process, files fds) error {
	pid, err := pause.PID(helper.PIDFD)
	if err != nil {
		return err
	}
	if err := writeMaps(pid, p.spec.UserNS.UIDs, p.spec.UserNS.GIDs); err != nil {
		return fmt.Errorf("map ids: %w", err)
	}
	for name, kind := range map[string]string{launch.FDNetNS: "net", launch.FDUTSNS: "uts", launch.FDIPCNS: "ipc"} {
		if (kind == "ipc" && p.spec.HostIPC) || (kind != "ipc" && p.spec.HostNetwork) {
			continue
		}
		ns, err := openNamespace(helper.PIDFD, kind)
		if err := files.add(name, ns, err); err != nil {
			return err
		}
	}
	return nil
}

func writeMaps(pid int, uids, gids []mount.IDMapping) error {
	for name, list := range map[string][]mount.IDMapping{"uid_map": uids, "gid_map": gids} {
		var text strings.Builder
		for _, m := range list {
			fmt.Fprintf(&text, "%d %d %d\n", m.ContainerID, m.HostID, m.Length)
		}
		// The kernel takes a map in one write, once (user_namespaces(7)).
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, name), []byte(text.String()), 0); err != nil {
			return err
		}
	}
	return nil
}

// mappedRoot gives the host's ids of the pod's root.
func (p *Pod) mappedRoot() (owner, error) {
	uid, okUID := hostID(p.spec.UserNS.UIDs)
	gid, okGID := hostID(p.spec.UserNS.GIDs)
	if !okUID || !okGID {
		return owner{}, fmt.Errorf("%w: its mappings leave root (0) out", ErrInvalid)
	}
	return owner{uid, gid}, nil
}

// hostID is the host's id of id 0.
func hostID(list []mount.IDMapping) (int, bool) {
	for _, m := range list {
		if m.ContainerID == 0 && m.Length > 0 {
			return int(m.HostID), true
		}
	}
	return 0, false
}
