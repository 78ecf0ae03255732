// Package launch writes the tapes that pause and its nursery play: the nursery's own set-up, a pod's namespaces, the PID 1 of a
// shared PID namespace, a container, an exec. Each is a pure function from a specification to a tape; the fds that a tape
// needs are named here (FD… constants and functions) and opened by package pod.
//
// # Where a tape is played
//
// The nursery's mount namespace holds nothing of the host:
//
//	/            a tmpfs, read-only
//	/mask/dir    an empty read-only directory        both cloned over what containers may not see
//	/mask/file   a null device
//	/container   where a container's root stands until it pivots to it
//	/pod         a tmpfs of the pod's own, in pause's copy of the namespace:
//	/pod/proc, /pod/sys, /pod/dev/shm, /pod/dev/mqueue, /pod/etc/{hosts,hostname,resolv.conf}
//
// These are the only paths that a tape may name from "/" before its pivot_root; whatever lies below a container's root is reached
// by openat2(2) from the root's fd (package tape's linter checks it).
//
// # The order, and the kernel's reasons for it
//
// A container's tape is played by two processes. The intermediate lives in pause's namespaces, where no container can see it:
//
//  1. dumpable 0, so that what is inherited from here to execve can be looked at by nobody.
//  2. cgroup v1 joins; oom_score_adj through pause's own /proc.
//  3. Clones of the pod's mounts, while their mount namespace is still the caller's own.
//  4. setns PID, then USER: who has entered the pod's user namespace may no longer look at the non-dumpable process that the PID
//     namespace is joined by.
//  5. clone3 into the container's cgroup, with a PID and MNT namespace owned by the user namespace just entered. The uid is still the
//     host's root here, which is what the permission check on cgroup.procs looks at. CLONE_PARENT makes the app pause's child.
//
// The app:
//
//  6. setsid; the v1 pids join, which would count against the clone above; unshare CGROUP, only now inside its cgroup.
//  7. proc, while pause's own fully visible one is still in this mount namespace: without it a user namespace may not mount any.
//  8. Mapped root, so that mount points made below belong to the pod.
//  9. The root, the mounts in order, proc last: no volume's target can be led into it by a link of the image. What stands in a
//     file system of podlet's own making (place.go) is opened from the fd of that: no path of the image, nothing to make.
//  10. Read-only paths and masks, by fds of the very proc and sysfs mounted above; pivot_root.
//  11. stdio, keyring, limits, working directory, close-on-exec for all else.
//  12. Bounding set, groups, ids, capabilities, no_new_privs: each takes away what the one before needed.
//  13. The gate: podlet's word that its record stands. Then the seccomp filter, which so need not allow any step of a launch, and execve.
package launch
