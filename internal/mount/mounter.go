package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Way says how a Mounter builds what not every kernel can build detached.
type Way int

const (
	// WayAuto: detached where the kernel can, else in the workshop.
	WayAuto Way = iota
	// WayDetached: detached, or a *FeatureError.
	WayDetached
	// WayWorkshop: in the workshop, whatever the kernel can.
	WayWorkshop
)

// Mounter holds what the mounts share: what the kernel can, the workshop, the masks' templates, user namespaces. Safe for
// concurrent use.
type Mounter struct {
	dir    string
	way    Way
	probes probes
	masks  masks
	stdin  stdin
	userns userNamespaces

	// The workshop opens when first needed: a kernel that needs none never pays for one.
	shop struct {
		sync.Mutex
		open   *workshop // nil until needed
		closed bool
	}
}

// New returns a Mounter. dir is podlet's own root directory, whose file system holds the layers: what that file system can is
// tried out in directories of its own below it, ".mount-probe-N", which are gone again afterwards; so a dir has one Mounter. New itself touches nothing.
func New(dir string, way Way) (*Mounter, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("mount: root directory %q: want an absolute path", dir)
	}
	if st, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("mount: root directory: %w", err)
	} else if !st.IsDir() {
		return nil, fmt.Errorf("mount: root directory %q is no directory", dir)
	}
	return &Mounter{dir: dir, way: way}, nil
}

// Close ends the workshop and lets go of the templates. Mounts made before are not touched; UserNS values are closed by their users.
func (m *Mounter) Close() error {
	m.stdin.close()
	m.masks.close()
	m.shop.Lock()
	defer m.shop.Unlock()
	m.shop.closed = true
	if m.shop.open != nil {
		m.shop.open.close()
		m.shop.open = nil
	}
	return nil
}

// workshop returns the open workshop.
func (m *Mounter) workshop() (*workshop, error) {
	m.shop.Lock()
	defer m.shop.Unlock()
	if m.shop.closed {
		return nil, errClosed
	}
	if m.shop.open != nil {
		return m.shop.open, nil
	}
	w, err := openWorkshop()
	if err != nil {
		return nil, fmt.Errorf("open the mount workshop: %w", err)
	}
	m.shop.open = w
	return w, nil
}

// detached decides the way for something that needs a feature to be built detached.
func (m *Mounter) detached(f feature) (bool, error) {
	if m.way == WayWorkshop {
		return false, nil
	}
	ok, err := m.has(f)
	if err != nil {
		return false, err
	}
	if !ok && m.way == WayDetached {
		return false, &FeatureError{Feature: f.String(), Since: f.since()}
	}
	return ok, nil
}
