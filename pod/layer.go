package pod

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// makeLayer makes a container's writable layer. Its directory is what the container sees as "/", so it takes mode and owner from the
// image's topmost layer.
func (p *Pod) makeLayer(id string, lower []string) error {
	var root unix.Stat_t
	if err := unix.Stat(lower[0], &root); err != nil {
		return fmt.Errorf("stat %s: %w", lower[0], err)
	}
	uid, gid := int(root.Uid), int(root.Gid)
	if p.spec.UserNS != nil {
		uid, gid = mapped(p.spec.UserNS.UIDs, root.Uid), mapped(p.spec.UserNS.GIDs, root.Gid)
	}
	if err := os.Mkdir(p.rt.layerDir(id), 0o711); err != nil {
		return err
	}
	for _, dir := range []string{p.rt.upperDir(id), p.rt.overlayWork(id)} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	upper := p.rt.upperDir(id)
	if uid != 0 || gid != 0 {
		if err := os.Chown(upper, uid, gid); err != nil {
			return err
		}
	}
	if mode := root.Mode & 0o7777; mode != 0o755 {
		return unix.Chmod(upper, mode)
	}
	return nil
}
