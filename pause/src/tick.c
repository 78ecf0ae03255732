/*
 * tick.c - those who wait for the log writer or for the clock.
 *
 * Who waits for the writer (an exit, a LOG, a stream without room, an entry to be freed, a FLUSH) is found by tick, which
 * looks through the table as long as s->log.waiting says that there may be one. Exits and LOGs wait up to DRAIN_NS, FLUSH for FLUSH_NS.
 */
#include "log.h"
#include "logfile.h"
#include "logwriter.h"
#include "output.h"
#include "ring.h"
#include "tick.h"

#define TRIM_NS		1000000000ul	/* between two looks whether memory can be given back */
#define FLUSH_NS	250000000ul	/* the CPU limit of a pod may hold its writer up for a period, 100 ms as a rule */

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
		logfile_forget(s, p);
	if ((p->stalled | p->flush) && p->hold == 0 && output_room(s))
		output_resume(s, p);
	answer_exit(s, p, now);
	logfile_settle(s, p, now);
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

int tick_flush(struct server *s, u64 seq)
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

void tick(struct server *s)
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
		logwriter_keep(s, now);
		if (s->log.ring == 0)
			return;
		ring_notify(s->log.ring, want);
		s->log.waiting = want != RING_NEVER || s->log.due != 0;
		if (ring_tail(s->log.ring) < want)
			return;
	}
}
