/*
 * log.c - the log writer's life, and those who wait for it.
 *
 * A process's way through the ring:
 *
 *	first output		FILE record: the file, which until then is the supervisor's, is the writer's
 *	output			DATA records
 *	LOG, LOG_TURN		FILE record: a new file; what is held of an unfinished line goes there as a whole
 *	LOG without one, ACK	END record
 *
 * Who waits for the writer (an exit, a LOG, a stream without room, an entry to be freed, a FLUSH) is found by log_tick, which
 * looks through the table as long as s->log.waiting says that there may be one. Exits and LOGs wait up to DRAIN_NS, FLUSH for FLUSH_NS.
 *
 * The writers' ways into the pod's cgroups, of which podlet tells when it hears that there is a writer:
 *
 *	the first one		outside -> WRITER_CGROUPS: leaves -> the next one starts inside
 *	one that was killed	-> outside, for the first few records -> the next one starts inside
 *	the clone fails		-> outside, for the first few records -> START_NS later the next one is tried
 *
 * So whatever a pod's limits make of its writer, its lines get on; and what little is written outside has no more than START_NS's share.
 */
#include "format.h"
#include "log.h"
#include "output.h"
#include "ring.h"
#include "writer.h"

#define START_NS	100000000ul	/* between two starts of a writer */
#define TRIM_NS		1000000000ul	/* between two looks whether memory can be given back */
#define FLUSH_NS	250000000ul	/* the CPU limit of a pod may hold its writer up for a period, 100 ms as a rule */
#define ASK_VERSION	3u		/* of the protocol, that has WRITER */

int log_open(struct server *s)
{
	u64 size = s->table.limit * 2 * FORMAT_SEGMENT;
	struct ring *r = 0;
	long event, p;

	/* Made with the first line of output: most pods never write one. */
	if (s->log.ring != 0)
		return 1;
	p = sys_mmap(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, NO_FD);
	if (sys_failed(p))
		return 0;
	event = sys_eventfd();
	if (event >= 0 && server_watch(s, (int)event, EPOLLIN, WATCH_WRITER) == 0)
		r = ring_map();
	if (r == 0) {
		if (event >= 0)
			sys_close((int)event);
		sys_munmap((void *)p, size);
		return 0;
	}
	/* No child has any business with them, but for the writer with the ring. */
	sys_madvise(r, sizeof(*r), MADV_DONTFORK);
	sys_madvise((void *)p, size, MADV_DONTFORK);
	s->log.event = (int)event;
	s->log.held = (u8 *)p;
	s->log.ring = r;
	return 1;
}

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
	log_ask(s);
}

void log_ask(struct server *s)
{
	struct msg_header m = {sizeof(m), MSG_WRITER, 0};

	if (s->log.pid != 0 && !cgroups_known(s) && s->conn.version >= ASK_VERSION)
		conn_send(&s->conn, &m, sizeof(m), NO_FD);
}

int log_cgroups(struct server *s, const struct msg_writer *m)
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

void log_kick(struct server *s)
{
	if (s->log.pid == 0)
		s->log.waiting = 1;
	else
		ring_kick(s->log.ring);
}

void log_end(struct server *s, struct process *p)
{
	ring_push_control(s->log.ring, RECORD_END, process_slot(&s->table, p), 0, 0);
	p->log_data = s->log.ring->head;
	p->logged = 0;
	log_kick(s);
}

static void settle_switch(struct server *s, struct process *p, u64 now)
{
	if (p->log_due == 0 || (now < p->log_due && ring_tail(s->log.ring) < p->log_switched))
		return;
	p->log_due = 0;
	if (p->log_asker == s->conn.generation)
		answer_done(s, p->log_seq);
}

/* The old file is the log again, or still. What wasn't read meanwhile is read by log_tick. */
static void forget_ready(struct server *s, struct process *p)
{
	close_fd(&p->next_log);
	p->hold = 0;
	s->log.waiting = 1;
}

/* Whether p's log may be turned to another file now: the reserve for control records has room for one that waits a process. */
static int can_turn(struct server *s, struct process *p)
{
	/* It may be through with the one before since log_tick last looked. */
	settle_switch(s, p, 0);
	return p->log_switched == 0 || ring_tail(s->log.ring) >= p->log_switched;
}

