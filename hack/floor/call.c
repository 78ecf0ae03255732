/* call.c - system calls that must succeed. */
#include "floor.h"

#include <linux/openat2.h>
#include <linux/sched.h>
#include <time.h>

static int mark = NO_FD;

void die_into(int fd) { mark = fd; }

void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	if (mark != NO_FD && write(mark, "!", 1) < 0)
		_exit(2);
	_exit(1);
}

long must(long result, const char *what)
{
	if (result < 0)
		die(what);
	return result;
}

/* clone_process is fork(2) with flags. cgroup: a v2 directory to start in, or NO_FD. pidfd may be 0. */
pid_t clone_process(uint64_t flags, int cgroup, int *pidfd)
{
	struct clone_args args = {.flags = flags, .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD};

	if (cgroup != NO_FD) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup;
	}
	if (pidfd != 0) {
		args.flags |= CLONE_PIDFD;
		args.pidfd = (uint64_t)(uintptr_t)pidfd;
	}
	return (pid_t)must(syscall(SYS_clone3, &args, sizeof(args)), "clone3");
}

/* open_below returns -1 where the path isn't there. */
int open_below(int dir, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = resolve};
	long fd;

	if (flags & O_CREAT)
		how.mode = 0644;
	fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
		die(path);
	return (int)fd;
}

/* The close comes last: it may be what another thread waits for, which then no longer has what fd points to. */
void close_fd(int *fd)
{
	int old = *fd;

	*fd = NO_FD;
	if (old >= 0)
		close(old);
}

/* Nanoseconds of the monotonic clock. */
uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
