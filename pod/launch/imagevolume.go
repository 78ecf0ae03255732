package launch

import "golang.org/x/sys/unix"

// imageVolume makes one of the image's VOLUMEs: a directory of the container's own, with what the image has there. The writable layer is that already: it dies with the
// container, takes the ids of the pod's user namespace, and its files are copied up by overlayfs when they are written, so nothing is copied here. What is left to do is to
// make the directory where the image lacks it and, where the root filesystem is going to be read-only, to mount it on itself: being read-only is the mount's affair, and
// this mount is another one.
//
// It is done before anything else is mounted: whatever links the image has, a lookup from the root's fd can end in the image's own tree alone, never in a
// volume that somebody else changes meanwhile, and never on the node (CVE-2022-23648).
func (b *builder) imageVolume(target string) {
	why := "make the image's volume " + target
	at := mountPoint(b.Builder, b.root, target, false, inRoot, why)
	if b.c.ReadOnlyRoot {
		why = "keep the image's volume " + target + " writable"
		m := b.OpenTree(at, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH, why)
		b.Attach(m, at, why)
		b.Close(m, "")
	}
	b.Close(at, "")
}