/* The answer comes when the writer has got to `position`. */
static void answer_behind(struct server *s, struct process *p, u64 position, u64 seq)
{
	p->log_switched = position;
	p->log_seq = seq;
	p->log_asker = s->conn.generation;
	p->log_due = sys_clock(CLOCK_MONOTONIC) + DRAIN_NS;
	s->log.waiting = 1;
}

/* What is read from here on goes to file. */
static void turn_to(struct server *s, struct process *p, int file)
{
	if (!p->logged) {
		close_fd(&p->log);
		p->log = file;
		return;
	}
	ring_push_control(s->log.ring, RECORD_FILE, process_slot(&s->table, p), 0, (u64)file);
	p->log_data = p->log_switched = s->log.ring->head;
	log_kick(s);
}

static void stop_logging(struct server *s, struct process *p)
{
	for (u32 i = 0; i < 2; i++)
		if (!output_flush(s, p, i)) {
			p->dropped_bytes += p->held[i];
			p->dropped_lines++;
			p->held[i] = p->flush = 0;
		}
	log_end(s, p);
	p->log_switched = p->log_data;
}

int log_switch(struct server *s, struct process *p, u64 seq)
{
	u32 in_hand = s->conn.nfds - s->conn.staged;
	int was_logged;

	if (in_hand > 1)
		return -EINVAL;
	if (!can_turn(s, p))
		return -EBUSY;
	forget_ready(s, p);
	/* What was written before LOG belongs to the file before. */
	output_catch_up(s, p);
	was_logged = p->logged;
	if (in_hand || !was_logged)
		turn_to(s, p, in_hand ? conn_take(&s->conn, s->conn.staged) : NO_FD);
	else
		stop_logging(s, p);
	if (!was_logged)
		return 0;
	answer_behind(s, p, p->log_switched, seq);
	return 1;
}

int log_ready(struct server *s, struct process *p, u64 seq)
{
	if (s->conn.nfds - s->conn.staged != 1)
		return -EINVAL;
	if (!can_turn(s, p))
		return -EBUSY;
	output_catch_up(s, p);
	forget_ready(s, p);
	p->next_log = conn_take(&s->conn, s->conn.staged);
	p->hold = sys_clock(CLOCK_MONOTONIC) + READY_NS;
	output_hold(s, p);
	if (!p->logged)
		return 0;
	answer_behind(s, p, p->log_data, seq);
	return 1;
}

int log_turn(struct server *s, struct process *p)
{
	int file = p->next_log;

	if (file < 0)
		return -ENOENT;
	p->next_log = NO_FD;
	forget_ready(s, p);
	turn_to(s, p, file);
	return 0;
}

void log_heard(struct server *s)
{
	u64 count;

	sys_read(s->log.event, &count, sizeof(count));
	s->log.waiting = 1;
}

void log_died(struct server *s, int status)
{
	s->log.pid = 0;
	s->log.outside = status != 0;
	s->log.waiting = 1;
	ring_release(s->log.ring);
}

void log_due_at(struct server *s, u64 when)
{
	s->log.waiting = 1;
	if (s->log.due == 0 || when < s->log.due)
		s->log.due = when;
}

int log_timeout(const struct server *s)
{
	u64 now;

	if (s->log.due == 0)
		return -1;
	now = sys_clock(CLOCK_MONOTONIC);
	return s->log.due <= now ? 0 : (int)((s->log.due - now + 999999) / 1000000);
}

/* Whether a FLUSH waits for the last output of p. */
static int flush_waits(const struct server *s, const struct process *p)
{
	return s->log.flush_due != 0 && p->state == SLOT_EXITED && s->log.ring != 0 && ring_tail(s->log.ring) < p->log_data;
}

