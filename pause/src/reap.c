/*
 * reap.c - children that ended.
 *
 * A tape with a FORK step makes the app pause's child twice over: pause starts an intermediate, that one clones the app with
 * CLONE_PARENT and leaves its pid in the status slot. Until pause has seen the intermediate's end it doesn't know the
 * app's pid, and the app may be gone by then: so while an intermediate runs, only children known by pid are reaped. The app
 * then waits as a zombie, its pid can't be used again, and pidfd_open works.
 */
#include "log.h"
#include "output.h"
#include "server.h"

static int exited_zero(int status) { return status == 0; }

static void launch_failed(struct server *s, struct process *p)
{
	const volatile struct tape_status *slot = &s->status[process_slot(&s->table, p)];
	int error = slot->error;

	/* Killed from outside, so the slot names a step but no error. */
	if (error == 0)
		error = EINTR;
	if (p->asker == s->conn.generation)
		answer_failed(s, p->asker_seq, error, slot->step);
	output_finish(s, p);
}

/* The intermediate of p ended with this status; p stands for the app from here on. */
static void adopt(struct server *s, struct process *p, int status)
{
	const volatile struct tape_status *slot = &s->status[process_slot(&s->table, p)];
	long pidfd = -ESRCH;

	if (exited_zero(status) && slot->pid > 0)
		pidfd = sys_pidfd_open(slot->pid);
	close_fd(&p->pidfd);
	if (pidfd < 0) {
		launch_failed(s, p);
		return;
	}
	p->pid = slot->pid;
	p->pidfd = (int)pidfd;
	p->state = SLOT_RUNNING;
	if (p->asker == s->conn.generation)
		answer_cloned(s, p->asker_seq, p);
}

static void record_exit(struct server *s, struct process *p, int status)
{
	const volatile struct tape_status *slot = &s->status[process_slot(&s->table, p)];

	p->status = status;
	p->exited = sys_clock(CLOCK_REALTIME);
	p->step = slot->step;
	p->error = slot->error;
	p->state = SLOT_EXITED;
	close_fd(&p->pidfd);
	close_fd(&p->input);
	output_drain(s, p);
	p->exit_due = sys_clock(CLOCK_MONOTONIC) + DRAIN_NS;
	answer_exit(s, p, 0);
	s->log.waiting = 1;
}

/* Returns whether an intermediate is still at work. */
static int reap_intermediates(struct server *s)
{
	int status, busy = 0;

	for (u32 i = 0; i < s->table.top; i++) {
		struct process *p = &s->table.entry[i];

		if (p->state != SLOT_LAUNCHING)
			continue;
		if (sys_wait(p->pid, &status, WNOHANG | __WALL) > 0)
			adopt(s, p, status);
		else
			busy = 1;
	}
	return busy;
}

static void reap_known(struct server *s)
{
	int status;

	for (u32 i = 0; i < s->table.top; i++) {
		struct process *p = &s->table.entry[i];

		if (p->state == SLOT_RUNNING && sys_wait(p->pid, &status, WNOHANG | __WALL) > 0)
			record_exit(s, p, status);
	}
	if (s->log.pid > 0 && sys_wait(s->log.pid, &status, WNOHANG | __WALL) > 0)
		log_died(s, status);
}

static void reap_all(struct server *s)
{
	int status;
	long pid;

	while ((pid = sys_wait(-1, &status, WNOHANG | __WALL)) > 0) {
		if (pid == s->log.pid)
			log_died(s, status);
		/* One not in the table is an orphan: the guard's PID 1 inherits those. */
		for (u32 i = 0; i < s->table.top; i++) {
			struct process *p = &s->table.entry[i];

			if (p->state != SLOT_RUNNING || p->pid != pid)
				continue;
			record_exit(s, p, status);
			break;
		}
	}
}

void reap(struct server *s)
{
	if (reap_intermediates(s))
		reap_known(s);
	else
		reap_all(s);
}
