// Package cgroup owns the cgroups of pods and containers: it makes them, puts
// limits on them, ends what runs in them and removes them, on all three layouts
// that Linux machines have.
//
//   - V2: /sys/fs/cgroup is one cgroup2 tree.
//   - V1: one tree for each controller (or group of them) below /sys/fs/cgroup.
//   - Hybrid: V1 and, beside it, a cgroup2 tree. Every container then has a
//     directory of the same path in the v2 tree too, and kill, "populated"
//     events, exec's child cgroups and the device program are the v2 ones. So
//     there is one way to end a set of processes wherever a v2 tree exists.
//
// Only the cgroupfs driver is here: directories are made with mkdir(2).
//
// # Invariants
//
//   - A path is a [Path], which only [ParsePath] and [Path.Child] make. It is
//     opened below the fd of its tree's root with openat2(RESOLVE_BENEATH),
//     never by a string from "/". Directories are made and removed below the same
//     fd, which takes no further one, so that a lack of fds never prevents undoing.
//   - A failed Create leaves no directory behind; a failed Update leaves every
//     file as it was. (Controllers that Create enabled in a cgroup that was
//     there before stay enabled: someone else may use them by then.)
//   - Controllers are enabled in directories of other owners only where a
//     requested limit needs them. See enable.go for the exact rule.
//   - A limit that the machine can't enforce is an error that names it. The one
//     exception is a swap limit that allows no swap (memory limit equal to
//     memory+swap limit) or any amount of it, on a kernel without swap
//     accounting: kubelets send the first with every memory limit.
//   - A cgroup has at most one device program of ours, replaced in place
//     (BPF_F_REPLACE), so that an update blocks no device for even a moment and
//     never adds to a list that can only shrink permissions.
//   - Nothing in here is frozen but by Kill on V1, which always thaws.
//
// # Which v1 trees a container joins
//
// cpu, cpuacct, cpuset, memory, blkio, pids and hugetlb; devices only where no
// device program can be had (see [Open]), freezer only where there is no v2
// tree. From the others nothing is used, so they are left out: net_cls, net_prio,
// perf_event, named ones. A process is in those where its parent was.
// [Hierarchy.V1Mounts] names the trees in which a container has a cgroup of its
// own: mount only those into it, or it sees the host's directories in the others.
//
// The seven are joined whether or not a limit of theirs is asked for: the cgroup
// parent is a promise, and a kubelet's pod cgroup limits pids and huge pages where
// its containers name none; an administrator's may limit CPUs and disks; cadvisor
// reads their use. Leaving one out would save 0.04 ms of mkdir(2) and rmdir(2) and
// 0.01 ms of the start (Linux 6.18). What used to be dear in a join, up to 16 ms
// whatever the number of trees, is avoided: see [JoinFile].
//
// # What github.com/containerd/cgroups does here
//
// It converts cpu.shares (cpu.go); the tests ask it for a second opinion on the
// layout, on limits and on use. It makes, limits, kills and removes nothing. On v2
// it walks by string, enables controllers from the root down in other owners'
// cgroups, stacks device programs that can only shrink permissions, and kills by
// pid. On v1 it makes a directory in every tree there is, opens by string, and
// writes the values in an order that knows nothing of what stands there, so that
// an update can neither be taken back nor lower memory and memory+swap together.
// For statistics it opens each file anew, on v1 17 of the memory controller in
// place of the four that CRI needs, and takes one that is missing for 0: see [Meter].
//
// # Locks
//
// Group.update serialises Update of one group. Hierarchy.programs guards the
// cache of loaded device programs and is taken inside Group.update; no blocking
// call but bpf(2) is made under it. Meter.mu is held while one cgroup's counters
// are read, and taken inside no other. Everything else has no lock: the kernel's
// cgroup_mutex is the one that counts.
package cgroup
