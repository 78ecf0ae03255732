/* logfile.c - LOG: what is read from here on goes to another file, or to none. */
#include "log.h"
#include "logfile.h"
#include "output.h"
#include "ring.h"

void logfile_settle(struct server *s, struct process *p, u64 now)
{
	if (p->log_due == 0 || (now < p->log_due && ring_tail(s->log.ring) < p->log_switched))
		return;
	p->log_due = 0;
	if (p->log_asker == s->conn.generation)
		answer_done(s, p->log_seq);
}

/* The old file is the log again, or still. What wasn't read meanwhile is read by tick. */
void logfile_forget(struct server *s, struct process *p)
{
	close_fd(&p->next_log);
	p->hold = 0;
	s->log.waiting = 1;
}

/* Whether p's log may be turned to another file now: the reserve for control records has room for one that waits a process. */
static int can_turn(struct server *s, struct process *p)
{
	/* It may be through with the one before since tick last looked. */
	logfile_settle(s, p, 0);
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

int logfile_switch(struct server *s, struct process *p, u64 seq)
{
	u32 in_hand = s->conn.nfds - s->conn.staged;
	int was_logged;

	if (in_hand > 1)
		return -EINVAL;
	if (!can_turn(s, p))
		return -EBUSY;
	logfile_forget(s, p);
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

int logfile_ready(struct server *s, struct process *p, u64 seq)
{
	if (s->conn.nfds - s->conn.staged != 1)
		return -EINVAL;
	if (!can_turn(s, p))
		return -EBUSY;
	output_catch_up(s, p);
	logfile_forget(s, p);
	p->next_log = conn_take(&s->conn, s->conn.staged);
	p->hold = sys_clock(CLOCK_MONOTONIC) + READY_NS;
	output_hold(s, p);
	if (!p->logged)
		return 0;
	answer_behind(s, p, p->log_data, seq);
	return 1;
}

int logfile_turn(struct server *s, struct process *p)
{
	int file = p->next_log;

	if (file < 0)
		return -ENOENT;
	p->next_log = NO_FD;
	logfile_forget(s, p);
	turn_to(s, p, file);
	return 0;
}
