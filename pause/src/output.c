/*
 * output.c - the streams of processes: from pipes into records, with copies to attached clients.
 *
 * A line that isn't finished is held back until it is, or until it makes a whole segment: so a record holds only whole
 * ones, and the writer needs to remember nothing from one record to the next. Behind the main process's exit, at the
 * stream's end and where logging stops, what is held goes out as it is.
 */
#include "format.h"
#include "log.h"
#include "memory.h"
#include "output.h"
#include "ring.h"
#include "tap.h"
#include "watch.h"

#define READ_MOST	65536u		/* bytes read at a time: one pipe's fill, and other streams get their turn */
#define READ_LEAST	4096u		/* less room than that isn't worth a read */
#define SHARE		(RING_SIZE / 8)	/* what every process may have in a ring that others fill */
#define DRAIN_READS	20u		/* a pipe holds 1 MiB at most */
#define CLOSING_DRAINS	8u		/* times that an acknowledged process's streams are drained before they are closed whatever comes */
#define RETRY_NS	1000000000ul	/* until what the kernel refused is tried again */

static u8 scratch[READ_MOST];	/* output that isn't logged */

static u64 about(const struct server *s, const struct process *p, u32 stream)
{
	return WATCH_OUTPUT | (u64)process_slot(&s->table, p) << 8 | (u64)stream << 32;
}

/* Where the held part of a stream lies; the memory is there once a log has begun. */
static u8 *held(const struct server *s, const struct process *p, u32 stream)
{
	return s->log.held + (process_slot(&s->table, p) * 2 + stream) * FORMAT_SEGMENT;
}

static void listen_to(struct server *s, struct process *p, u32 stream)
{
	int error = watch(s, p->output[stream], EPOLLIN, about(s, p, stream));

	p->stalled &= ~(1u << stream);
	if (error < 0) {
		/* Out of watches. The tick tries again. */
		p->stalled |= 1u << stream;
		p->hold = sys_clock(CLOCK_MONOTONIC) + RETRY_NS;
		log_due_at(s, p->hold);
	}
}

static void stall(struct server *s, struct process *p, u32 stream)
{
	if (!(p->stalled & 1u << stream))
		unwatch(s, p->output[stream]);
	p->stalled |= 1u << stream;
	s->log.waiting = 1;
}

static void push(struct server *s, struct process *p, u32 stream, u64 size)
{
	struct ring *r = s->log.ring;

	ring_push_data(r, process_slot(&s->table, p), stream, sys_clock(CLOCK_REALTIME), size);
	p->log_data = r->head;
	p->log_unread += size;
	if (r->high > RING_KEEP)
		s->log.waiting = 1;
	log_kick(s);
}

int output_flush(struct server *s, struct process *p, u32 stream)
{
	u64 n = p->held[stream], most;
	u8 *room;

	p->flush |= 1u << stream;
	if (n > 0) {
		room = ring_room(s->log.ring, n, &most);
		if (room == 0) {
			s->log.waiting = 1;
			return 0;
		}
		memcpy(room, held(s, p, stream), n);
		p->held[stream] = 0;
		push(s, p, stream, n);
	}
	p->flush &= ~(1u << stream);
	return 1;
}

static void close_stream(struct server *s, struct process *p, u32 stream)
{
	if (p->output[stream] >= 0 && !(p->stalled & 1u << stream))
		unwatch(s, p->output[stream]);
	p->stalled &= ~(1u << stream);
	close_fd(&p->output[stream]);
	tap_end_stream(s, p, stream);
}

static void forget_held(struct server *s, struct process *p, u32 stream)
{
	if (p->log_begin != 0)
		sys_madvise(held(s, p, stream), FORMAT_SEGMENT, MADV_DONTNEED);
}

/* The stream is at its end: what is held goes first. */
static void end_stream(struct server *s, struct process *p, u32 stream)
{
	if (!output_flush(s, p, stream)) {
		stall(s, p, stream);	/* it will still be at its end when there is room */
		return;
	}
	forget_held(s, p, stream);
	close_stream(s, p, stream);
}

