/* exec.c - a command in the container. */
#include "floor.h"

static void __attribute__((noreturn)) command(struct pod *p, int *joins, int stdio[3])
{
	static char *const argv[] = {"/bin/true", 0};

	must(setsid(), "setsid");
	for (int i = 0; i < floor_.ntrees; i++)
		if (floor_.trees[i].pids)
			join(joins[i]);
	must(setns(p->app_fd, CLONE_NEWCGROUP), "setns");
	become(stdio, argv[0], argv);
}

static void __attribute__((noreturn)) enter_container(struct pod *p, int *joins, int cgroup, int stdio[3])
{
	int file;

	must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable");
	for (int i = 0; i < floor_.ntrees; i++)
		if (!floor_.trees[i].pids && joins[i] != NO_FD)
			join(joins[i]);
	file = (int)must(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC), "oom_score_adj");
	if (write(file, "0", 1) < 0 && errno != EACCES && errno != EPERM)
		die("oom_score_adj");
	close(file);
	must(setns(p->app_fd, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS), "setns");
	if (clone_process(CLONE_PARENT, cgroup, 0) == 0)
		command(p, joins, stdio);
	_exit(0);
}

/* exec_true runs /bin/true and waits for its end. */
void exec_true(struct pod *p)
{
	int joins[MAX_TREES], stdio[3], read_ends[2], pipe_fds[2], status = 0, failed = 0;
	int cgroup = make_exec_cgroup(p);
	char byte;

	open_joins(p, joins);
	stdio[0] = (int)must(open("/dev/null", O_RDONLY | O_CLOEXEC), "/null");
	for (int i = 0; i < 2; i++) {
		must(pipe2(pipe_fds, O_CLOEXEC), "pipe");
		read_ends[i] = pipe_fds[0];
		stdio[i + 1] = pipe_fds[1];
	}
	if (clone_process(0, NO_FD, 0) == 0)
		enter_container(p, joins, cgroup, stdio);
	for (int i = 0; i < floor_.ntrees; i++)
		close_fd(&joins[i]);
	for (int i = 0; i < 3; i++)
		close_fd(&stdio[i]);
	for (int i = 0; i < 2; i++) {
		must(read(read_ends[i], &byte, 1), "read output");
		close(read_ends[i]);
	}
	/* The intermediate and the command; pause is a child as well, but doesn't end. */
	for (int i = 0; i < 2; i++) {
		must(waitpid(-1, &status, __WALL), "wait");
		failed |= status;
	}
	if (failed != 0) {
		errno = ECANCELED;
		die("the command");
	}
	close_fd(&cgroup);
	remove_exec_cgroup(p);
}
