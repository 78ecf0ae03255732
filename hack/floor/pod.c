/* pod.c - a pod's coming and going. */
#include "floor.h"

#include <ftw.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define QUIET (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

static void attach_new(const char *type, const char *path)
{
	int mount = new_fs(type, QUIET, 0);

	attach(mount, AT_FDCWD, path);
	close(mount);
}

static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int s = (int)must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");

	must(ioctl(s, SIOCSIFFLAGS, &request), "bring lo up");
	close(s);
}

/* The pod's PID 1: sets the pod's own tree up, launches the container and stays. */
static void __attribute__((noreturn)) pause_main(struct pod *p, struct launch *l)
{
	pid_t child;

	/* A floor that dies takes its pod along: nobody else knows of it. */
	must(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "die with main");
	must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable");
	attach(l->pod_root, AT_FDCWD, "/pod");
	attach_new("proc", "/pod/proc");
	attach_new("sysfs", "/pod/sys");
	attach(l->shm, AT_FDCWD, "/pod/dev/shm");
	attach_new("mqueue", "/pod/dev/mqueue");
	if (p->network != HOST_NETWORK) {
		must(sethostname("floor", 5), "sethostname");
		loopback_up();
	}
	child = clone_process(0, NO_FD, 0);
	if (child == 0)
		intermediate(l);
	must(close_range(3, ~0u, 0), "close_range");
	/* The intermediate is a child that tells with SIGCHLD; the app is waited for with __WALL. */
	must(waitpid(child, 0, 0), "wait");
	while (waitpid(-1, 0, __WALL) > 0)
		;
	for (;;)
		pause();
}

/*
 * The nursery is a second thread of this process, but with a mount namespace of its own that holds nothing of the host: pods are cloned
 * from there, as podlet's are from its nursery, so that none copies the host's mount table. It shares memory and fds; main waits while it works.
 */
static struct { int wake[2]; struct pod *pod; struct launch *launch; uint64_t flags; pid_t pause; } nursery;

static void close_launch(struct launch *l)
{
	close_fd(&l->pod_root);
	close_fd(&l->shm);
	close_fd(&l->root);
	close_fd(&l->dev);
	close_fd(&l->devpts);
	close_fd(&l->v2);
	close_fd(&l->cgroup_root);
	for (int i = 0; i < floor_.ntrees; i++) {
		close_fd(&l->cgroups[i]);
		close_fd(&l->joins[i]);
	}
	for (int i = 0; i < 3; i++)
		close_fd(&l->stdio[i]);
	close_fd(&l->ended);
}

static void leave_host(void)
{
	static const struct option options[] = {{"size", "65536"}, {"nr_inodes", "64"}, {"mode", "755"}, {0, 0}};
	int root;

	must(unshare(CLONE_NEWNS), "unshare");
	must(mount("", "/", "", MS_REC | MS_PRIVATE, ""), "make mounts private");
	root = new_fs("tmpfs", QUIET, options);
	must(mkdirat(root, "container", 0755), "/container");
	must(mkdirat(root, "pod", 0755), "/pod");
	attach(root, AT_FDCWD, "/");
	enter(root);
	close(root);
	/* Two more, for podlet's nursery has them: what masks are cloned from. */
	must(mkdir("/dir", 0755), "/dir");
	must(mknod("/file", S_IFREG | 0444, 0), "/file");
	attach(clone_mount(floor_.empty, "", 0), AT_FDCWD, "/dir");
	attach(clone_mount(floor_.null, "", 0), AT_FDCWD, "/file");
}

static int nursery_main(void *unused)
{
	char byte;

	(void)unused;
	must(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "die with main");
	leave_host();
	for (;;) {
		must(read(nursery.wake[0], &byte, 1) - 1, "wait for main");
		/* A child of main's: main reaps it. */
		nursery.pause = clone_process(nursery.flags | CLONE_PARENT, NO_FD, &nursery.pod->pause);
		if (nursery.pause == 0) {
			die_into(nursery.launch->ended);
			pause_main(nursery.pod, nursery.launch);
		}
		close_launch(nursery.launch);
	}
}

void start_nursery(void)
{
	static char stack[1 << 16] __attribute__((aligned(16)));

	must(pipe2(nursery.wake, O_CLOEXEC), "pipe");
	must(clone(nursery_main, stack + sizeof(stack), CLONE_VM | CLONE_FILES | SIGCHLD, 0), "clone the nursery");
}

