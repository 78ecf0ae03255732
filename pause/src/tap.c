/* tap.c - copies of the output for attached clients. */
#include "tap.h"
#include "watch.h"

#define TAP_SIZE (1 << 20)	/* bytes a tap's pipe may hold, where the kernel allows so much */

static u64 about(const struct server *s, const struct process *p, const struct tap *t)
{
	return WATCH_TAP | (u64)process_slot(&s->table, p) << 8 | (u64)t->number << 32;
}

static void close_copy(struct server *s, struct tap *t, u32 stream)
{
	if (t->fd[stream] >= 0)
		unwatch(s, t->fd[stream]);
	close_fd(&t->fd[stream]);
}

static int in_use(const struct tap *t) { return t->fd[STDOUT] >= 0 || t->fd[STDERR] >= 0; }

/* The client is gone, or too slow, which it is told by the end of its copy. */
static void hang_up(struct server *s, struct tap *t)
{
	close_copy(s, t, STDOUT);
	close_copy(s, t, STDERR);
}

void tap_copy(struct server *s, struct process *p, u32 stream, const u8 *text, u64 n)
{
	for (u32 i = 0; i < MAX_TAPS; i++) {
		struct tap *t = &p->taps[i];

		if (t->fd[stream] >= 0 && sys_write(t->fd[stream], text, n) != (long)n)
			hang_up(s, t);
	}
}

void tap_end_stream(struct server *s, struct process *p, u32 stream)
{
	for (u32 i = 0; i < MAX_TAPS; i++)
		close_copy(s, &p->taps[i], stream);
}

void tap_ended(struct server *s, struct process *p, u32 number)
{
	for (u32 i = 0; i < MAX_TAPS; i++)
		if (in_use(&p->taps[i]) && p->taps[i].number == number)
			hang_up(s, &p->taps[i]);
}

static void open_copy(struct server *s, struct process *p, struct tap *t, u32 stream, int fd)
{
	if (p->output[stream] < 0) {
		sys_close(fd);	/* the end at once */
		return;
	}
	sys_fcntl(fd, F_SETFL, O_NONBLOCK | sys_fcntl(fd, F_GETFL, 0));
	if (sys_fcntl(fd, F_GETPIPE_SZ, 0) < TAP_SIZE)
		sys_fcntl(fd, F_SETPIPE_SZ, TAP_SIZE);
	t->fd[stream] = fd;
	/* An error is all there is to hear on a pipe's write end: its reader is gone. */
	watch(s, fd, 0, about(s, p, t));
}

int tap_add(struct server *s, struct process *p, const struct msg_tap *m)
{
	struct msg_header answer = {sizeof(answer), MSG_TAPPED, m->h.seq};
	u32 at = s->conn.staged, count = (m->streams & 1) + (m->streams >> 1 & 1), k = 0;
	int input = p->flags & CLONE_LOG_TTY ? p->output[STDOUT] : p->input;

	if (m->streams > 3 || m->want_input > 1 || s->conn.nfds - at != count)
		return -EINVAL;
	while (k < MAX_TAPS && in_use(&p->taps[k]))
		k++;
	if (k == MAX_TAPS)
		return -EBUSY;
	p->taps[k].number = ++s->taps;
	for (u32 i = 0; i < 2; i++)
		if (m->streams & 1u << i)
			open_copy(s, p, &p->taps[k], i, conn_take(&s->conn, at++));
	conn_send(&s->conn, &answer, sizeof(answer), m->want_input ? input : NO_FD);
	return 1;
}