/* Does for p what can be done now. Returns the ring position that it waits for, or RING_NEVER. */
static u64 settle(struct server *s, struct process *p, u64 now)
{
	u64 want = RING_NEVER;

	if (p->state == SLOT_FREE)
		return want;
	if (p->hold != 0 && now >= p->hold)
		forget_ready(s, p);
	if ((p->stalled | p->flush) && p->hold == 0 && output_room(s))
		output_resume(s, p);
	exit_settle(s, p, now);
	settle_switch(s, p, now);
	if (p->state == SLOT_CLOSING)
		output_let_go(s, p);
	if (p->state == SLOT_FREE)
		return want;

	if (p->stalled | p->flush) {
		/* The writer may have made room since it was looked for: the wish is what brings this process back here, now or later. */
		if (p->hold == 0)
			want = s->log.ring->head - (RING_SIZE / 2 - RING_RESERVE);	/* as output_room has it */
	} else if (p->exit_due != 0 || p->state == SLOT_CLOSING || flush_waits(s, p)) {
		want = p->log_data;
	}
	if (p->log_due != 0 && p->log_switched < want)
		want = p->log_switched;
	if (p->exit_due != 0)
		log_due_at(s, p->exit_due);
	if (p->log_due != 0)
		log_due_at(s, p->log_due);
	if (p->hold != 0)
		log_due_at(s, p->hold);
	return want;
}

/* Whether all is in the logs that a FLUSH waits for. */
static int flushed(const struct server *s)
{
	for (u32 i = 0; i < s->table.top; i++) {
		const struct process *p = &s->table.entry[i];

		if ((p->state == SLOT_EXITED || p->state == SLOT_CLOSING) && !output_settled(s, p))
			return 0;
	}
	return s->log.ring == 0 || ring_tail(s->log.ring) >= s->log.flush_at;
}

/* Returns the ring position that a FLUSH waits for, or RING_NEVER. */
static u64 settle_flush(struct server *s, u64 now)
{
	if (s->log.flush_due == 0)
		return RING_NEVER;
	if (now < s->log.flush_due && !flushed(s)) {
		log_due_at(s, s->log.flush_due);
		/* Behind it there is still an entry of the table that waits. */
		return ring_tail(s->log.ring) >= s->log.flush_at ? RING_NEVER : s->log.flush_at;
	}
	s->log.flush_due = 0;
	if (s->log.flush_asker == s->conn.generation)
		answer_done(s, s->log.flush_seq);
	return RING_NEVER;
}

int log_flush(struct server *s, u64 seq)
{
	if (s->log.flush_due != 0 && s->log.flush_asker == s->conn.generation)
		return -EBUSY;
	if (s->log.ring == 0)
		return 0;
	s->log.flush_at = s->log.ring->head;
	s->log.flush_due = 0;
	if (flushed(s))
		return 0;
	s->log.flush_due = sys_clock(CLOCK_MONOTONIC) + FLUSH_NS;
	s->log.flush_seq = seq;
	s->log.flush_asker = s->conn.generation;
	s->log.waiting = 1;
	return 1;
}

static void keep_writer(struct server *s, u64 now)
{
	struct ring *r = s->log.ring;

	if (r == 0 || s->log.pid != 0 || ring_tail(r) == r->head)
		return;
	if (now >= s->log.retry)
		start_writer(s);
	else
		log_due_at(s, s->log.retry);
}

static void trim(struct server *s, u64 now)
{
	if (s->log.ring == 0 || s->log.ring->high <= RING_KEEP)
		return;
	if (s->log.trim == 0)
		s->log.trim = now + TRIM_NS;
	else if (now >= s->log.trim)
		s->log.trim = ring_trim(s->log.ring) ? now + TRIM_NS : 0;
	if (s->log.trim != 0)
		log_due_at(s, s->log.trim);
}

void log_tick(struct server *s)
{
	while (s->log.waiting) {
		u64 now = sys_clock(CLOCK_MONOTONIC), want = RING_NEVER, at;

		s->log.waiting = 0;
		s->log.due = 0;
		for (u32 i = 0; i < s->table.top; i++) {
			at = settle(s, &s->table.entry[i], now);
			if (at < want)
				want = at;
		}
		at = settle_flush(s, now);
		if (at < want)
			want = at;
		trim(s, now);
		keep_writer(s, now);
		if (s->log.ring == 0)
			return;
		ring_notify(s->log.ring, want);
		s->log.waiting = want != RING_NEVER || s->log.due != 0;
		if (ring_tail(s->log.ring) < want)
			return;
	}
}
