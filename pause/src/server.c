/*
 * server.c - the event loop of the nursery and of a pause.
 *
 * One thread, and no call that may block: sockets and pipes are non-blocking, files are the log writer's. So a
 * stalled disk, a podlet that hangs or a container that floods its output keep nobody else waiting.
 */
#include "log.h"
#include "logfile.h"
#include "logwriter.h"
#include "memory.h"
#include "output.h"
#include "server.h"
#include "tap.h"
#include "tick.h"
#include "watch.h"

static int open_status(struct server *s)
{
	u64 size = s->table.limit * sizeof(*s->status);
	long fd = sys_memfd_create("podlet-status", MFD_CLOEXEC), p;

	if (fd < 0)
		return (int)fd;
	s->status_fd = (int)fd;
	p = sys_ftruncate(s->status_fd, size);
	if (p < 0)
		return (int)p;
	p = sys_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, s->status_fd);
	if (sys_failed(p))
		return (int)p;
	s->status = (struct tape_status *)p;
	return 0;
}

int server_open(struct server *s, enum role role)
{
	u64 child = 1ul << (SIGCHLD - 1);

	s->role = role;
	s->conn.fds = s->inbox;
	s->started = sys_clock(CLOCK_REALTIME);
	s->table.limit = role == ROLE_NURSERY ? MAX_PROCESSES : PROTO_MAX_PROCESSES;
	s->conn.fd = s->listen = s->log.event = s->log.inside = NO_FD;
	s->epoll = (int)sys_epoll_create();
	if (s->epoll < 0)
		return s->epoll;
	s->signals = (int)sys_signalfd(&child);
	if (s->signals < 0)
		return s->signals;
	if (watch(s, s->signals, EPOLLIN, WATCH_SIGNAL) < 0)
		return -ENOMEM;
	return open_status(s);
}

/* Only the node's root may speak to pause, and of two podlets the younger one is right. */
static void accept_podlet(struct server *s)
{
	struct ucred who;
	s32 size = sizeof(who);
	int fd = (int)sys_accept(s->listen);

	if (fd < 0)
		return;
	if (sys_getsockopt(fd, SO_PEERCRED, &who, &size) < 0 || who.uid != 0) {
		sys_close(fd);
		return;
	}
	conn_open(&s->conn, fd);
	if (watch(s, fd, EPOLLIN, WATCH_CONN) < 0)
		conn_close(&s->conn);
}

static void welcome(struct server *s, const struct msg_hello *hello)
{
	struct msg_welcome m = {{sizeof(m), MSG_WELCOME, hello->h.seq}, PROTO_VERSION, TAPE_VERSION, s->started};

	s->conn.version = hello->version;
	conn_send(&s->conn, &m, sizeof(m), s->status_fd);
	logwriter_ask(s);
}

static void list(struct server *s, u64 seq)
{
	for (u32 i = 0; i < s->table.top; i++) {
		const struct process *p = &s->table.entry[i];

		/* One that is being launched belongs to whoever asked for it; without him it will be listed when it runs. */
		if (p->state == SLOT_RUNNING || p->state == SLOT_EXITED)
			answer_process(s, seq, p);
	}
	answer_done(s, seq);
}

/* A request about one process. Returns 0 where DONE is the answer, 1 where it was given or is to come, else -errno. */
static int about_process(struct server *s, const union message *m)
{
	struct process *p = process_find(&s->table, m->id.id);

	if (p == 0 || p->state == SLOT_LAUNCHING)
		return -ESRCH;
	switch (m->h.type) {
	case MSG_ACK:
		if (p->state != SLOT_EXITED)
			return -EBUSY;
		output_finish(s, p);
		return 0;
	case MSG_LOG:
		return logfile_switch(s, p, m->h.seq);
	case MSG_LOG_READY:
		return logfile_ready(s, p, m->h.seq);
	case MSG_LOG_TURN:
		return logfile_turn(s, p);
	case MSG_TAP:
		return tap_add(s, p, &m->tap);
	default:	/* MSG_CLOSE_STDIN */
		close_fd(&p->input);
		return 0;
	}
}

static void handle(struct server *s, const union message *m)
{
	int result;

	switch (m->h.type) {
	case MSG_HELLO:
		welcome(s, &m->hello);
		return;
	case MSG_FDS:
		s->conn.staged = s->conn.nfds;
		return;
	case MSG_CLONE:
		launch(s, &m->clone);
		s->conn.staged = 0;
		return;
	case MSG_LIST:
		list(s, m->h.seq);
		return;
	}
	if (m->h.type == MSG_WRITER_CGROUPS)
		result = logwriter_cgroups(s, &m->writer);
	else if (m->h.type == MSG_FLUSH)
		result = tick_flush(s, m->h.seq);
	else
		result = about_process(s, m);
	if (result == 0)
		answer_done(s, m->h.seq);
	else if (result < 0)
		answer_failed(s, m->h.seq, -result, FAILED_STEP_NONE);
}

static void hear_podlet(struct server *s)
{
	u64 packet[PROTO_MAX_SIZE / sizeof(u64)];
	union message m;
	u64 size = 0;
	long n = conn_receive(&s->conn, packet, &size);
	int error;

	if (n == -EAGAIN)
		return;
	if (n <= 0 && n != -EMFILE) {
		conn_close(&s->conn);
		return;
	}
	error = message_decode(&m, packet, size);
	/* FDS has no answer: where it fails, the CLONE after it couldn't tell. */
	if (error == -EBADMSG || ((error < 0 || n < 0) && m.h.type == MSG_FDS)) {
		conn_close(&s->conn);
		return;
	}
	if (error < 0)
		answer_failed(s, m.h.seq, -error, FAILED_STEP_NONE);
	else if (n < 0)
		answer_failed(s, m.h.seq, (int)-n, FAILED_STEP_NONE);
	else
		handle(s, &m);
	conn_drop(&s->conn, s->conn.staged);
}

static void hear_children(struct server *s)
{
	struct signalfd_siginfo info;

	while (sys_read(s->signals, &info, sizeof(info)) > 0)
		;
	reap(s);
}

static void dispatch(struct server *s, u64 about)
{
	struct process *p = &s->table.entry[about >> 8 & 0xffffff];
	u32 which = (u32)(about >> 32);

	switch (about & 0xff) {
	case WATCH_CONN:
		hear_podlet(s);
		break;
	case WATCH_LISTEN:
		accept_podlet(s);
		break;
	case WATCH_SIGNAL:
		hear_children(s);
		break;
	case WATCH_OUTPUT:
		output_read(s, p, which);
		break;
	case WATCH_TAP:
		tap_ended(s, p, which);
		break;
	case WATCH_WRITER:
		log_heard(s);
		break;
	}
}

void server_run(struct server *s)
{
	struct epoll_event events[16];

	/* The nursery lives as long as podlet's interest in it. */
	while (s->role == ROLE_PAUSE || s->conn.fd >= 0) {
		long n = sys_epoll_wait(s->epoll, events, 16, log_timeout(s));

		for (long i = 0; i < n; i++)
			dispatch(s, events[i].data);
		tick(s);
	}
	sys_exit(0);
}
