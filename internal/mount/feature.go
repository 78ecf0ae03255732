package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Features is what this kernel and the file system below the Mounter's directory can do. Every field was found out by doing it.
type Features struct {
	// DetachedOverlay: an overlay built on its own fd from directory fds, fsconfig(FSCONFIG_SET_FD, "lowerdir+"), Linux 6.13. (6.7 to 6.12 take
	// lowerdir+ as a string only; podlet treats them as older ones.)
	DetachedOverlay bool
	// DetachedLayers: the same with detached mounts as layers, Linux 6.15.
	DetachedLayers bool
	// CloneDetached: open_tree(OPEN_TREE_CLONE) of a detached mount, Linux 6.15.
	CloneDetached bool
	// DetachedOnDetached: move_mount onto a detached mount, Linux 6.15.
	DetachedOnDetached bool
	// IDMappedDir: the file system of the Mounter's directory can be idmapped; mount_setattr(MOUNT_ATTR_IDMAP) came with
	// Linux 5.12 for ext4 and FAT, xfs the same year, btrfs 5.15.
	IDMappedDir bool
	// IDMappedLayers: overlayfs over idmapped lower layers, Linux 5.19.
	IDMappedLayers bool
	// IDMappedTmpfs: an idmapped tmpfs, Linux 6.3. Kubernetes wants it for pods with user namespaces (secrets and projected volumes are tmpfs).
	IDMappedTmpfs bool
	// RecursiveReadOnly: mount_setattr(AT_RECURSIVE) with MOUNT_ATTR_RDONLY, Linux 5.12.
	RecursiveReadOnly bool
}

type feature int

const (
	detachedOverlay feature = iota
	detachedLayers
	cloneDetached
	detachedOnDetached
	idmappedDir
	idmappedLayers
	idmappedTmpfs
	recursiveReadOnly
	featureCount
)

// featureTable: what to call it, and since when (empty: that depends on the file system).
var featureTable = [featureCount]struct{ name, since string }{
	detachedOverlay:    {"an overlay built on its own fd", "6.13"},
	detachedLayers:     {"an overlay over detached mounts", "6.15"},
	cloneDetached:      {"a clone of a detached mount", "6.15"},
	detachedOnDetached: {"a detached mount on a detached mount", "6.15"},
	idmappedDir:        {"an idmapped mount", ""},
	idmappedLayers:     {"an overlay over idmapped layers", "5.19"},
	idmappedTmpfs:      {"an idmapped tmpfs", "6.3"},
	recursiveReadOnly:  {"a recursive read-only bind mount", "5.12"},
}

func (f feature) String() string { return featureTable[f].name }
func (f feature) since() string  { return featureTable[f].since }

// probes are the answers so far. An answer stays once it is conclusive: it worked, or the kernel said that it doesn't do this (EINVAL,
// ENOSYS, EOPNOTSUPP). Anything else (no memory, no space, no fds, no permission) is an error now, and asked again next time.
type probes struct {
	sync.Mutex
	answers [featureCount]answer
}

type answer struct {
	known, have bool
	reason      error // of a no
}

// has finds out whether the kernel can f.
func (m *Mounter) has(f feature) (bool, error) {
	m.probes.Lock()
	defer m.probes.Unlock()
	return m.hasLocked(f)
}

func (m *Mounter) hasLocked(f feature) (bool, error) {
	a := &m.probes.answers[f]
	if a.known {
		return a.have, nil
	}
	// Always the same name, so that what a podlet left that died, or had no fd to remove it with, goes now.
	dir := filepath.Join(m.dir, ".mount-probe-"+strconv.Itoa(int(f)))
	if err := os.RemoveAll(dir); err != nil {
		return false, fmt.Errorf("probe for %s: %w", f, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return false, fmt.Errorf("probe for %s: %w", f, err)
	}
	err := m.probe(f, dir)
	if rm := os.RemoveAll(dir); rm != nil && err == nil {
		return false, fmt.Errorf("probe for %s: %w", f, rm)
	}
	if err != nil && !refused(err) {
		return false, fmt.Errorf("probe for %s: %w", f, err)
	}
	*a = answer{known: true, have: err == nil, reason: err}
	return a.have, nil
}

// Features tries out everything that isn't known yet. Answers that couldn't be had read false and are part of the error.
func (m *Mounter) Features() (Features, error) {
	m.probes.Lock()
	defer m.probes.Unlock()
	var have [featureCount]bool
	var errs error
	for f := range featureCount {
		ok, err := m.hasLocked(f)
		have[f] = ok
		errs = errors.Join(errs, err)
	}
	return Features{
		DetachedOverlay:    have[detachedOverlay],
		DetachedLayers:     have[detachedLayers],
		CloneDetached:      have[cloneDetached],
		DetachedOnDetached: have[detachedOnDetached],
		IDMappedDir:        have[idmappedDir],
		IDMappedLayers:     have[idmappedLayers],
		IDMappedTmpfs:      have[idmappedTmpfs],
		RecursiveReadOnly:  have[recursiveReadOnly],
	}, errs
}

// canMapLayers says which is to blame where layers can't be idmapped: the file system or the kernel.
func (m *Mounter) canMapLayers() error {
	for _, f := range []feature{idmappedDir, idmappedLayers} {
		ok, err := m.has(f)
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		m.probes.Lock()
		reason := m.probes.answers[f].reason
		m.probes.Unlock()
		var fe *FeatureError
		if errors.As(reason, &fe) {
			return fe
		}
		return &FeatureError{Feature: f.String(), Since: f.since(), Path: m.dir, Err: reason}
	}
	return nil
}
