package mount

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A probe returns nil where the kernel can, an error that refused recognises where it can't, and any other error where that
// remains open. dir is a fresh directory on the layers' file system. Probes run under the lock of probes, so they ask others by hasLocked only.

func (m *Mounter) probe(f feature, dir string) error {
	switch f {
	case detachedOverlay:
		return m.probeDetachedOverlay(dir)
	case detachedLayers:
		return probeDetachedLayers(dir)
	case cloneDetached:
		return probeCloneDetached()
	case detachedOnDetached:
		return probeDetachedOnDetached()
	case idmappedDir:
		return m.probeIDMappedDir(dir)
	case idmappedLayers:
		return m.probeIDMappedLayers(dir)
	case idmappedTmpfs:
		return m.probeIDMappedTmpfs()
	case recursiveReadOnly:
		return probeRecursiveReadOnly(dir)
	default:
		panic(fmt.Sprintf("mount: no probe for feature %d", f))
	}
}

// probeLayers makes two layers with a file each and a writable layer.
func probeLayers(dir string) (OverlayConfig, error) {
	c := OverlayConfig{
		Lower: []string{filepath.Join(dir, "top"), filepath.Join(dir, "bottom")},
		Upper: filepath.Join(dir, "upper"),
		Work:  filepath.Join(dir, "work"),
	}
	for _, d := range append(c.Lower, c.Upper, c.Work) {
		if err := os.Mkdir(d, 0o700); err != nil {
			return c, err
		}
	}
	for _, d := range c.Lower {
		f, err := os.OpenFile(filepath.Join(d, filepath.Base(d)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return c, err
		}
		if err := f.Close(); err != nil {
			return c, err
		}
	}
	return c, nil
}

// lookInside: a kernel may swallow lowerdir+ without a word (6.1 does), so what counts is that the files are there, with the owner they should have.
func lookInside(overlay int, c OverlayConfig, uid uint32) error {
	for _, d := range c.Lower {
		var st unix.Stat_t
		if err := unix.Fstatat(overlay, filepath.Base(d), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Uid != uid {
			return &Error{Call: "fstatat", FS: "overlay", Path: d, Err: unix.EOPNOTSUPP}
		}
	}
	return nil
}

func (m *Mounter) probeDetachedOverlay(dir string) error {
	c, err := probeLayers(dir)
	if err != nil {
		return err
	}
	fd, err := m.overlayDetached(&c)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return lookInside(fd, c, 0)
}

func probeDetachedLayers(dir string) error {
	c, err := probeLayers(dir)
	if err != nil {
		return err
	}
	fc, err := openFS("overlay")
	if err != nil {
		return err
	}
	defer fc.close()
	for _, d := range c.Lower {
		fd, err := cloneTree(unix.AT_FDCWD, d, false, d)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := fc.setFD("lowerdir+", fd, d); err != nil {
			return err
		}
	}
	fd, err := fc.mount(0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return lookInside(fd, c, 0)
}

func probeCloneDetached() error {
	fd, err := newEmptyFS()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	clone, err := cloneTree(fd, "", false, "a detached tmpfs")
	if err != nil {
		return err
	}
	return unix.Close(clone)
}

func probeDetachedOnDetached() error {
	below, err := newEmptyFS()
	if err != nil {
		return err
	}
	defer unix.Close(below)
	above, err := newEmptyFS()
	if err != nil {
		return err
	}
	defer unix.Close(above)
	return moveMount(above, below, "")
}

// probeUserNS maps root away, and little else.
func (m *Mounter) probeUserNS() (*UserNS, error) {
	ids := []IDMapping{{ContainerID: 0, HostID: 1 << 16, Length: 1}}
	return m.UserNS(ids, ids)
}

func (m *Mounter) probeIDMappedDir(dir string) error {
	u, err := m.probeUserNS()
	if err != nil {
		return err
	}
	defer u.Close()
	fd, err := cloneTree(unix.AT_FDCWD, dir, false, dir)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return setIDMap(fd, u, m.dir)
}

func (m *Mounter) probeIDMappedLayers(dir string) error {
	c, err := probeLayers(dir)
	if err != nil {
		return err
	}
	if c.UserNS, err = m.probeUserNS(); err != nil {
		return err
	}
	defer c.UserNS.Close()
	// What counts is overlayfs, whichever way it is mounted.
	detached, err := m.hasLocked(detachedLayers)
	if err != nil {
		return err
	}
	build := m.overlayWorkshop
	if detached && m.way != WayWorkshop {
		build = m.overlayDetached
	}
	fd, err := build(&c)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return lookInside(fd, c, 1<<16)
}

func (m *Mounter) probeIDMappedTmpfs() error {
	u, err := m.probeUserNS()
	if err != nil {
		return err
	}
	defer u.Close()
	fd, err := newEmptyFS()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return setIDMap(fd, u, "")
}

func probeRecursiveReadOnly(dir string) error {
	fd, err := cloneTree(unix.AT_FDCWD, dir, true, dir)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := setAttr(fd, true, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, dir); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return fmt.Errorf("fstatfs: %w", err)
	}
	if st.Flags&unix.ST_RDONLY == 0 {
		return &Error{Call: "mount_setattr", Key: "RDONLY", Path: dir, Err: unix.EOPNOTSUPP}
	}
	return nil
}
