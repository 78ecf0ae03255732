package pod

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"podlet/internal/mount"
	"podlet/pod/launch"
	"podlet/pod/spec"
)

// rootFiles makes the detached mounts of a container's tree, and tells of each volume whether it is a file.
func (c *Container) rootFiles(files fds) (volumes []bool, err error) {
	m := c.pod.rt.mounts
	userns, err := c.idMapping(c.pod.spec.UserNS)
	if err != nil {
		return nil, err
	}
	if userns != nil {
		defer userns.Close()
		ns, err := c.pod.openNamespace("user")
		if err := files.add(launch.FDUserNS, ns, err); err != nil {
			return nil, err
		}
	}
	img, err := c.pod.rt.images.Hold(c.spec.ImageID, c.id)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", c.spec.Image, err)
	}
	root, err := m.Overlay(mount.OverlayConfig{
		Lower: img.LayerDirs(), Upper: c.pod.rt.upperDir(c.id), Work: c.pod.rt.overlayWork(c.id),
		Volatile: !c.pod.rt.cfg.Durable, UserNS: userns,
	})
	if err := files.add(launch.FDRoot, root, err); err != nil {
		return nil, fmt.Errorf("root filesystem: %w", err)
	}
	if err := c.openDev(files, userns); err != nil {
		return nil, err
	}
	if err := c.openCgroupMounts(files); err != nil {
		return nil, err
	}
	if err := c.openHostIPC(files); err != nil {
		return nil, err
	}
	if err := c.openPIDNamespace(files); err != nil {
		return nil, err
	}
	volumes, err = c.openVolumes(files)
	if err != nil {
		return nil, err
	}
	c.dropUnused(files, volumes)
	return volumes, nil
}

// dropUnused closes what a volume has taken the place of.
func (c *Container) dropUnused(files fds, volumes []bool) {
	wanted := map[spec.Source]bool{}
	for _, a := range spec.Attachments(c.pod.spec, c.spec, &c.pod.rt.machine, volumes) {
		wanted[a.Source] = true
	}
	for source, name := range map[spec.Source]string{spec.SourceDev: launch.FDDev, spec.SourceDevPTS: launch.FDDevPTS} {
		if f := files[name]; f != nil && !wanted[source] && !c.spec.TTY {
			f.Close()
			delete(files, name)
		}
	}
}

// idMapping gives the mapping for idmapped mounts; nil for none.
func (c *Container) idMapping(m *spec.IDMap) (*mount.UserNS, error) {
	if m == nil {
		return nil, nil
	}
	return c.pod.rt.mounts.UserNS(m.UIDs, m.GIDs)
}

func (c *Container) openDev(files fds, userns *mount.UserNS) error {
	config := mount.DevConfig{Console: c.spec.TTY, UserNS: userns}
	if c.spec.Privileged {
		all, err := mount.HostDevices("/dev", "/dev")
		if err != nil {
			return fmt.Errorf("devices of a privileged container: %w", err)
		}
		config.Devices = all
	}
	for _, d := range c.spec.Devices {
		nodes, err := mount.HostDevices(d.HostPath, d.ContainerPath)
		if err != nil {
			return fmt.Errorf("device %s: %w", d.HostPath, err)
		}
		config.Devices = append(config.Devices, nodes...)
	}
	dev, err := mount.Dev(config)
	if err := files.add(launch.FDDev, dev, err); err != nil {
		return err
	}
	pts, err := mount.DevPTS(userns)
	return files.add(launch.FDDevPTS, pts, err)
}

// openTerminal opens a terminal in the container's devpts; the slave goes into files, the master is pause's.
func (c *Container) openTerminal(files fds) (*os.File, error) {
	master, slave, err := mount.OpenPTY(files[launch.FDDevPTS])
	if err != nil {
		return nil, err
	}
	files[launch.FDTerminal] = slave
	// The group stays the devpts' own, 5: mode 0620 lets its members write(1) to a terminal.
	uid, _ := c.hostIdentity()
	if err := unix.Fchown(int(slave.Fd()), uid, -1); err != nil {
		master.Close()
		return nil, fmt.Errorf("give the terminal to user %d: %w", uid, err)
	}
	return master, nil
}

