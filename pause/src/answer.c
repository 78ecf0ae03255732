/* answer.c - putting answers together. */
#include "memory.h"
#include "output.h"
#include "server.h"

void answer_done(struct server *s, u64 seq)
{
	struct msg_header m = {sizeof(m), MSG_DONE, seq};

	conn_send(&s->conn, &m, sizeof(m), NO_FD);
}

void answer_failed(struct server *s, u64 seq, int error, u32 step)
{
	struct msg_failed m = {{sizeof(m), MSG_FAILED, seq}, error, step};

	conn_send(&s->conn, &m, sizeof(m), NO_FD);
}

void answer_cloned(struct server *s, u64 seq, const struct process *p)
{
	struct msg_cloned m = {{sizeof(m), MSG_CLONED, seq}, process_slot(&s->table, p), p->pid};

	conn_send(&s->conn, &m, sizeof(m), p->pidfd);
}

static void send_process(struct server *s, u32 type, u64 seq, const struct process *p)
{
	struct msg_process m = {
		.h = {sizeof(m), type, seq},
		.kind = p->kind,
		.state = p->state == SLOT_EXITED ? PROCESS_EXITED : PROCESS_RUNNING,
		.slot = process_slot(&s->table, p),
		.status = p->status,
		.started = p->started,
		.exited = p->exited,
		.step = p->step,
		.error = p->error,
	};

	memcpy(m.id, p->id, sizeof(m.id));
	output_dropped(s, p, &m.dropped_bytes, &m.dropped_lines);
	conn_send(&s->conn, &m, sizeof(m), p->pidfd);
}

void answer_process(struct server *s, u64 seq, const struct process *p)
{
	send_process(s, MSG_PROCESS, seq, p);
}

void answer_exit(struct server *s, struct process *p, u64 now)
{
	if (p->exit_due == 0 || (now < p->exit_due && !output_settled(s, p)))
		return;
	p->exit_due = 0;
	send_process(s, MSG_EXITED, 0, p);
}