/* The mount of a network namespace on a file, as ip-netns(8) has them. The namespace is the caller's to close. */
static int pin(struct pod *p, pid_t pause)
{
	char path[64];
	int ns, file, mount;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pause);
	ns = (int)must(open(path, O_RDONLY | O_CLOEXEC), path);
	file = (int)must(openat(floor_.pins, p->id, O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0), "pin");
	mount = clone_mount(ns, "", 0);
	attach(mount, file, "");
	close(mount);
	close(file);
	return ns;
}

static void unpin(struct pod *p)
{
	char path[64];
	int file = (int)must(openat(floor_.pins, p->id, O_PATH | O_CLOEXEC), "pin");

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	must(umount2(path, MNT_DETACH), path);
	close(file);
	must(unlinkat(floor_.pins, p->id, 0), "pin");
}

/* Fills app and app_fd: the newest child of pause's; the intermediate may not be reaped yet. */
static void find_app(struct pod *p, pid_t pause)
{
	char path[64], text[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pause, pause);
	fd = (int)must(open(path, O_RDONLY | O_CLOEXEC), path);
	must(read(fd, text, sizeof(text) - 1), path);
	close(fd);
	for (char *rest = text, *word; (word = strsep(&rest, " ")) != 0;)
		if (*word != 0)
			p->app = atoi(word);
	p->app_fd = (int)must(syscall(SYS_pidfd_open, p->app, 0), "pidfd_open");
}

void pod_up(struct pod *p, enum network network)
{
	static unsigned count;
	struct launch l;
	int started[2], pipe_fds[2];
	char byte;

	snprintf(p->id, sizeof(p->id), "floor-%d-%u", getpid(), count++);
	p->network = network;
	l.pod_root = make_pod_root();
	l.shm = make_shm();
	make_cgroup(p);
	/* A mount with nothing above it: who looks at the fd before its execve can climb nowhere. */
	l.v2 = p->v2 == NO_FD ? NO_FD : clone_mount(p->v2, "", 0);
	l.root = make_overlay(p);
	l.dev = make_dev();
	l.devpts = make_devpts();
	make_cgroup_mounts(p, &l);
	open_joins(p, l.joins);
	l.stdio[0] = (int)must(open("/dev/null", O_RDONLY | O_CLOEXEC), "/null");
	for (int i = 0; i < 2; i++) {
		must(pipe2(pipe_fds, O_CLOEXEC), "pipe");
		p->output[i] = pipe_fds[0];
		l.stdio[i + 1] = pipe_fds[1];
	}
	must(pipe2(started, O_CLOEXEC), "pipe");
	l.ended = started[1];

	nursery.pod = p;
	nursery.launch = &l;
	nursery.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | (network != HOST_NETWORK ? CLONE_NEWNET | CLONE_NEWUTS : 0);
	must(write(nursery.wake[1], "!", 1), "wake the nursery");
	/* The write end is closed by the app's execve, and by whoever dies. */
	if (read(started[0], &byte, 1) != 0)
		die("launch");
	close(started[0]);
	if (network != HOST_NETWORK) {
		int ns = pin(p, nursery.pause);

		if (network == BRIDGED)
			plug(ns);
		close(ns);
	}
	find_app(p, nursery.pause);
}

void pod_down(struct pod *p)
{
	struct pollfd end = {.fd = p->pause, .events = POLLIN};

	must(syscall(SYS_pidfd_send_signal, p->pause, SIGKILL, 0, 0), "kill");
	must(poll(&end, 1, -1), "poll");
	must(waitid(P_PIDFD, (id_t)p->pause, 0, WEXITED), "wait");
	close_fd(&p->pause);
	close_fd(&p->app_fd);
	close_fd(&p->output[0]);
	close_fd(&p->output[1]);
	if (p->network != HOST_NETWORK)
		unpin(p);
	remove_cgroup(p);
	/* podlet renames a writable layer out of the way and deletes it later. */
	must(renameat(floor_.scratch, p->id, floor_.scratch, "trash"), "rename");
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st, (void)type, (void)where;
	return (int)must(remove(path), path);
}

/* take_out deletes the writable layer of the pod that was ended, outside of what is measured. */
void take_out(const char *scratch)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/trash", scratch);
	if (access(path, F_OK) == 0)
		must(nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS), path);
}
