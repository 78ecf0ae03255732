/*
 * log.c - tests of what waits for the log writer, with a writer that gets on at the worst moment: between two looks of the supervisor's. In the hosted
 * build under ASan and UBSan. What the parts under test say to podlet and to epoll goes nowhere.
 */
#include "../log.h"
#include "../output.h"
#include "../ring.h"
#include "../tick.h"
#include "../watch.h"

int printf(const char *format, ...);
void exit(int code) __attribute__((noreturn));
int pipe2(int *fds, int flags);

#define CHECK(what) ((what) ? (void)0 : fail(__LINE__, #what))

const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static void __attribute__((noreturn)) fail(int line, const char *what)
{
	printf("test/log.c:%d: %s\n", line, what);
	exit(1);
}

static struct server s;
static int watches, refused;	/* streams in epoll; 1: there are no more watches */
static int gets_on;		/* the writer is through with all, the next time that settle is between its two looks */

int watch(struct server *srv, int fd, u32 events, u64 about)
{
	(void)srv, (void)fd, (void)events;
	if (refused)
		return -ENOSPC;
	watches += (about & 0xff) == WATCH_OUTPUT;
	return 0;
}

void unwatch(struct server *srv, int fd)
{
	(void)srv, (void)fd;
	watches--;
}

void answer_done(struct server *srv, u64 seq) { (void)srv, (void)seq; }

static void write_all(void)
{
	struct commit c = s.log.ring->commits[s.log.ring->current];

	c.tail = s.log.ring->head;
	ring_commit(s.log.ring, &c);
}

void answer_exit(struct server *srv, struct process *p, u64 now)
{
	(void)srv, (void)p, (void)now;
	if (gets_on)
		write_all();
	gets_on = 0;
}

static int input;

/* A process that has written as much as there is room for. */
static struct process *flood(void)
{
	static u8 lines[4096];
	struct process *p = process_new(&s.table);
	int fds[2], log = (int)sys_memfd_create("log", 0);

	CHECK(p != 0 && log >= 0 && pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
	for (u32 i = 0; i < sizeof(lines); i++)
		lines[i] = i % 64 == 63 ? '\n' : 'x';
	input = fds[1];
	p->state = SLOT_RUNNING;
	p->output[STDOUT] = fds[0];
	output_begin(&s, p, log);
	CHECK(watches == 1);
	for (u32 i = 0; !p->stalled; i++) {
		CHECK(i < 4 * RING_SIZE / sizeof(lines));
		CHECK(sys_write(input, lines, sizeof(lines)) == sizeof(lines));
		output_read(&s, p, STDOUT);
	}
	CHECK(watches == 0 && !output_room(&s) && s.log.waiting);
	return p;
}

static void done(struct process *p)
{
	process_free(&s.table, p);
	sys_close(input);
	write_all();
	watches = 0;
}

/* A stream that there is no room for is read again when there is, whenever the writer makes it. */
static void test_stall(void)
{
	struct process *p = flood();

	tick(&s);
	CHECK(p->stalled && s.log.ring->notify_at != RING_NEVER);
	write_all();
	CHECK(s.log.ring->notify_at == RING_NEVER);	/* the supervisor was told */
	log_heard(&s);
	tick(&s);
	CHECK(!p->stalled && watches == 1);
	done(p);

	p = flood();
	gets_on = 1;
	tick(&s);
	CHECK(!gets_on && !p->stalled && watches == 1);
	done(p);
}

/* Where the kernel has no watch left, that is tried again after a while and not at once. */
static void test_no_watch(void)
{
	struct process *p = flood();

	write_all();
	refused = 1;
	tick(&s);
	CHECK(p->stalled && s.log.waiting && s.log.due != 0 && log_timeout(&s) > 500);
	refused = 0;
	tick(&s);
	CHECK(p->stalled);
	p->hold = 1;
	tick(&s);
	CHECK(!p->stalled && watches == 1 && p->hold == 0);
	done(p);
}

int main(void)
{
	s.role = ROLE_PAUSE;
	s.table.limit = PROTO_MAX_PROCESSES;
	s.conn.fd = s.log.event = s.log.inside = NO_FD;
	s.log.pid = 1;	/* there is a writer, and it is not to be started */
	test_stall();
	test_no_watch();
	printf("log: ok\n");
	return 0;
}