// openCgroupMounts clones the container's own cgroup directories for its /sys/fs/cgroup.
func (c *Container) openCgroupMounts(files fds) error {
	machine := &c.pod.rt.machine
	readOnly := !c.spec.Privileged
	if len(machine.V1Controllers) == 0 {
		m, err := mount.CgroupBind(c.group.V2Dir(), readOnly)
		return files.add(launch.FDTree("unified"), m, err)
	}
	tmpfs, err := mount.Tmpfs(mount.TmpfsConfig{Size: 64 << 10, Inodes: 64, Mode: 0o755, NoSuid: true, NoDev: true, NoExec: true})
	if err := files.add(launch.FDCgroups, tmpfs, err); err != nil {
		return err
	}
	dirs := append([]string{}, machine.V1Controllers...)
	if machine.Unified {
		dirs = append(dirs, "unified")
	}
	if err := fill(tmpfs, dirs, nil, nil, owner{}); err != nil {
		return fmt.Errorf("fill the cgroup tmpfs: %w", err)
	}
	if err := unix.MountSetattr(int(tmpfs.Fd()), "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make the cgroup tmpfs read-only: %w", err)
	}
	for _, tree := range machine.V1Controllers {
		dir, err := c.group.V1Dir(tree)
		if err != nil {
			return err
		}
		m, err := mount.CgroupBind(dir, readOnly)
		dir.Close()
		if err := files.add(launch.FDTree(tree), m, err); err != nil {
			return err
		}
	}
	if !machine.Unified {
		return nil
	}
	m, err := mount.CgroupBind(c.group.V2Dir(), readOnly)
	return files.add(launch.FDTree("unified"), m, err)
}

func (c *Container) openHostIPC(files fds) error {
	if !c.pod.spec.HostIPC {
		return nil
	}
	m, _, err := mount.Bind("/dev/shm", mount.BindOptions{Recursive: true, NoSuid: true, NoDev: true, NoExec: true})
	return files.add(launch.FDHostShm, m, err)
}

// openPIDNamespace gives the pidfd of the process whose PID namespace the container joins.
func (c *Container) openPIDNamespace(files fds) error {
	var of *os.File
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	switch c.spec.PID {
	case spec.PIDPod:
		of = c.pod.mu.init
	case spec.PIDTarget:
		if target := c.pod.mu.containers[c.spec.PIDTarget]; target != nil {
			of = target.pidfd
		}
	default:
		return nil
	}
	if of == nil {
		return fmt.Errorf("the process whose PID namespace it joins has ended: %w", ErrState)
	}
	copied, err := duplicate(of)
	return files.add(launch.FDPIDNS, copied, err)
}

// openVolumes clones the volumes' sources, as late as possible: a mount made on the host before this moment is in them.
func (c *Container) openVolumes(files fds) (isFile []bool, err error) {
	for i, v := range c.spec.Mounts {
		open := c.bindVolume
		if v.Image != "" {
			open = c.imageVolume
		}
		m, isDir, err := open(i)
		if err := files.add(launch.FDVolume(i, v.Target), m, err); err != nil {
			return nil, fmt.Errorf("volume for %s: %w", v.Target, err)
		}
		isFile = append(isFile, !isDir)
	}
	return isFile, nil
}

// bindVolume clones what is at the source of the i-th mount.
func (c *Container) bindVolume(i int) (m *os.File, isDir bool, err error) {
	v := c.spec.Mounts[i]
	userns, err := c.idMapping(v.IDMap)
	if err != nil {
		return nil, false, err
	}
	if userns != nil {
		defer userns.Close()
	}
	return mount.Bind(v.Source, mount.BindOptions{
		Recursive: true, ReadOnly: v.ReadOnly, RecursiveReadOnly: v.RecursiveReadOnly, Propagation: v.Propagation, UserNS: userns,
		NoExec: v.NoExec, NoSuid: v.NoSuid, NoDev: v.NoDev,
	})
}
