// Package image makes what the guest boots from: a kernel, an initramfs and a root disk, all from Debian's packages, and ext4 disks from directories.
//
// It asks for no boot loader, no loop device and no chroot of a distribution's installer: apt resolves and verifies the packages in a state directory of its own,
// dpkg-deb and tar unpack them, mke2fs makes the disk from the tree. No maintainer script runs; the few files that those would have written are written in root.go.
//
// What is made stands in a cache directory named for a hash of everything it was made from but the packages' versions (see Key), is complete or absent, and is never changed:
// the guest boots from a snapshot. A lock file keeps two builders apart.
package image
