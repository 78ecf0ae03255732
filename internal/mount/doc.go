// Package mount prepares mounts that belong to no mount namespace yet.
//
// Every mount it makes is detached (fsmount(2), open_tree(2) with OPEN_TREE_CLONE) and comes as an
// *os.File with close-on-exec set. The caller owns the file: it sends it to the process that attaches it
// with move_mount(2), and closes it. Closing the last file of a mount that nobody attached dissolves it. The
// host's mount table never grows, so no cost here depends on the number of the host's mounts.
//
// What the kernel can build detached is built on its fd. What an older kernel can't (see [Features]) is
// built in the [Mounter]'s workshop: a private mount namespace that holds nothing of the host, entered by one locked
// thread, where the mount is made, cloned and taken down again. The result is the same kind of fd.
//
// The package walks no path inside a container. Sources of bind mounts are opened once and cloned from
// that fd, so what was checked is what is mounted. It writes no log and starts no goroutine but the workshop's,
// which [Mounter.Close] ends. Bind mounts and namespaces of mounts are seen from the calling thread's mount
// namespace: callers must not sit on a thread that left the host's.
//
// Lock order: Mounter.stdin, then Mounter.probes, then one of the others (masks, userns, shop), which are never held together. A job of the workshop takes none.
package mount
