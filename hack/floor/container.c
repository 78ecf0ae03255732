/* container.c - the two processes of a launch, in the order of podlet's tape. */
#include "floor.h"

#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
#define BENEATH (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)
#define QUIET (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

/* The bounding set of a container that asks for nothing, as other runtimes have it. */
static const uint64_t kept = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FSETID | 1u << CAP_FOWNER | 1u << CAP_MKNOD |
	1u << CAP_NET_RAW | 1u << CAP_SETGID | 1u << CAP_SETUID | 1u << CAP_SETFCAP | 1u << CAP_SETPCAP | 1u << CAP_NET_BIND_SERVICE |
	1u << CAP_SYS_CHROOT | 1u << CAP_KILL | 1u << CAP_AUDIT_WRITE;

static const char *const masked[] = {
	"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
	"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
};
static const char *const read_only[] = {"bus", "fs", "irq", "sys", "sysrq-trigger"};

/* The pod's own mounts, by their places in pause's tree and in the container's. */
static const struct { const char *from, *to; int file, read_only; } own[] = {
	{"/pod/sys", "sys", 0, 1}, {"/pod/dev/shm", "dev/shm", 0, 0}, {"/pod/dev/mqueue", "dev/mqueue", 0, 0},
	{"/pod/etc/hosts", "etc/hosts", 1, 0}, {"/pod/etc/hostname", "etc/hostname", 1, 0}, {"/pod/etc/resolv.conf", "etc/resolv.conf", 1, 0},
};
#define OWN (sizeof(own) / sizeof(*own))

/* Opens a mount point below root; one that isn't there is made, with its parent. */
static int mount_point(int root, const char *path, int file)
{
	int at = open_below(root, path, O_PATH | (file ? 0 : O_DIRECTORY), IN_ROOT);
	const char *slash = strrchr(path, '/');

	if (at >= 0)
		return at;
	if (slash != 0) {
		char parent[256];

		snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
		close(mount_point(root, parent, 0));
	}
	if (file)
		return open_below(root, path, O_CREAT | O_RDONLY | O_NONBLOCK, IN_ROOT);
	must(mkdirat(root, path, 0755), path);
	return open_below(root, path, O_PATH | O_DIRECTORY, IN_ROOT);
}

static void attach_at(int mount, int root, const char *path, int file)
{
	int at = mount_point(root, path, file);

	attach(mount, at, "");
	close(at);
}

static void mask(int proc, int sys, const char *path)
{
	int dir = strncmp(path, "/proc/", 6) == 0 ? proc : sys;
	const char *below = strchr(path + 1, '/') + 1;
	int source = floor_.empty, clone;
	int at = open_below(dir, below, O_PATH | O_DIRECTORY, BENEATH);

	if (at < 0) {
		at = open_below(dir, below, O_PATH, BENEATH);
		source = floor_.null;
	}
	if (at < 0)
		return;
	clone = clone_mount(source, "", 0);
	attach(clone, at, "");
	close(clone);
	close(at);
}

static void make_read_only(int proc, const char *path)
{
	int at = open_below(proc, path, O_PATH, BENEATH), clone;

	if (at < 0)
		return;
	clone = clone_mount(at, "", 1);
	set_attr(clone, 1, MOUNT_ATTR_RDONLY);
	attach(clone, at, "");
	close(clone);
	close(at);
}

/* become is the end of every launch: the state of the process, and the program. */
void become(int stdio[3], const char *path, char *const argv[])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = (uint32_t)kept, .permitted = (uint32_t)kept}, {.effective = 0},
	};
	struct rlimit files = {1024, 1024};
	static char *const env[] = {"PATH=/bin", 0};

	for (int i = 0; i < 3; i++)
		must(dup3(stdio[i], i, 0), "stdio");
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
	must(setrlimit(RLIMIT_NOFILE, &files), "limit open files");
	must(chdir("/"), "chdir");
	must(close_range(3, ~0u, CLOSE_RANGE_CLOEXEC), "close_range");
	for (int c = 0; c <= CAP_LAST_CAP; c++)
		if (!(kept >> c & 1))
			must(prctl(PR_CAPBSET_DROP, c, 0, 0, 0), "drop a capability");
	must(syscall(SYS_setgroups, 0, 0), "setgroups");
	must(syscall(SYS_setresgid, 0, 0, 0), "setresgid");
	must(syscall(SYS_setresuid, 0, 0, 0), "setresuid");
	must(syscall(SYS_capset, &header, data), "capset");
	execve(path, argv, env);
	die(path);
}

static void __attribute__((noreturn)) app(struct launch *l, int *mounts)
{
	static char *const argv[] = {"/bin/sleep", "1000000", 0};
	int proc, sys = NO_FD;

	must(setsid(), "setsid");
	for (int i = 0; i < floor_.ntrees; i++)
		if (floor_.trees[i].pids)
			join(l->joins[i]);
	must(unshare(CLONE_NEWCGROUP), "unshare");
	proc = new_fs("proc", QUIET, 0);
	attach(l->root, AT_FDCWD, "/container");
	attach_at(l->dev, l->root, "dev", 0);
	attach_at(mounts[0], l->root, own[0].to, 0);
	sys = mounts[0];
	attach_at(l->devpts, l->root, "dev/pts", 0);
	for (size_t i = 1; i < OWN; i++)
		attach_at(mounts[i], l->root, own[i].to, own[i].file);
	if (l->cgroup_root == NO_FD) {
		attach_at(l->cgroups[0], l->root, "sys/fs/cgroup", 0);
	} else {
		attach_at(l->cgroup_root, l->root, "sys/fs/cgroup", 0);
		for (int i = 0; i < floor_.ntrees; i++) {
			char path[128];

			snprintf(path, sizeof(path), "sys/fs/cgroup/%s", floor_.trees[i].name);
			attach_at(l->cgroups[i], l->root, path, 0);
		}
	}
	attach_at(proc, l->root, "proc", 0);
	for (size_t i = 0; i < sizeof(read_only) / sizeof(*read_only); i++)
		make_read_only(proc, read_only[i]);
	for (size_t i = 0; i < sizeof(masked) / sizeof(*masked); i++)
		mask(proc, sys, masked[i]);
	enter(l->root);
	become(l->stdio, argv[0], argv);
}

/* intermediate runs in pause's namespaces, as a child of pause. */
void intermediate(struct launch *l)
{
	int mounts[OWN], file;

	must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable");
	for (int i = 0; i < floor_.ntrees; i++)
		if (!floor_.trees[i].pids && l->joins[i] != NO_FD)
			join(l->joins[i]);
	file = (int)must(open("/pod/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC), "oom_score_adj");
	if (write(file, "0", 1) < 0 && errno != EACCES && errno != EPERM)
		die("oom_score_adj");
	close(file);
	for (size_t i = 0; i < OWN; i++) {
		mounts[i] = clone_mount(AT_FDCWD, own[i].from, 0);
		if (own[i].read_only)
			set_attr(mounts[i], 0, MOUNT_ATTR_RDONLY);
	}
	if (clone_process(CLONE_NEWNS | CLONE_NEWPID | CLONE_PARENT, l->v2, 0) == 0)
		app(l, mounts);
	_exit(0);
}
