/* process.c - the table of processes. */
#include "memory.h"
#include "process.h"
#include "sys.h"

struct process *process_new(struct table *t)
{
	struct process *p = 0;

	for (u32 i = 0; i < t->limit && p == 0; i++)
		if (t->entry[i].state == SLOT_FREE)
			p = &t->entry[i];
	if (p == 0)
		return 0;
	if (process_slot(t, p) >= t->top)
		t->top = process_slot(t, p) + 1;

	memset(p, 0, sizeof(*p));
	p->pidfd = p->output[STDOUT] = p->output[STDERR] = p->input = p->log = p->next_log = NO_FD;
	for (u32 i = 0; i < MAX_TAPS; i++)
		p->taps[i].fd[STDOUT] = p->taps[i].fd[STDERR] = NO_FD;
	return p;
}

void process_free(struct table *t, struct process *p)
{
	close_fd(&p->pidfd);
	close_fd(&p->output[STDOUT]);
	close_fd(&p->output[STDERR]);
	close_fd(&p->input);
	close_fd(&p->log);
	close_fd(&p->next_log);
	for (u32 i = 0; i < MAX_TAPS; i++) {
		close_fd(&p->taps[i].fd[STDOUT]);
		close_fd(&p->taps[i].fd[STDERR]);
	}
	p->state = SLOT_FREE;
	while (t->top > 0 && t->entry[t->top - 1].state == SLOT_FREE)
		t->top--;
}

struct process *process_find(struct table *t, const u64 *id)
{
	for (u32 i = 0; i < t->top; i++) {
		struct process *p = &t->entry[i];

		if (p->state != SLOT_FREE && p->state != SLOT_CLOSING && memcmp(p->id, id, sizeof(p->id)) == 0)
			return p;
	}
	return 0;
}
