/* mount.c - the detached mounts that podlet prepares for a pod and its container. */
#include "floor.h"

#include <sys/sysmacros.h>

#define QUIET (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

static int create(int context, unsigned attrs, const char *type)
{
	int fd;

	must(fsconfig(context, FSCONFIG_CMD_CREATE, 0, 0, 0), type);
	fd = (int)must(fsmount(context, FSMOUNT_CLOEXEC, attrs), type);
	close(context);
	return fd;
}

/* new_fs: options end with a key of 0; a value of 0 makes a flag. */
int new_fs(const char *type, unsigned attrs, const struct option *options)
{
	int context = (int)must(fsopen(type, FSOPEN_CLOEXEC), type);

	for (; options != 0 && options->key != 0; options++)
		must(fsconfig(context, options->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, options->key, options->value, 0), options->key);
	return create(context, attrs, type);
}

/* attach mounts on path below target, or on target itself if path is "". */
void attach(int mount, int target, const char *path)
{
	must(move_mount(mount, "", target, path, MOVE_MOUNT_F_EMPTY_PATH | (*path ? 0 : MOVE_MOUNT_T_EMPTY_PATH)), path);
}

int clone_mount(int dir, const char *path, int recursive)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0) | (*path ? 0 : AT_EMPTY_PATH);

	return (int)must(open_tree(dir, path, flags), path);
}

void set_attr(int mount, int recursive, uint64_t set)
{
	struct mount_attr attr = {.attr_set = set};

	must(mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof(attr)), "mount_setattr");
}

void make_masks(void)
{
	static const struct option small[] = {{"mode", "755"}, {"nr_inodes", "8"}, {"size", "4096"}, {0, 0}};
	int nulls;

	floor_.empty = new_fs("tmpfs", MOUNT_ATTR_RDONLY | QUIET, small);
	nulls = new_fs("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, small);
	must(mknodat(nulls, "null", S_IFCHR | 0666, makedev(1, 3)), "mknod null");
	floor_.null = clone_mount(nulls, "null", 0);
	close(nulls);
}

static void make_file(int dir, const char *path, const char *content)
{
	int fd = (int)must(openat(dir, path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644), path);

	must(write(fd, content, strlen(content)), path);
	close(fd);
}

int make_pod_root(void)
{
	static const struct option options[] = {{"source", "tmpfs"}, {"size", "4194304"}, {"nr_inodes", "128"}, {"mode", "755"}, {0, 0}};
	static const char *const dirs[] = {"proc", "sys", "dev", "dev/shm", "dev/mqueue", "etc"};
	int root = new_fs("tmpfs", QUIET, options);

	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		must(mkdirat(root, dirs[i], 0755), dirs[i]);
	make_file(root, "etc/hosts", "127.0.0.1\tlocalhost\n");
	make_file(root, "etc/hostname", "floor\n");
	make_file(root, "etc/resolv.conf", "nameserver 127.0.0.1\n");
	return root;
}

int make_shm(void)
{
	static const struct option options[] = {{"source", "tmpfs"}, {"size", "67108864"}, {"nr_inodes", "65536"}, {"mode", "1777"}, {0, 0}};

	return new_fs("tmpfs", QUIET, options);
}

int make_dev(void)
{
	static const struct option options[] = {{"source", "tmpfs"}, {"mode", "755"}, {"size", "65536k"}, {"nr_inodes", "16384"}, {0, 0}};
	static const struct { const char *name; unsigned major, minor; } nodes[] = {
		{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
	};
	static const struct { const char *name, *target; } links[] = {
		{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
		{"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"}, {"core", "/proc/kcore"},
	};
	static const char *const dirs[] = {"pts", "shm", "mqueue"};
	int dev = new_fs("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME, options);

	for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
		must(mknodat(dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].name);
		must(fchmodat(dev, nodes[i].name, 0666, 0), nodes[i].name);
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		must(symlinkat(links[i].target, dev, links[i].name), links[i].name);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		must(mkdirat(dev, dirs[i], 0755), dirs[i]);
	return dev;
}

int make_devpts(void)
{
	static const struct option options[] = {{"source", "devpts"}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}, {0, 0}};

	return new_fs("devpts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, options);
}

/* make_overlay makes the writable layer too. */
int make_overlay(struct pod *p)
{
	static const struct option options[] = {
		{"index", "off"}, {"metacopy", "off"}, {"redirect_dir", "nofollow"}, {"volatile", 0}, {"source", "overlay"}, {0, 0},
	};
	int context, upper, work;

	must(mkdirat(floor_.scratch, p->id, 0711), "writable layer");
	p->layer = (int)must(openat(floor_.scratch, p->id, O_PATH | O_DIRECTORY | O_CLOEXEC), "writable layer");
	must(mkdirat(p->layer, "upper", 0755), "upper");
	must(mkdirat(p->layer, "work", 0755), "work");
	upper = (int)must(openat(p->layer, "upper", O_PATH | O_DIRECTORY | O_CLOEXEC), "upper");
	work = (int)must(openat(p->layer, "work", O_PATH | O_DIRECTORY | O_CLOEXEC), "work");

	context = (int)must(fsopen("overlay", FSOPEN_CLOEXEC), "overlay");
	for (const struct option *o = options; o->key != 0; o++)
		must(fsconfig(context, o->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, o->key, o->value, 0), o->key);
	for (int i = 0; i < floor_.nlower; i++)
		must(fsconfig(context, FSCONFIG_SET_FD, "lowerdir+", 0, floor_.lower[i]), "lowerdir+");
	must(fsconfig(context, FSCONFIG_SET_FD, "upperdir", 0, upper), "upperdir");
	must(fsconfig(context, FSCONFIG_SET_FD, "workdir", 0, work), "workdir");
	close(upper);
	close(work);
	return create(context, 0, "overlay");
}

/* make_cgroup_mounts clones the container's own cgroups for its /sys/fs/cgroup. */
void make_cgroup_mounts(struct pod *p, struct launch *l)
{
	static const struct option options[] = {{"source", "tmpfs"}, {"size", "65536"}, {"nr_inodes", "64"}, {"mode", "755"}, {0, 0}};
	int only_v2 = floor_.ntrees == 1 && floor_.trees[0].v2;

	l->cgroup_root = NO_FD;
	if (!only_v2) {
		l->cgroup_root = new_fs("tmpfs", QUIET, options);
		for (int i = 0; i < floor_.ntrees; i++)
			must(mkdirat(l->cgroup_root, floor_.trees[i].name, 0755), floor_.trees[i].name);
		set_attr(l->cgroup_root, 0, MOUNT_ATTR_RDONLY);
	}
	for (int i = 0; i < floor_.ntrees; i++) {
		int dir = (int)must(openat(floor_.trees[i].parent, p->id, O_PATH | O_DIRECTORY | O_CLOEXEC), "cgroup");

		l->cgroups[i] = clone_mount(dir, "", 0);
		set_attr(l->cgroups[i], 0, MOUNT_ATTR_RDONLY | QUIET);
		close(dir);
	}
}

/* enter makes a mounted root the root of this mount namespace and drops the old one. */
void enter(int root)
{
	must(fchdir(root), "fchdir");
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount2");
	must(chdir("/"), "chdir");
}
