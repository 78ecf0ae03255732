/* cgroup.c - the cgroups of a container, in every tree that podlet's containers join. */
#include "floor.h"

#include <linux/bpf.h>
#include <mntent.h>

static const char *const managed[] = {"cpu", "cpuacct", "cpuset", "memory", "blkio", "pids", "hugetlb"};

static int is_managed(const char *controller)
{
	for (size_t i = 0; i < sizeof(managed) / sizeof(*managed); i++)
		if (strcmp(controller, managed[i]) == 0)
			return 1;
	return 0;
}

/* The controllers of a v1 mount are among its options; "name=systemd" has none. */
static int wanted(struct tree *t, const char *options)
{
	char copy[512], *rest = copy, *word;
	int found = 0;

	snprintf(copy, sizeof(copy), "%s", options);
	while ((word = strsep(&rest, ",")) != 0) {
		if (!is_managed(word))
			continue;
		found = 1;
		t->cpuset |= strcmp(word, "cpuset") == 0;
		t->pids |= strcmp(word, "pids") == 0;
	}
	return found;
}

static void read_file(int dir, const char *path, char *into, size_t size)
{
	int fd = (int)must(openat(dir, path, O_RDONLY | O_CLOEXEC), path);
	long n = must(read(fd, into, size - 1), path);

	into[n] = 0;
	close(fd);
}

static void write_file(int dir, const char *path, const char *text)
{
	int fd = (int)must(openat(dir, path, O_WRONLY | O_CLOEXEC), path);

	must(write(fd, text, strlen(text)), path);
	close(fd);
}

/* find_trees finds the trees and opens the cgroup parent, an absolute path that is there already, in each. */
void find_trees(const char *parent)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *m;

	if (mounts == 0)
		die("/proc/self/mounts");
	while ((m = getmntent(mounts)) != 0 && floor_.ntrees < MAX_TREES) {
		struct tree t = {.v2 = strcmp(m->mnt_type, "cgroup2") == 0};
		char path[1024];

		if (strncmp(m->mnt_dir, "/sys/fs/cgroup", 14) != 0)
			continue;
		if (!t.v2 && (strcmp(m->mnt_type, "cgroup") != 0 || !wanted(&t, m->mnt_opts)))
			continue;
		snprintf(t.name, sizeof(t.name), "%s", t.v2 ? "unified" : strrchr(m->mnt_dir, '/') + 1);
		snprintf(path, sizeof(path), "%s%s", m->mnt_dir, parent);
		t.parent = (int)must(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), path);
		if (t.cpuset) {
			read_file(t.parent, "cpuset.cpus", t.cpus, sizeof(t.cpus));
			read_file(t.parent, "cpuset.mems", t.mems, sizeof(t.mems));
		}
		floor_.trees[floor_.ntrees++] = t;
	}
	endmntent(mounts);
}

/* load_device_program loads "return 1": what a program costs is its attaching, not its length. */
void load_device_program(void)
{
	const struct bpf_insn program[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insn_cnt = 2, .insns = (uintptr_t)program, .license = (uintptr_t)"Apache-2.0",
	};

	floor_.devices = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

void make_cgroup(struct pod *p)
{
	p->v2 = NO_FD;
	for (int i = 0; i < floor_.ntrees; i++) {
		struct tree *t = &floor_.trees[i];

		must(mkdirat(t->parent, p->id, 0755), t->name);
		if (t->cpuset) {
			int dir = (int)must(openat(t->parent, p->id, O_PATH | O_DIRECTORY | O_CLOEXEC), t->name);

			write_file(dir, "cpuset.cpus", t->cpus);
			write_file(dir, "cpuset.mems", t->mems);
			close(dir);
		}
		if (t->v2)
			p->v2 = (int)must(openat(t->parent, p->id, O_PATH | O_DIRECTORY | O_CLOEXEC), t->name);
	}
	if (p->v2 != NO_FD && floor_.devices >= 0) {
		int dir = (int)must(openat(p->v2, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "cgroup");
		union bpf_attr attr = {
			.target_fd = (uint32_t)dir, .attach_bpf_fd = (uint32_t)floor_.devices,
			.attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI,
		};

		must(syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)), "attach the device program");
		close(dir);
	}
}

/* open_joins leaves NO_FD for the v2 tree, which is cloned into. */
void open_joins(struct pod *p, int *joins)
{
	for (int i = 0; i < floor_.ntrees; i++) {
		char path[128];

		joins[i] = NO_FD;
		if (floor_.trees[i].v2)
			continue;
		snprintf(path, sizeof(path), "%s/tasks", p->id);
		joins[i] = (int)must(openat(floor_.trees[i].parent, path, O_WRONLY | O_CLOEXEC), path);
	}
}

void join(int file) { must(write(file, "0", 1), "join a cgroup"); }

/* A process that was just reaped holds its cgroup for some microseconds more. */
static void remove_dir(int parent, const char *name)
{
	while (unlinkat(parent, name, AT_REMOVEDIR) < 0)
		if (errno != EBUSY)
			die(name);
}

void remove_cgroup(struct pod *p)
{
	close_fd(&p->v2);
	for (int i = 0; i < floor_.ntrees; i++)
		remove_dir(floor_.trees[i].parent, p->id);
}

int make_exec_cgroup(struct pod *p)
{
	if (p->v2 == NO_FD)
		return NO_FD;
	must(mkdirat(p->v2, "exec", 0755), "exec's cgroup");
	return clone_mount(p->v2, "exec", 0);
}

void remove_exec_cgroup(struct pod *p)
{
	if (p->v2 != NO_FD)
		remove_dir(p->v2, "exec");
}