/* room holds space for what is held of the stream and then n fresh bytes: makes what is whole a record, and holds back the rest. */
static void take(struct server *s, struct process *p, u32 stream, u8 *room, u64 n)
{
	u64 before = p->held[stream], keep = format_unfinished(room + before, n, before + n), whole = before + n - keep;
	u8 *back = held(s, p, stream);

	p->held[stream] = (u32)keep;
	if (whole == 0) {
		memcpy(back + before, room + before, n);
		return;
	}
	memcpy(room, back, before);
	memcpy(back, room + whole, keep);
	push(s, p, stream, whole);
}

/* The process's first output is here, n bytes in scratch: from here on its file is the writer's. Returns 0 if that can't be. */
static int begin_log(struct server *s, struct process *p)
{
	if (!log_open(s))
		return 0;
	ring_push_control(s->log.ring, RECORD_FILE, process_slot(&s->table, p), p->log_begin == 0, (u64)p->log);
	p->log_data = s->log.ring->head;
	if (p->log_begin == 0)
		p->log_begin = p->log_data;
	p->log = NO_FD;
	p->logged = 1;
	return 1;
}

static void drop(struct process *p, const u8 *text, u64 n)
{
	p->dropped_bytes += n;
	for (u64 i = 0; i < n; i += format_first_newline(text + i, n - i) + 1)
		p->dropped_lines++;
}

/* Reads output whose log hasn't begun, or that isn't logged at all. */
static long read_outside(struct server *s, struct process *p, u32 stream)
{
	/* Of what is to be logged only a little, once: scratch stays allocated. */
	long n = sys_read(p->output[stream], scratch, p->log < 0 ? READ_MOST : READ_LEAST);
	u64 most;
	u8 *room;

	if (n <= 0)
		return n;
	tap_copy(s, p, stream, scratch, (u64)n);
	if (p->log < 0)
		return n;
	if (!begin_log(s, p)) {
		drop(p, scratch, (u64)n);
		return n;
	}
	room = ring_room(s->log.ring, (u64)n, &most);
	if (room == 0) {	/* crowded saw to it that there is */
		drop(p, scratch, (u64)n);
		return n;
	}
	memcpy(room, scratch, (u64)n);
	take(s, p, stream, room, (u64)n);
	return n;
}

static long read_into_ring(struct server *s, struct process *p, u32 stream, u8 *room, u64 most)
{
	u64 before = p->held[stream], want = most - before;
	long n = sys_read(p->output[stream], room + before, want < READ_MOST ? want : READ_MOST);

	if (n <= 0)
		return n;
	tap_copy(s, p, stream, room + before, (u64)n);
	take(s, p, stream, room, (u64)n);
	return n;
}

/*
 * Whether the ring has no room for p. Its last quarter is for those that have little in it: while the writer hangs on a disk,
 * one process that floods its log must not bring the others to a halt at once.
 */
static int crowded(const struct server *s, struct process *p)
{
	const struct ring *r = s->log.ring;

	if (r == 0 || (!p->logged && p->log < 0))
		return 0;
	if (ring_tail(r) >= p->log_data)
		p->log_unread = 0;
	if (p->log_unread > SHARE && !ring_has_room(r, RING_SIZE / 4))
		return 1;
	return !p->logged && !ring_has_room(r, 4 * READ_LEAST);
}

/* Reads once. Returns the bytes read, 0 if there is no more to come now. */
static long read_once(struct server *s, struct process *p, u32 stream)
{
	u64 most = 0;
	u8 *room = 0;
	int full = crowded(s, p);
	long n;

	if (p->logged && !full) {
		room = ring_room(s->log.ring, p->held[stream] + READ_LEAST, &most);
		full = room == 0;
	}
	if (full) {
		stall(s, p, stream);
		return 0;
	}
	n = p->logged ? read_into_ring(s, p, stream, room, most) : read_outside(s, p, stream);
	if (n > 0)
		return n;
	if (n != -EAGAIN && n != -EINTR)
		end_stream(s, p, stream);	/* end of file, or a TTY's EIO */
	return 0;
}

