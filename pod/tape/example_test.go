package tape_test

import (
	"os"

	"golang.org/x/sys/unix"

	"podlet/pod/tape"
)

// A small container: its root is mounted, entered and made the only one, its user is set, its program started.
func Example() {
	b := tape.New("container web/nginx")
	netns, cgroup := b.FD("netns"), b.FD("cgroup")
	rootfs, hosts, stdout := b.FD("rootfs"), b.FD("hosts"), b.FD("stdout")
	inRoot := tape.How{Flags: unix.O_PATH, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}

	b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "nobody looks inside before the execve")
	b.Setns(netns, unix.CLONE_NEWNET, "join the pod's network")
	b.Close(netns, "")
	b.Clone3(tape.Clone{Flags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_PARENT, Cgroup: cgroup}, "become the container")
	b.Close(cgroup, "")

	place := b.OpenAt2(tape.Cwd, "/container", tape.How{Flags: unix.O_PATH | unix.O_DIRECTORY}, "open the root's mount point")
	b.Attach(rootfs, place, "mount the root")
	b.Close(place, "")
	target := b.OpenAt2(rootfs, "/etc/hosts", inRoot, "find /etc/hosts")
	b.Unless(b.Last().Ignore(unix.ENOENT), func() {
		etc := b.OpenAt2(rootfs, "/etc", inRoot, "find /etc")
		b.Mknodat(etc, "hosts", unix.S_IFREG|0o644, 0, "make a mount point")
		b.Close(etc, "")
		b.Into(target)
		b.OpenAt2(rootfs, "/etc/hosts", inRoot, "find /etc/hosts")
	})
	b.Attach(hosts, target, "mount /etc/hosts")
	b.Close(target, "")
	b.Close(hosts, "")
	b.Fchdir(rootfs, "enter the root")
	b.Close(rootfs, "")
	b.PivotRoot(".", ".", "make the root the only one")
	b.Umount2(".", unix.MNT_DETACH, "leave the old root")
	b.Chdir("/srv", "enter the working directory")

	b.Dup3(stdout, 1, 0, "")
	b.Close(stdout, "")
	b.CloseRange(3, ^uint32(0), unix.CLOSE_RANGE_CLOEXEC, "nothing else goes with the app")
	b.Setgroups([]uint32{1000, 2000}, "")
	b.Setresgid(1000, "")
	b.Setresuid(1000, "become the container's user")
	b.Capset(0, 0, 0, "give up all capabilities")
	for _, dir := range []string{"/usr/bin", "/bin"} {
		b.Execve(dir+"/nginx", []string{"nginx", "-g", "daemon off;"}, []string{"PATH=/usr/bin:/bin", "KEY=secret"}, "start nginx").
			Try().Ignore(unix.ENOENT, unix.EACCES)
	}
	t, err := b.Finish()
	if err != nil {
		panic(err)
	}
	t.Explain(os.Stdout, tape.ExplainOptions{})
	// Output:
	// container web/nginx: 30 steps, passed fds <netns> <cgroup> <rootfs> <hosts> <stdout>
	//  0  prctl(PR_SET_DUMPABLE, 0)                                                         # nobody looks inside before the execve
	//  1  setns(<netns>, CLONE_NEWNET)                                                      # join the pod's network
	//  2  close(<netns>)
	//  3  clone3({flags=CLONE_PARENT|CLONE_NEWNS|CLONE_NEWPID|CLONE_INTO_CGROUP, cgroup=<cgroup>}) = the child plays on   # become the container
	//  4  close(<cgroup>)
	//  5  openat2(AT_FDCWD, "/container", {flags=O_PATH|O_DIRECTORY|O_CLOEXEC}) = [/container]        # open the root's mount point
	//  6  move_mount(<rootfs>, "", [/container], "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)           # mount the root
	//  7  close([/container])
	//  8  openat2(<rootfs>, "/etc/hosts", {flags=O_PATH|O_CLOEXEC, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}) = [rootfs/etc/hosts] or ENOENT       # find /etc/hosts
	//     unless the step above worked:
	//  9      openat2(<rootfs>, "/etc", {flags=O_PATH|O_CLOEXEC, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}) = [rootfs/etc]     # find /etc
	// 10      mknodat([rootfs/etc], "hosts", S_IFREG|0644, 0)                               # make a mount point
	// 11      close([rootfs/etc])
	// 12      openat2(<rootfs>, "/etc/hosts", {flags=O_PATH|O_CLOEXEC, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}) = [rootfs/etc/hosts]   # find /etc/hosts
	// 13  move_mount(<hosts>, "", [rootfs/etc/hosts], "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)      # mount /etc/hosts
	// 14  close([rootfs/etc/hosts])
	// 15  close(<hosts>)
	// 16  fchdir(<rootfs>)                                                                  # enter the root
	// 17  close(<rootfs>)
	// 18  pivot_root(".", ".")                                                              # make the root the only one
	// 19  umount2(".", MNT_DETACH)                                                          # leave the old root
	// 20  chdir("/srv")                                                                     # enter the working directory
	// 21  dup3(<stdout>, 1, 0)
	// 22  close(<stdout>)
	// 23  close_range(3, ~0, CLOSE_RANGE_CLOEXEC)                                           # nothing else goes with the app
	// 24  setgroups([1000, 2000])
	// 25  setresgid(1000, 1000, 1000)
	// 26  setresuid(1000, 1000, 1000)                                                       # become the container's user
	// 27  capset({self}, {effective=permitted=0, inheritable=0})                            # give up all capabilities
	// 28  execve("/usr/bin/nginx", ["nginx", "-g", "daemon off;"], /* 2 vars */) or ENOENT, EACCES (a try)      # start nginx
	// 29  execve("/bin/nginx", ["nginx", "-g", "daemon off;"], /* 2 vars */) or ENOENT, EACCES (a try)          # start nginx
}
