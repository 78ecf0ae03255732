package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// OverlayConfig describes one overlay mount (Documentation/filesystems/overlayfs.rst).
type OverlayConfig struct {
	// Lower are the layers' directories on the host, absolute, the topmost first. At least one, at most 500 (the kernel's limit).
	Lower []string
	// Upper and Work are the writable layer and overlayfs's own scratch directory: two children of one directory,
	// empty, absolute. Both empty gives a read-only mount of the lower layers.
	Upper, Work string
	// Volatile leaves out every sync of the upper file system: the writable layer dies with its container, and its last
	// reference would otherwise sync the whole disk (overlayfs "volatile", Linux 5.10). Upper and Work
	// can't be mounted a second time after it. Without Upper it means nothing.
	Volatile bool
	// ReadOnly sets MOUNT_ATTR_RDONLY on the mount; the layers stay as they are.
	ReadOnly bool
	// NoSuid, NoDev and NoExec are set on the mount.
	NoSuid, NoDev, NoExec bool
	// UserNS maps the ids of the layers for a pod with a user namespace; nil: ids as on disk. The lower layers are seen
	// through idmapped clones. The upper directory itself is given to the mapped root, and new files hold mapped ids on disk: an
	// idmapped upper layer can't be had, since overlayfs makes its work directories as host root, whom the pod's mapping doesn't hold.
	UserNS *UserNS
}

// Overlay mounts the layers and returns the detached mount. The caller closes it. A kernel or file system that
// can't map ids gives a *FeatureError; a missing layer gives an error that is fs.ErrNotExist.
//
// Options podlet sets whatever the kernel's defaults are: index=off (an upper directory is used once, nobody needs
// its inode index), metacopy=off and redirect_dir=nofollow: layers come from strangers, and their xattrs shall steer no lookup.
func (m *Mounter) Overlay(c OverlayConfig) (*os.File, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.UserNS != nil {
		if err := m.canMapLayers(); err != nil {
			return nil, fmt.Errorf("overlay with a user namespace: %w", err)
		}
		if err := c.chownUpper(); err != nil {
			return nil, err
		}
	}
	need := detachedOverlay
	if c.UserNS != nil || c.padded() {
		need = detachedLayers
	}
	build := m.overlayWorkshop
	if ok, err := m.detached(need); err != nil {
		return nil, err
	} else if ok {
		build = m.overlayDetached
	}
	fd, err := build(&c)
	if err != nil {
		return nil, c.failed(err)
	}
	return file(fd, "overlay"), nil
}

func (c *OverlayConfig) check() error {
	if len(c.Lower) == 0 || len(c.Lower) > maxLower {
		return fmt.Errorf("overlay of %d lower layers: want 1 to %d", len(c.Lower), maxLower)
	}
	for _, dir := range c.Lower {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("overlay: lower layer %q: want an absolute path", dir)
		}
	}
	if c.Upper == "" && c.Work == "" {
		return nil
	}
	if !filepath.IsAbs(c.Upper) || !filepath.IsAbs(c.Work) {
		return fmt.Errorf("overlay: upper %q and work %q: want both, absolute", c.Upper, c.Work)
	}
	// One mount has to hold both, and the workshop clones their parent for that.
	if filepath.Dir(c.Upper) != filepath.Dir(c.Work) || filepath.Base(c.Upper) == filepath.Base(c.Work) {
		return fmt.Errorf("overlay: upper %q and work %q must be two children of one directory", c.Upper, c.Work)
	}
	// The workshop names them in mount(2)'s option string.
	if strings.ContainsAny(filepath.Base(c.Upper)+filepath.Base(c.Work), `,:\`) {
		return fmt.Errorf("overlay: upper %q and work %q: no comma, colon or backslash in their last names", c.Upper, c.Work)
	}
	return nil
}

// padded: overlayfs takes two layers at least; one lower layer alone gets an empty one below it.
func (c *OverlayConfig) padded() bool { return len(c.Lower) == 1 && c.Upper == "" }

// params are the options both ways share.
func (c *OverlayConfig) params() []param {
	p := []param{{"index", "off"}, {"metacopy", "off"}, {"redirect_dir", "nofollow"}}
	if c.Volatile && c.Upper != "" {
		p = append(p, param{"volatile", ""})
	}
	return p
}

func (c *OverlayConfig) attrs() int {
	attrs := 0
	for _, a := range []struct {
		on   bool
		attr int
	}{
		{c.ReadOnly || c.Upper == "", unix.MOUNT_ATTR_RDONLY}, {c.NoSuid, unix.MOUNT_ATTR_NOSUID}, {c.NoDev, unix.MOUNT_ATTR_NODEV}, {c.NoExec, unix.MOUNT_ATTR_NOEXEC},
	} {
		if a.on {
			attrs |= a.attr
		}
	}
	return attrs
}

func (c *OverlayConfig) chownUpper() error {
	if c.Upper == "" {
		return nil
	}
	uid, gid, err := c.UserNS.root()
	if err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	if err := os.Lchown(c.Upper, uid, gid); err != nil {
		return fmt.Errorf("overlay: give the writable layer to the pod's root: %w", err)
	}
	return nil
}

// failed names the cause of an errno that has several.
func (c *OverlayConfig) failed(err error) error {
	err = fmt.Errorf("overlay of %d lower layers: %w", len(c.Lower), err)
	if c.Upper == "" || !(errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBUSY)) {
		return err
	}
	// overlayfs leaves this mark, and refuses to mount it again.
	if _, stat := os.Lstat(filepath.Join(c.Work, "work/incompat/volatile")); stat == nil {
		return explain(err, "the writable layer "+c.Upper+" was mounted volatile before; delete it and its work directory")
	}
	return err
}

// overlayDetached builds the overlay on its own fd (see detachedOverlay, detachedLayers).
func (m *Mounter) overlayDetached(c *OverlayConfig) (int, error) {
	fc, err := openFS("overlay")
	if err != nil {
		return -1, err
	}
	defer fc.close()
	if err := fc.setAll(append(c.params(), param{"source", "overlay"})); err != nil {
		return -1, err
	}
	// A detached mount dissolves with its last fd, and overlayfs takes its own hold only at create: all stay open till then.
	var held closing
	defer func() { held.close() }()
	add := func(key, path string, open func(string) (int, error)) error {
		fd, err := open(path)
		if err != nil {
			return err
		}
		held = append(held, fd)
		return fc.setFD(key, fd, path)
	}
	for _, dir := range c.Lower {
		if err := add("lowerdir+", dir, c.openLower); err != nil {
			return -1, err
		}
	}
	if c.padded() {
		if err := add("lowerdir+", "empty", func(string) (int, error) { return newEmptyFS() }); err != nil {
			return -1, err
		}
	}
	if c.Upper != "" {
		if err := add("upperdir", c.Upper, openDir); err != nil {
			return -1, err
		}
		if err := add("workdir", c.Work, openDir); err != nil {
			return -1, err
		}
	}
	return fc.mount(c.attrs())
}

// openLower opens a lower layer as it is, or as an idmapped clone.
func (c *OverlayConfig) openLower(dir string) (int, error) {
	if c.UserNS == nil {
		return openDir(dir)
	}
	return c.cloneLower(dir)
}

func (c *OverlayConfig) cloneLower(dir string) (int, error) {
	fd, err := cloneTree(unix.AT_FDCWD, dir, false, dir)
	if err != nil {
		return -1, err
	}
	if c.UserNS == nil {
		return fd, nil
	}
	if err := setIDMap(fd, c.UserNS, dir); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
