/*
 * log.c - where output enters the log: the ring that the writer reads, and what tick is to look for.
 *
 * A process's way through the ring:
 *
 *	first output		FILE record: the file, which until then is the supervisor's, is the writer's
 *	output			DATA records
 *	LOG, LOG_TURN		FILE record: a new file; what is held of an unfinished line goes there as a whole
 *	LOG without one, ACK	END record
 */
#include "format.h"
#include "log.h"
#include "ring.h"
#include "watch.h"

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
	if (event >= 0 && watch(s, (int)event, EPOLLIN, WATCH_WRITER) == 0)
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