void output_begin(struct server *s, struct process *p, int log)
{
	p->log = log;
	for (u32 i = 0; i < 2; i++) {
		if (p->output[i] < 0)
			continue;
		sys_fcntl(p->output[i], F_SETFL, O_NONBLOCK | sys_fcntl(p->output[i], F_GETFL, 0));
		listen_to(s, p, i);
	}
}

void output_read(struct server *s, struct process *p, u32 stream)
{
	/* The event may be older than what became of the entry since. */
	if (stream < 2 && p->output[stream] >= 0 && !(p->stalled & 1u << stream))
		read_once(s, p, stream);
}

/* Reads what is there now. A child that lives on may refill the pipe for ever. */
static void drain_stream(struct server *s, struct process *p, u32 stream)
{
	for (u32 k = 0; k < DRAIN_READS && p->output[stream] >= 0 && !(p->stalled & 1u << stream); k++)
		if (read_once(s, p, stream) == 0)
			return;
}

void output_catch_up(struct server *s, struct process *p)
{
	for (u32 i = 0; i < 2; i++)
		drain_stream(s, p, i);
}

static void drain_and_flush(struct server *s, struct process *p, u32 stream)
{
	p->flush |= 1u << stream;
	drain_stream(s, p, stream);
	/* What is held belongs with what couldn't be read yet. */
	if (!(p->stalled & 1u << stream))
		output_flush(s, p, stream);
}

void output_drain(struct server *s, struct process *p)
{
	for (u32 i = 0; i < 2; i++)
		drain_and_flush(s, p, i);
}

void output_hold(struct server *s, struct process *p)
{
	for (u32 i = 0; i < 2; i++)
		if (p->output[i] >= 0)
			stall(s, p, i);
}

void output_resume(struct server *s, struct process *p)
{
	for (u32 i = 0; i < 2; i++) {
		if (p->stalled & 1u << i)
			listen_to(s, p, i);
		if (p->flush & 1u << i)
			drain_and_flush(s, p, i);
	}
}

int output_settled(const struct server *s, const struct process *p)
{
	if (p->stalled != 0 || p->flush != 0)
		return 0;
	return s->log.ring == 0 || ring_tail(s->log.ring) >= p->log_data;
}

int output_room(const struct server *s) { return s->log.ring == 0 || ring_has_room(s->log.ring, RING_SIZE / 2); }

void output_let_go(struct server *s, struct process *p)
{
	s->log.waiting = 1;
	for (u32 i = 0; i < 2; i++) {
		/* A stream that there was no room for is still to be read; tick resumes it. */
		if (p->stalled & 1u << i)
			return;
		if (p->drains > 0 && p->output[i] >= 0) {
			p->drains--;
			drain_stream(s, p, i);
			if (p->stalled & 1u << i)
				return;
		}
		close_stream(s, p, i);
		if (!output_flush(s, p, i))
			return;
		forget_held(s, p, i);
	}
	if (p->logged)
		log_end(s, p);
	if (p->log_due == 0 && (s->log.ring == 0 || ring_tail(s->log.ring) >= p->log_data))
		process_free(&s->table, p);
}

void output_finish(struct server *s, struct process *p)
{
	p->state = SLOT_CLOSING;
	p->exit_due = 0;
	p->drains = CLOSING_DRAINS;
	output_let_go(s, p);
}

void output_dropped(const struct server *s, const struct process *p, u64 *bytes, u64 *lines)
{
	const struct log_file *f = 0;

	/* Before the writer has seen the process's first record, the slot's counters are another one's. */
	if (p->log_begin != 0 && ring_tail(s->log.ring) >= p->log_begin)
		f = &s->log.ring->files[process_slot(&s->table, p)];
	*bytes = p->dropped_bytes + (f != 0 ? f->dropped_bytes : 0);
	*lines = p->dropped_lines + (f != 0 ? f->dropped_lines : 0);
}
