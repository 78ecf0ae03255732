/*
 * launch.c - CLONE: start a child and let it play a tape.
 *
 * The child begins by closing every fd that isn't the tape's own. From there to its execve it is a host process in
 * disguise: non-dumpable (inherited), and with nothing open that a container could find through it.
 */
#include "init.h"
#include "launch.h"
#include "memory.h"
#include "output.h"
#include "pause.h"
#include "server.h"

/* Everything about one CLONE on its way. */
struct launch {
	const struct msg_clone *m;
	struct clone_layout layout;
	struct tape tape;
	void *base;		/* the mapped tape, or 0 */
	u64 size;
	u32 forks;		/* the tape has a FORK step */
};

/* Maps the tape in fd, provided that nobody can change it any more. */
static int map_tape(struct launch *l, int fd)
{
	int sealed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	struct stat st;
	long seals = sys_fcntl(fd, F_GET_SEALS, 0), p;

	if (seals < 0 || (seals & sealed) != sealed || sys_fstat(fd, &st) < 0)
		return -EINVAL;
	if (st.st_size <= 0 || st.st_size > (long)TAPE_MAX_SIZE)
		return -EINVAL;
	p = sys_mmap((u64)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	if (sys_failed(p))
		return (int)p;
	l->base = (void *)p;
	l->size = (u64)st.st_size;
	return 0;
}

static void unmap_tape(struct launch *l)
{
	if (l->base != 0)
		sys_munmap(l->base, l->size);
	l->base = 0;
}

static int load_tape(struct server *s, struct launch *l)
{
	int error = map_tape(l, s->conn.fds[l->m->tape_fds]);

	if (error == 0)
		error = tape_validate(&l->tape, l->base, l->size, l->layout.count);
	for (u32 i = 0; error == 0 && i < l->tape.header->nsteps; i++)
		l->forks |= l->tape.steps[i].flags & TAPE_STEP_FORK;
	/* The nursery can't play on as somebody else, and a pod has one pause. */
	if (error == 0 && l->forks && (l->m->kind == CLONE_SELF || l->m->kind == CLONE_PAUSE))
		error = -EINVAL;
	return error;
}

/* Closes every fd from 3 on but the n in keep, which it sorts. They came in ascending order but for gaps that were filled. */
static void close_all_but(int *keep, u32 n)
{
	u32 next = 3;

	for (u32 i = 1; i < n; i++)
		for (u32 k = i; k > 0 && keep[k - 1] > keep[k]; k--) {
			int swap = keep[k];

			keep[k] = keep[k - 1];
			keep[k - 1] = swap;
		}
	for (u32 i = 0; i < n; i++) {
		if ((u32)keep[i] > next)
			sys_close_range(next, (u32)keep[i] - 1);
		next = (u32)keep[i] + 1;
	}
	sys_close_range(next, ~0u);
}

/* The fds that the child's role needs behind its tape. Returns how many it put into keep. */
static u32 role_fds(const struct server *s, const struct launch *l, int *keep)
{
	const struct msg_clone *m = l->m;
	u32 n = 0;

	if (m->kind == CLONE_INIT)
		keep[n++] = s->conn.fds[m->gate_fd];
	if (m->kind == CLONE_PAUSE)
		keep[n++] = s->conn.fds[m->listen_fd];
	for (u32 i = s->conn.nfds - m->writer_cgroup_fds; i < s->conn.nfds; i++)
		keep[n++] = s->conn.fds[i];
	return n;
}

/* keep holds the n fds of role_fds; they are copied because close_all_but sorts them, the message lies on the stack and outlives *s. */
static void __attribute__((noreturn)) become_pause(struct server *s, struct launch *l, int *keep, u32 n, struct tape_status *status)
{
	int listen = keep[0], cgroups[MAX_WRITER_CGROUPS];
	u32 ncgroups = n - 1;

	memcpy(cgroups, &keep[1], ncgroups * sizeof(int));
	close_all_but(keep, n);
	unmap_tape(l);
	pause_main(s, listen, cgroups, ncgroups, l->m->name, status);
}

static void __attribute__((noreturn)) child(struct server *s, struct launch *l, struct tape_status *status)
{
	const struct msg_clone *m = l->m;
	int *keep = s->keep;
	const int *fds = &s->conn.fds[l->layout.first];
	u64 none = 0;
	u32 n = role_fds(s, l, keep);

	memcpy(&keep[n], fds, l->layout.count * sizeof(int));
	close_all_but(keep, n + l->layout.count);
	if (m->kind == CLONE_EXEC || m->kind == CLONE_RUN)
		sys_sigprocmask(SIG_SETMASK, &none);
	if (tape_play(&l->tape, fds, status) < 0)
		sys_exit(LAUNCH_FAILED);
	if (m->kind == CLONE_EXEC) {
		status->step = l->tape.header->nsteps;
		status->error = ENOEXEC;	/* it ran out */
		sys_exit(LAUNCH_FAILED);
	}
	if (m->kind == CLONE_RUN) {
		status->done = 1;
		sys_exit(0);
	}
	n = role_fds(s, l, keep);
	if (m->kind == CLONE_INIT) {
		int gate = keep[0];

		close_all_but(keep, n);
		init_main(gate, m->name, status);
	}
	become_pause(s, l, keep, n, status);
}

/* The fds that stay with pause. */
static void keep_fds(struct server *s, struct process *p, const struct msg_clone *m)
{
	p->output[STDOUT] = conn_take(&s->conn, m->stdout_fd);
	p->output[STDERR] = conn_take(&s->conn, m->stderr_fd);
	p->input = conn_take(&s->conn, m->stdin_fd);
	output_begin(s, p, conn_take(&s->conn, m->log_fd));
}

static void start(struct server *s, struct launch *l, struct process *p)
{
	const struct msg_clone *m = l->m;
	struct tape_status *status = &s->status[process_slot(&s->table, p)];
	struct clone_args args = {
		.flags = m->clone_flags | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
		.pidfd = (u64)&p->pidfd,
		.exit_signal = SIGCHLD,
	};
	long pid;

	if (m->cgroup_fd != PROTO_NO_FD)
		args.cgroup = (u64)s->conn.fds[m->cgroup_fd];
	memset(status, 0, sizeof(*status));
	p->started = sys_clock(CLOCK_REALTIME);
	pid = sys_clone3(&args);
	if (pid == 0)
		child(s, l, status);
	if (pid < 0) {
		p->pidfd = NO_FD;	/* the kernel may have put a number there, and taken it back */
		answer_failed(s, m->h.seq, (int)-pid, FAILED_STEP_NONE);
		process_free(&s->table, p);
		return;
	}
	memcpy(p->id, m->id, sizeof(p->id));
	p->kind = m->kind;
	p->flags = m->flags;
	p->pid = (s32)pid;
	p->asker_seq = m->h.seq;
	p->asker = s->conn.generation;
	p->state = l->forks ? SLOT_LAUNCHING : SLOT_RUNNING;
	/* Before the answer: if podlet can't take that, the connection goes and all fds that nobody took go with it. */
	keep_fds(s, p, m);
	if (!l->forks)
		answer_cloned(s, m->h.seq, p);
}

/* CLONE_SELF: no child; the nursery itself goes where the tape leads. */
static void play_here(struct server *s, struct launch *l)
{
	struct tape_status status = {0};
	int error = tape_play(&l->tape, &s->conn.fds[l->layout.first], &status);

	if (error < 0)
		answer_failed(s, l->m->h.seq, -error, status.step);
	else
		answer_done(s, l->m->h.seq);
}

static int allowed(const struct server *s, const struct msg_clone *m)
{
	int nursery = s->role == ROLE_NURSERY;

	if ((m->kind == CLONE_PAUSE || m->kind == CLONE_SELF) && !nursery)
		return 0;
	/* The nursery has no log writer. */
	return !nursery || (m->stdout_fd == PROTO_NO_FD && m->stderr_fd == PROTO_NO_FD && m->stdin_fd == PROTO_NO_FD);
}

void launch(struct server *s, const struct msg_clone *m)
{
	struct launch l = {.m = m};
	struct process *p;
	int error = clone_check(m, s->conn.nfds, &l.layout);

	if (error == 0 && !allowed(s, m))
		error = -EPERM;
	if (error == 0 && m->kind != CLONE_SELF && process_find(&s->table, m->id))
		error = -EEXIST;
	if (error < 0) {
		answer_failed(s, m->h.seq, -error, FAILED_STEP_NONE);
		return;
	}
	error = load_tape(s, &l);
	if (error < 0)
		answer_failed(s, m->h.seq, -error, TAPE_STEP_INVALID);
	else if (m->kind == CLONE_SELF)
		play_here(s, &l);
	else if ((p = process_new(&s->table)) != 0)
		start(s, &l, p);
	else
		answer_failed(s, m->h.seq, EAGAIN, FAILED_STEP_NONE);
	unmap_tape(&l);
}
