/*
 * pause.c - taking up a role. Until server_run a failure is a death with a reason; from there on nothing ends the
 * process but SIGKILL, or for the nursery the end of its socket.
 */
#include "launch.h"
#include "memory.h"
#include "pause.h"
#include "title.h"
#include "watch.h"

static struct server server;

/* In the hosted build the fatal signals and fd 2 belong to the sanitizers' reports. */
#ifdef HOSTED
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/*
 * SIGKILL apart, the kernel shields a PID namespace's first process from every signal it has no handler for. A pause that got a SIGSEGV
 * must be dead and not live on, so that the kernel takes its pod back: handlers that exit.
 */
static void die(int signal) { sys_exit(128 + signal); }

static u64 bit(int signal) { return 1ul << (signal - 1); }

static void set_signals(void)
{
	u64 fatal = bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGFPE) | bit(SIGABRT), rest = ~fatal;
	struct sigaction normal = {.sa_handler = SIG_DFL};
	struct sigaction deadly = {.sa_handler = die};

#ifdef SA_RESTORER
	/* amd64 delivers nothing without one; die never returns to it. */
	deadly.sa_flags = SA_RESTORER;
	deadly.sa_restorer = (__sigrestore_t)die;
#endif
	sys_sigprocmask(SIG_SETMASK, &rest);
	for (int i = 1; i <= 64; i++) {
		if (rest & bit(i))
			sys_sigaction(i, &normal);	/* podlet may have been started with some ignored */
		else if (!SANITIZED)
			sys_sigaction(i, &deadly);
	}
}

/* Fills fds 0 to 2 with a file that reads as empty and refuses writes, so that no fd of use ever has such a number. */
static int fill_stdio(void)
{
	long fd = sys_memfd_create("podlet-nothing", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return (int)fd;
	sys_fcntl((int)fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	for (int i = 0; i <= (SANITIZED ? 1 : 2); i++)
		if (fd != i)
			sys_dup3((int)fd, i, O_CLOEXEC);
	if (fd > 2)
		sys_close((int)fd);
	return 0;
}

static void raise_fd_limit(void)
{
	struct rlimit64 limit;

	if (sys_prlimit(RLIMIT_NOFILE, 0, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		sys_prlimit(RLIMIT_NOFILE, &limit, 0);
	}
}

void nursery_main(int fd)
{
	struct server *s = &server;

	set_signals();
	raise_fd_limit();
	/* Invariant 3: all that is cloned from here inherits it, up to an execve. */
	if (sys_prctl(PR_SET_DUMPABLE, 0, 0) < 0 || fill_stdio() < 0)
		sys_exit(LAUNCH_FAILED);
	sys_close_range((u32)fd + 1, ~0u);
	title_set("podlet-nursery", "");
	if (server_open(s, ROLE_NURSERY) < 0)
		sys_exit(LAUNCH_FAILED);
	conn_open(&s->conn, fd);
	if (watch(s, fd, EPOLLIN, WATCH_CONN) < 0)
		sys_exit(LAUNCH_FAILED);
	server_run(s);
}

void pause_main(struct server *s, int listen, const int *cgroups, u32 ncgroups, const char *name, struct tape_status *status)
{
	struct tape_status *nursery_status = s->status;
	u64 nursery_size = s->table.limit * sizeof(*s->status);
	int error;

	title_set("podlet-pause", name);
	set_signals();
	/* Back to zeroes, pages given back: the nursery's table is no business of a pod's. */
	sys_madvise(s, sizeof(*s), MADV_DONTNEED);
	error = server_open(s, ROLE_PAUSE);
	s->log.ncgroups = ncgroups;
	memcpy(s->log.cgroups, cgroups, ncgroups * sizeof(int));
	s->listen = listen;
	if (error == 0)
		error = watch(s, listen, EPOLLIN, WATCH_LISTEN);
	if (error < 0) {
		status->error = -error;
		sys_exit(LAUNCH_FAILED);
	}
	status->done = 1;
	sys_munmap(nursery_status, nursery_size);
	server_run(s);
}
