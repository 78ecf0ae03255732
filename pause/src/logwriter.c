/*
 * logwriter.c - the log writer's life, as pause has it; its work is in writer.c.
 *
 * The writers' ways into the pod's cgroups, of which podlet tells when it hears that there is a writer:
 *
 *	the first one		outside -> WRITER_CGROUPS: leaves -> the next one starts inside
 *	one that was killed	-> outside, for the first few records -> the next one starts inside
 *	the clone fails		-> outside, for the first few records -> START_NS later the next one is tried
 *
 * So whatever a pod's limits make of its writer, its lines get on; and what little is written outside has no more than START_NS's share.
 */
#include "log.h"
#include "logwriter.h"
#include "ring.h"
#include "writer.h"

#define START_NS	100000000ul	/* between two starts of a writer */
#define ASK_VERSION	3u		/* of the protocol, that has WRITER */

static int cgroups_known(const struct server *s) { return s->log.inside >= 0 || s->log.ncgroups > 0; }

static void forget_cgroups(struct server *s)
{
	close_fd(&s->log.inside);
	for (u32 i = 0; i < s->log.ncgroups; i++)
		close_fd(&s->log.cgroups[i]);
	s->log.ncgroups = 0;
}

/* Clones a writer, into the cgroup if it isn't NO_FD. */
static long clone_writer(struct server *s, int cgroup, const struct writer *w)
{
	struct clone_args args = {.flags = CLONE_FILES | CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD};
	struct ring *r = s->log.ring;
	long pid;

	if (cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (u64)cgroup;
	}
	sys_madvise(r, sizeof(*r), MADV_DOFORK);
	pid = sys_clone3(&args);
	if (pid == 0)
		writer_main(r, w);
	sys_madvise(r, sizeof(*r), MADV_DONTFORK);
	return pid;
}

static void start_writer(struct server *s)
{
	struct writer w = {s->log.event, WRITER_CHARGED, s->log.cgroups, s->log.ncgroups};
	long pid = -1;

	s->log.ring->leave = 0;
	s->log.retry = sys_clock(CLOCK_MONOTONIC) + START_NS;
	if (s->log.inside >= 0 && !s->log.outside)
		pid = clone_writer(s, s->log.inside, &w);
	/* Somebody has removed the cgroup while there was no writer in it. */
	if (pid == -ENOENT || pid == -ENODEV)
		forget_cgroups(s);
	if (pid < 0) {
		w.place = s->log.inside >= 0 ? WRITER_LEAVES : WRITER_STAYS;
		w.ncgroups = s->log.ncgroups;
		pid = clone_writer(s, NO_FD, &w);
	}
	s->log.outside = 0;
	if (pid < 0) {
		log_due_at(s, s->log.retry);
		return;
	}
	s->log.pid = (int)pid;
	logwriter_ask(s);
}

void logwriter_ask(struct server *s)
{
	struct msg_header m = {sizeof(m), MSG_WRITER, 0};

	if (s->log.pid != 0 && !cgroups_known(s) && s->conn.version >= ASK_VERSION)
		conn_send(&s->conn, &m, sizeof(m), NO_FD);
}

int logwriter_cgroups(struct server *s, const struct msg_writer *m)
{
	u32 first = s->conn.staged, n = s->conn.nfds - first;

	if (s->role != ROLE_PAUSE)
		return -EPERM;
	if (m->clone_into > 1 || m->reserved != 0 || n == 0 || n - m->clone_into > MAX_WRITER_CGROUPS)
		return -EINVAL;
	if (cgroups_known(s))
		return -EEXIST;
	if (m->clone_into)
		s->log.inside = conn_take(&s->conn, first);
	for (u32 i = m->clone_into; i < n; i++)
		s->log.cgroups[s->log.ncgroups++] = conn_take(&s->conn, first + i);
	if (s->log.pid == 0)
		return 0;
	__atomic_store_n(&s->log.ring->leave, 1, __ATOMIC_SEQ_CST);
	ring_kick(s->log.ring);
	s->log.retry = 0;
	return 0;
}

void logwriter_keep(struct server *s, u64 now)
{
	struct ring *r = s->log.ring;

	if (r == 0 || s->log.pid != 0 || ring_tail(r) == r->head)
		return;
	if (now >= s->log.retry)
		start_writer(s);
	else
		log_due_at(s, s->log.retry);
}
