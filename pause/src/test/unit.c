/*
 * unit.c - tests of pause's parts, each on its own, in the hosted build under ASan and UBSan. Freestanding headers: the few
 * functions of libc are declared here.
 */
#include "../format.h"
#include "../limits.h"
#include "../memory.h"
#include "../message.h"
#include "../process.h"
#include "../ring.h"
#include "../sys.h"
#include "../tape.h"
#include "../writer.h"

int printf(const char *format, ...);
void exit(int code) __attribute__((noreturn));
int system(const char *command);
int unshare(int flags);
int mount(const char *what, const char *where, const char *type, unsigned long flags, const void *data);
int umount(const char *where);
int open(const char *path, int flags, ...);
int mkdir(const char *path, unsigned mode);
unsigned long strlen(const char *s);

/* The freestanding build's own memory functions, beside libc's. */
void *our_memcpy(void *to, const void *from, u64 n);
void *our_memset(void *to, int byte, u64 n);
int our_memcmp(const void *a, const void *b, u64 n);
#define memcpy our_memcpy
#define memset our_memset
#define memcmp our_memcmp
#include "../memory.c"
#undef memcpy
#undef memset
#undef memcmp

#define CHECK(what) ((what) ? (void)0 : fail(__LINE__, #what))

const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static void __attribute__((noreturn)) fail(int line, const char *what)
{
	printf("unit.c:%d: %s\n", line, what);
	exit(1);
}

/* ---- tape ---- */

/* A small tape in memory of its exact size, so that ASan sees a read behind it. */
struct sample {
	struct tape_header h;
	struct tape_step steps[3];
	struct tape_reloc relocs[2];
	u8 data[32];
};

static struct sample sample(void)
{
	struct sample s = {
		.h = {TAPE_MAGIC, TAPE_VERSION, ARCH_AUDIT, sizeof(s), sizeof(s.h), 3, sizeof(s.h) + sizeof(s.steps), 2,
		      sizeof(s.h) + sizeof(s.steps) + sizeof(s.relocs), sizeof(s.data), 1, 0},
		.steps = {
			{.nr = __NR_getpid, .dst = 0},
			{.nr = __NR_fcntl, .dst = 1, .kind = {TAPE_ARG_FD, TAPE_ARG_IMM}, .arg = {0, F_GETFD}},
			{.nr = __NR_close, .dst = TAPE_NO_REGISTER, .kind = {TAPE_ARG_IMM}, .arg = {~0ul}, .ignore = {EBADF}},
		},
		.relocs = {{8, TAPE_RELOC_DATA, 4}, {0, TAPE_RELOC_FD, 0}},
	};

	memcpy(s.data + 16, "string", 7);
	return s;
}

static int valid(struct sample s)
{
	struct tape t;

	return tape_validate(&t, &s, sizeof(s), 1) == 0;
}

#define REFUSED(change)	do { struct sample s = sample(); change; CHECK(!valid(s)); } while (0)
#define ACCEPTED(change) do { struct sample s = sample(); change; CHECK(valid(s)); } while (0)

static void test_validate(void)
{
	struct sample whole = sample();
	struct tape t;

	ACCEPTED();
	REFUSED(s.h.magic++);
	REFUSED(s.h.version++);
	REFUSED(s.h.arch ^= 1);
	REFUSED(s.h.size--);
	REFUSED(s.h.reserved = 1);
	REFUSED(s.h.nfds = 2);
	REFUSED(s.h.nsteps = 4);
	REFUSED(s.h.nsteps = 0xffffffff);
	REFUSED(s.h.steps_off = 0);
	REFUSED(s.h.steps_off += 4);
	REFUSED(s.h.relocs_off -= 8);
	REFUSED(s.h.nrelocs = 0x0fffffff);
	REFUSED(s.h.data_off -= 8);
	REFUSED(s.h.data_size++);
	REFUSED(s.h.data_size = 0xffffffff);
	REFUSED(s.steps[0].flags = 0x80);
	REFUSED(s.steps[0].dst = TAPE_REGISTERS);
	REFUSED(s.steps[0].skip = 1);
	REFUSED(s.steps[2].flags = TAPE_STEP_SKIP; s.steps[2].skip = 1);
	ACCEPTED(s.steps[1].flags = TAPE_STEP_SKIP; s.steps[1].skip = 1);
	REFUSED(s.steps[0].reserved[4] = 1);
	REFUSED(s.steps[0].kind[5] = 5);
	REFUSED(s.steps[1].arg[0] = 1);
	REFUSED(s.steps[0].flags = TAPE_STEP_FORK; s.steps[1].flags = TAPE_STEP_FORK);
	/* Strings: up to the last NUL. */
	ACCEPTED(s.steps[0].kind[0] = TAPE_ARG_STR; s.steps[0].arg[0] = 31);
	REFUSED(s.steps[0].kind[0] = TAPE_ARG_STR; s.steps[0].arg[0] = 32);
	REFUSED(s.steps[0].kind[0] = TAPE_ARG_STR; s.steps[0].arg[0] = ~0ul);
	REFUSED(s.steps[0].kind[0] = TAPE_ARG_STR; s.steps[0].arg[0] = 31; s.data[31] = 'x');
	/* Buffers: offset and length. */
	ACCEPTED(s.steps[0].kind[0] = TAPE_ARG_BUF; s.steps[0].arg[0] = 16ul << 32 | 16);
	REFUSED(s.steps[0].kind[0] = TAPE_ARG_BUF; s.steps[0].arg[0] = 17ul << 32 | 16);
	REFUSED(s.steps[0].kind[0] = TAPE_ARG_BUF; s.steps[0].arg[0] = 0xfffffffful << 32 | 0xffffffff);
	/* Registers: only what an earlier step filled. */
	REFUSED(s.steps[0].kind[0] = TAPE_ARG_REG);
	ACCEPTED(s.steps[1].kind[2] = TAPE_ARG_REG);
	REFUSED(s.steps[1].kind[2] = TAPE_ARG_REG; s.steps[1].arg[2] = 64);
	/* Relocations. */
	REFUSED(s.relocs[0].where = 12);
	REFUSED(s.relocs[0].where = 32);
	REFUSED(s.relocs[0].where = 0xfffffff8);
	REFUSED(s.relocs[0].where = 24);	/* the last NUL is there */
	REFUSED(s.relocs[0].kind = 0);
	REFUSED(s.relocs[0].value = 32);
	REFUSED(s.relocs[1].value = 1);
	/* Every shorter size. */
	for (u64 n = 0; n < sizeof(whole); n++)
		CHECK(tape_validate(&t, &whole, n, 1) == -EINVAL);
}

static int play(struct sample s, struct tape_status *status)
{
	struct tape t;
	int fds[1] = {1};

	*status = (struct tape_status){0};
	CHECK(tape_validate(&t, &s, sizeof(s), 1) == 0);
	return tape_play(&t, fds, status);
}

static void test_play(void)
{
	struct tape_status status;
	struct sample s = sample();

	CHECK(play(s, &status) == 0);
	s.steps[2].ignore[0] = 0;
	CHECK(play(s, &status) == -EBADF && status.step == 2 && status.error == EBADF);
	/* A register keeps a result; a skipped step's register reads as no fd. */
	s = sample();
	s.steps[0].flags = TAPE_STEP_SKIP;
	s.steps[0].skip = 1;
	s.steps[2] = (struct tape_step){.nr = __NR_close, .dst = TAPE_NO_REGISTER, .kind = {TAPE_ARG_REG}, .arg = {1}};
	CHECK(play(s, &status) == -EBADF && status.step == 2);
	/* 0 from a POSITIVE step is a failure. */
	s = sample();
	s.steps[1].flags = TAPE_STEP_POSITIVE;
	s.steps[1].arg[1] = F_GETOWN;
	CHECK(play(s, &status) == -EPIPE && status.step == 1);
	/* Tries: the first error that isn't ENOENT is told, else the last one; a success settles it. */
	s = sample();
	for (u32 i = 0; i < 3; i++)
		s.steps[i] = (struct tape_step){.nr = __NR_chdir, .dst = TAPE_NO_REGISTER, .flags = TAPE_STEP_TRY, .ignore = {ENOENT, EFAULT},
						.kind = {TAPE_ARG_STR}, .arg = {16}};
	CHECK(play(s, &status) == -ENOENT && status.step == 2);
	s.steps[1].kind[0] = TAPE_ARG_IMM;
	s.steps[1].arg[0] = 1;
	CHECK(play(s, &status) == -EFAULT && status.step == 1);
	memcpy(s.data + 24, ".", 2);
	s.steps[2].arg[0] = 24;
	CHECK(play(s, &status) == 0);
}

/* ---- messages ---- */

static void test_decode(void)
{
	u64 packet[PROTO_MAX_SIZE / 8 + 1];
	struct msg_header *h = (void *)packet;
	union message m;

	memset(packet, 0, sizeof(packet));
	for (u64 n = 0; n < sizeof(*h); n++)
		CHECK(message_decode(&m, packet, n) == -EBADMSG);
	*h = (struct msg_header){sizeof(struct msg_id), MSG_ACK, 7};
	CHECK(message_decode(&m, packet, sizeof(struct msg_id)) == 0 && m.h.seq == 7);
	CHECK(message_decode(&m, packet, sizeof(struct msg_id) - 1) == -EBADMSG);
	h->size = sizeof(*h);
	CHECK(message_decode(&m, packet, sizeof(*h)) == -EINVAL && m.h.seq == 7);
	/* A later version's field. */
	h->size = sizeof(struct msg_id) + 8;
	CHECK(message_decode(&m, packet, h->size) == 0);
	packet[sizeof(struct msg_id) / 8] = 1ul << 56;
	CHECK(message_decode(&m, packet, h->size) == -E2BIG && m.h.seq == 7);
	h->size = PROTO_MAX_SIZE + 1;
	CHECK(message_decode(&m, packet, PROTO_MAX_SIZE + 1) == -EBADMSG);
	/* Answers, and what no version knows, are no requests. */
	for (u32 type = 0; type < 40; type++) {
		int request = type == MSG_HELLO || type == MSG_FDS || type == MSG_CLONE || type == MSG_LIST || type == MSG_ACK ||
			      type == MSG_LOG || type == MSG_TAP || type == MSG_CLOSE_STDIN || type == MSG_LOG_READY ||
			      type == MSG_LOG_TURN || type == MSG_WRITER_CGROUPS || type == MSG_FLUSH;

		memset(packet, 0, sizeof(packet));
		*h = (struct msg_header){PROTO_MAX_SIZE, type, 0};
		CHECK((message_decode(&m, packet, PROTO_MAX_SIZE) == 0) == request);
	}
}

static struct msg_clone clone_sample(void)
{
	struct msg_clone m = {.kind = CLONE_EXEC, .stdout_fd = 0, .stderr_fd = 1, .log_fd = 2, .tape_fds = 3};

	m.cgroup_fd = m.listen_fd = m.gate_fd = m.stdin_fd = PROTO_NO_FD;
	return m;
}

#define CLONE_IS(result, nfds, change) \
	do { struct msg_clone m = clone_sample(); struct clone_layout l; change; CHECK((clone_check(&m, nfds, &l) == 0) == result); } while (0)

static void test_clone_check(void)
{
	struct msg_clone good = clone_sample();
	struct clone_layout layout;

	CHECK(clone_check(&good, 9, &layout) == 0 && layout.first == 4 && layout.count == 5);
	CLONE_IS(1, 4, );
	CLONE_IS(0, 3, );
	CLONE_IS(0, 0, );
	CLONE_IS(0, 9, m.kind = 0);
	CLONE_IS(0, 9, m.kind = 6);
	CLONE_IS(0, 9, m.reserved = 1);
	CLONE_IS(0, 9, m.flags = 4);
	CLONE_IS(0, 9, m.clone_flags = CLONE_VM);
	CLONE_IS(0, 9, m.clone_flags = CLONE_FILES);
	CLONE_IS(1, 9, m.clone_flags = CLONE_NEWPID);
	CLONE_IS(0, 9, m.clone_flags = CLONE_INTO_CGROUP);
	CLONE_IS(1, 9, m.clone_flags = CLONE_INTO_CGROUP; m.cgroup_fd = 2; m.log_fd = PROTO_NO_FD);
	CLONE_IS(0, 9, m.cgroup_fd = 2; m.log_fd = PROTO_NO_FD);
	CLONE_IS(0, 9, m.stderr_fd = 0);	/* twice the same */
	CLONE_IS(0, 9, m.stderr_fd = 3);	/* the tape */
	CLONE_IS(0, 9, m.stderr_fd = 0xfffffffe);
	CLONE_IS(0, 9, m.stdout_fd = m.stderr_fd = PROTO_NO_FD);	/* a log of nothing */
	CLONE_IS(0, 9, m.tape_fds = 9);
	CLONE_IS(0, 9, m.tape_fds = PROTO_NO_FD);
	CLONE_IS(0, 9, m.listen_fd = 2; m.log_fd = PROTO_NO_FD);
	CLONE_IS(0, 9, m.gate_fd = 2; m.log_fd = PROTO_NO_FD);
	CLONE_IS(0, 9, m.writer_cgroup_fds = 1);
	CLONE_IS(0, 9, m.kind = CLONE_PAUSE);
	CLONE_IS(1, 9, m.kind = CLONE_PAUSE; m.listen_fd = 2; m.log_fd = PROTO_NO_FD; m.writer_cgroup_fds = 5);
	CLONE_IS(0, 9, m.kind = CLONE_PAUSE; m.listen_fd = 2; m.log_fd = PROTO_NO_FD; m.writer_cgroup_fds = 6);
	CLONE_IS(0, 9, m.kind = CLONE_PAUSE; m.listen_fd = 2; m.log_fd = PROTO_NO_FD; m.writer_cgroup_fds = 0xffffffff);
	CLONE_IS(0, 9, m.kind = CLONE_PAUSE; m.listen_fd = 2; m.log_fd = PROTO_NO_FD; memset(m.name, 'x', 32));
	CLONE_IS(0, 9, m.kind = CLONE_PAUSE; m.listen_fd = 2; m.log_fd = PROTO_NO_FD; m.name[0] = '\n');
	CLONE_IS(1, 4 + TAPE_MAX_FDS, );
	CLONE_IS(0, 5 + TAPE_MAX_FDS, );
}

/* ---- format ---- */

static u8 text[200000], formatted[400000];

/* Formats n bytes as a record, with as little room at a time as is allowed, and compares what stands behind the time. */
static void formats(const char *in, u64 n, const char *want)
{
	u8 prefix[FORMAT_PREFIX];
	u64 at = 0, size = 0, k = 0, lines = 0, bytes = 0;

	format_prefix(prefix, 1795532645123456789ul, STDERR);
	while (at < n)
		size += format_lines(prefix, (const u8 *)in, n, &at, formatted + size, FORMAT_LINE);
	CHECK(at == n);
	for (u64 i = 0; i < size;) {
		CHECK(memcmp(formatted + i, "2026-11-24T15:04:05.123456789Z stderr ", 38) == 0);
		for (i += 38; k < size && formatted[i] != '\n'; i++, k++)
			CHECK((char)formatted[i] == want[k]);
		i++;
		CHECK(want[k++] == '\n');
	}
	CHECK(want[k] == 0);
	format_count(formatted, size, &lines, &bytes);
	CHECK(bytes == n);
}

static void test_format(void)
{
	u8 prefix[FORMAT_PREFIX];
	u64 at, n;

	formats("one\n", 4, "F one\n");
	formats("one\ntwo\n", 8, "F one\nF two\n");
	formats("one\ntwo", 7, "F one\nP two\n");
	formats("\n\n", 2, "F \nF \n");
	formats("a\r\n", 3, "F a\r\n");
	formats("\r", 1, "P \r\n");
	formats("12345678\n123456789012345\n1\n", 27, "F 12345678\nF 123456789012345\nF 1\n");
	format_prefix(prefix, 951782399999999999ul, STDOUT);
	CHECK(memcmp(prefix, "2000-02-28T23:59:59.999999999Z stdout P ", 40) == 0);
	format_prefix(prefix, 951782400000000001ul, STDOUT);
	CHECK(memcmp(prefix, "2000-02-29T00:00:00.000000001Z stdout P ", 40) == 0);
	format_prefix(prefix, 0, STDOUT);
	CHECK(memcmp(prefix, "1970-01-01T00:00:00.000000000Z stdout P ", 40) == 0);
	format_prefix(prefix, 4107542399000000000ul, STDERR);
	CHECK(memcmp(prefix, "2100-02-28T23:59:59.000000000Z stderr P ", 40) == 0);

	/* Lines of about a segment. */
	memset(text, 'x', sizeof(text));
	for (u64 length = FORMAT_SEGMENT - 2; length <= FORMAT_SEGMENT + 2; length++) {
		text[length] = '\n';
		at = 0;
		n = format_lines(prefix, text, length + 1, &at, formatted, sizeof(formatted));
		CHECK(at == length + 1);
		if (length <= FORMAT_SEGMENT) {
			CHECK(n == FORMAT_PREFIX + length + 1 && formatted[38] == 'F');
		} else {
			CHECK(n == FORMAT_PREFIX * 2 + length + 2 && formatted[38] == 'P' && formatted[FORMAT_LINE - 1] == '\n');
			CHECK(formatted[FORMAT_LINE + 38] == 'F');
		}
		text[length] = 'x';
	}
	at = 0;
	n = format_lines(prefix, text, 3 * FORMAT_SEGMENT, &at, formatted, sizeof(formatted));
	CHECK(n == 3 * FORMAT_LINE && formatted[2 * FORMAT_LINE + 38] == 'P');
	/* NULs and every other byte. */
	for (u64 i = 0; i < 256; i++)
		text[i] = (u8)i;
	at = 0;
	n = format_lines(prefix, text, 256, &at, formatted, sizeof(formatted));
	CHECK(n == 2 * FORMAT_PREFIX + 257 && formatted[40] == 0 && formatted[38] == 'F');
	CHECK(formatted[n - 2] == 255 && formatted[FORMAT_PREFIX + 11 + 38] == 'P');
}

static void test_newlines(void)
{
	/* Every place at every length, and bytes that are nearly a newline: 0x0b and 0x8a are what the word trick could take for one. */
	for (u64 n = 0; n < 40; n++)
		for (u64 at = 0; at <= n; at++) {
			memset(text, n & 1 ? 0x0b : 0x8a, n);
			if (at < n)
				text[at] = '\n';
			CHECK(format_first_newline(text, n) == at);
			CHECK(format_behind_newline(text, n) == (at < n ? at + 1 : 0));
		}
	memset(text, 'x', sizeof(text));
	CHECK(format_unfinished(text, 10, 10) == 10);
	CHECK(format_unfinished(text, 10, FORMAT_SEGMENT) == FORMAT_SEGMENT);
	CHECK(format_unfinished(text, 10, FORMAT_SEGMENT + 1) == 1);
	CHECK(format_unfinished(text, 10, 3 * FORMAT_SEGMENT) == FORMAT_SEGMENT);
	text[4] = '\n';
	CHECK(format_unfinished(text, 10, FORMAT_SEGMENT + 3) == 5);
	text[9] = '\n';
	CHECK(format_unfinished(text, 10, 10) == 0);
}

/* ---- memory ---- */

static void test_memory(void)
{
	u8 from[80], to[80], want[80];

	for (u64 n = 0; n <= 64; n++) {
		for (u64 i = 0; i < 80; i++)
			from[i] = (u8)(i + n);
		memset(to, 0xee, 80);
		memset(want, 0xee, 80);
		memcpy(want + 8, from + 3, n);
		CHECK(our_memcpy(to + 8, from + 3, n) == to + 8 && memcmp(to, want, 80) == 0 && our_memcmp(to, want, 80) == 0);
		our_memset(to + 8, 0xee, n);
		memset(want, 0xee, 80);
		CHECK(memcmp(to, want, 80) == 0);
	}
	CHECK(our_memcmp("abc", "abd", 3) < 0 && our_memcmp("abd", "abc", 3) > 0 && our_memcmp("abc", "abd", 2) == 0);
}

/* ---- ring ---- */

static struct ring *r;

static u64 take_one(void)
{
	struct commit c = r->commits[r->current];
	const struct record *rec = ring_next(r, c.tail);

	CHECK(rec != 0);
	c.tail = record_end(rec, c.tail);
	ring_commit(r, &c);
	return rec->kind == RECORD_PAD ? 0 : rec->size;
}

static void test_ring(void)
{
	u64 most, pushed = 0, taken = 0, state = 1;
	u8 *room;

	r = ring_map();
	CHECK(r != 0 && ring_next(r, 0) == 0);
	/* Full: the reserve is for control records alone. */
	while ((room = ring_room(r, 1000, &most)) != 0) {
		CHECK(most >= 1000 && room + most <= r->data + RING_SIZE);
		memset(room, 1, 1000);
		ring_push_data(r, 1, STDOUT, 0, 1000);
	}
	for (u32 i = 0; i < PROTO_MAX_PROCESSES * 4; i++)
		ring_push_control(r, RECORD_END, i / 4, 0, 0);
	CHECK(r->head - ring_tail(r) <= RING_SIZE);
	while (ring_next(r, ring_tail(r)))
		take_one();

	/* Sizes of all kinds, the consumer now ahead, now behind; what comes out is what went in. */
	for (u32 i = 0; i < 200000; i++) {
		u64 n;

		state = state * 6364136223846793005ul + 1442695040888963407ul;
		n = (state >> 33) % (i % 7 ? 300 : 70000) + 1;
		if (state >> 63) {
			room = ring_room(r, n, &most);
			if (room == 0)
				continue;
			CHECK(most >= n && room >= r->data && room + most <= r->data + RING_SIZE);
			room[0] = room[n - 1] = (u8)n;
			ring_push_data(r, 3, STDOUT, 0, n);
			pushed += n;
		} else if (ring_next(r, ring_tail(r)) != 0) {
			const struct record *rec = ring_next(r, ring_tail(r));

			if (rec->kind == RECORD_DATA && rec->slot == 3)
				CHECK(record_data(rec)[0] == (u8)rec->size && record_data(rec)[rec->size - 1] == (u8)rec->size);
			taken += take_one();
		}
		CHECK(r->head - ring_tail(r) <= RING_SIZE);
	}
	while (ring_next(r, ring_tail(r)))
		taken += take_one();
	CHECK(pushed == taken);

	/* Who waits hears once. */
	ring_notify(r, r->head + 1);
	ring_push_control(r, RECORD_END, 1, 0, 0);
	struct commit c = r->commits[r->current];
	CHECK(ring_commit(r, &c) == 0);
	c.tail = r->head;
	CHECK(ring_commit(r, &c) == 1);
	CHECK(ring_commit(r, &c) == 0);

	/* Memory goes back when the ring is empty. */
	u32 rounds = 0;
	while (ring_trim(r)) {
		CHECK(rounds++ < 2);
		while (ring_next(r, ring_tail(r)))
			take_one();
	}
	CHECK(r->high == RING_KEEP);

	/* All of it when nobody writes for long, but not what is still to be written. */
	room = ring_room(r, 4, &most);
	memcpy(room, "kept", 4);
	ring_push_data(r, 1, STDOUT, 0, 4);
	ring_release(r);
	CHECK(memcmp(room, "kept", 4) == 0 && r->high > 0);
	while (ring_next(r, ring_tail(r)))
		take_one();
	ring_release(r);
	CHECK(r->high == 0);
#ifdef __x86_64__	/* where the kernel is asked; an emulator takes the advice and does nothing */
	CHECK(memcmp(room, "\0\0\0\0", 4) == 0);
#endif
	sys_munmap(r, sizeof(*r));
}

/* ---- writer ---- */

#define PLACE "/tmp/podlet-unit"
#define SMALL PLACE "/small"

static void say(u32 slot, const char *words)
{
	u64 most, n = strlen(words);
	u8 *room = ring_room(r, n, &most);

	CHECK(room != 0);
	memcpy(room, words, n);
	ring_push_data(r, slot, STDOUT, 1795532645000000000ul, n);
}

static void say_much(u32 slot, u64 n, u64 length)
{
	u64 most;
	u8 *room = ring_room(r, n, &most);

	CHECK(room != 0);
	memset(room, 'x', n);
	for (u64 i = length - 1; i < n; i += length)
		room[i] = '\n';
	ring_push_data(r, slot, STDERR, 1795532645000000000ul, n);
}

static int open_log(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 3);
	return fd;
}

static void all_steps(void)
{
	while (writer_step(r) != 0)
		;
}

static u64 content(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	u64 n = 0;
	long got;

	CHECK(fd >= 0);
	while ((got = sys_read(fd, formatted + n, sizeof(formatted) - n)) > 0)
		n += (u64)got;
	sys_close(fd);
	return n;
}

#define AT "2026-11-24T15:04:05.000000000Z "

static void has(const char *path, const char *want)
{
	u64 n = content(path);

	CHECK(n == strlen(want) && memcmp(formatted, want, n) == 0);
}

static int is_open(int fd) { return sys_fcntl(fd, F_GETFD, 0) >= 0; }

static void test_writer_switch(void)
{
	int a = open_log(PLACE "/a"), b = open_log(PLACE "/b"), other = open_log(PLACE "/other");

	ring_push_control(r, RECORD_FILE, 1, 1, (u64)a);
	say(1, "one\ntwo\n");
	ring_push_control(r, RECORD_FILE, 2, 1, (u64)other);
	say(2, "else\n");
	ring_push_control(r, RECORD_FILE, 1, 0, (u64)b);
	say(1, "three\n");
	say(1, "end");
	all_steps();
	CHECK(!is_open(a) && is_open(b) && is_open(other));
	has(PLACE "/a", AT "stdout F one\n" AT "stdout F two\n");
	has(PLACE "/b", AT "stdout F three\n" AT "stdout P end\n");
	has(PLACE "/other", AT "stdout F else\n");
	/* Emptied from outside: no hole. */
	CHECK(sys_ftruncate(b, 0) == 0);
	say(1, "four\n");
	all_steps();
	has(PLACE "/b", AT "stdout F four\n");
	ring_push_control(r, RECORD_END, 1, 0, 0);
	ring_push_control(r, RECORD_END, 2, 0, 0);
	all_steps();
	CHECK(!is_open(b) && !is_open(other));
}

/* podlet sends the file that is written already: what stands behind its last whole line is still cut off or written over. */
static void test_writer_same_file(void)
{
	int a = open_log(PLACE "/same"), torn, again;

	ring_push_control(r, RECORD_FILE, 1, 1, (u64)a);
	say(1, "one\n");
	all_steps();
	/* The disk was full in the middle of a line. */
	r->files[1].error = ENOSPC;
	r->files[1].lost_lines = 1;
	r->files[1].lost_bytes = 4;
	torn = open(PLACE "/same", O_WRONLY | O_CLOEXEC);
	CHECK(sys_lseek(torn, 0, 2) == 41 + 3 && sys_write(torn, "2026", 4) == 4 && sys_close(torn) == 0);
	again = open(PLACE "/same", O_WRONLY | O_CLOEXEC);
	ring_push_control(r, RECORD_FILE, 1, 0, (u64)again);
	say(1, "two\n");
	ring_push_control(r, RECORD_END, 1, 0, 0);
	all_steps();
	/* The line that tells of the gap has the time of now. */
	u64 n = content(PLACE "/same"), one = strlen(AT "stdout F one\n");
	memcpy(formatted + one, AT, strlen(AT));
	const char *want = AT "stdout F one\n" AT "stderr F podlet: the log could not be written (errno 28): lost here 1 lines, 4 bytes\n" AT "stdout F two\n";
	CHECK(n == strlen(want) && memcmp(formatted, want, n) == 0);
	CHECK(!is_open(a) && !is_open(again));
}

/* Somebody else writes to the file, as another container with the same log path does: nobody's lines are written over. */
static void test_writer_shared_file(void)
{
	int a = open_log(PLACE "/shared"), others = open(PLACE "/shared", O_WRONLY | O_APPEND | O_CLOEXEC);

	ring_push_control(r, RECORD_FILE, 1, 1, (u64)a);
	say(1, "one\n");
	all_steps();
	CHECK(sys_write(others, AT "stdout F other\n", strlen(AT "stdout F other\n")) > 0);
	say(1, "two\n");
	ring_push_control(r, RECORD_END, 1, 0, 0);
	all_steps();
	has(PLACE "/shared", AT "stdout F one\n" AT "stdout F other\n" AT "stdout F two\n");
	sys_close(others);
}

/* A writer that was killed behind its write and before its commit. */
static void test_writer_again(void)
{
	struct commit before[2];
	struct log_file files[2];
	int a = open_log(PLACE "/a");
	u32 current;

	ring_push_control(r, RECORD_FILE, 1, 1, (u64)a);
	say(1, "one\n");
	all_steps();
	memcpy(before, r->commits, sizeof(before));
	memcpy(files, &r->files[1], sizeof(files));
	current = r->current;
	say(1, "two\nthree\n");
	all_steps();
	memcpy(r->commits, before, sizeof(before));
	memcpy(&r->files[1], files, sizeof(files));
	r->current = current;
	say(1, "four\n");
	writer_recover(r);
	all_steps();
	has(PLACE "/a", AT "stdout F one\n" AT "stdout F two\n" AT "stdout F three\n" AT "stdout F four\n");
	/* Killed behind the commit and before the slot's copy of it. */
	memset(&r->files[1], 0xff, sizeof(r->files[1]));
	writer_recover(r);
	say(1, "five\n");
	ring_push_control(r, RECORD_END, 1, 0, 0);
	all_steps();
	CHECK(content(PLACE "/a") == 5 * 41 + 3 + 3 + 5 + 4 + 4 - 0 && !is_open(a));
}

static void test_writer_full_disk(void)
{
	int a = open_log(SMALL "/a"), filler = open_log(SMALL "/filler");
	static u8 zeroes[4096];
	u64 n, lines = 0, bytes = 0, kept;
	struct log_file *f = &r->files[1];

	/* All but two pages are somebody else's. */
	while (sys_write(filler, zeroes, sizeof(zeroes)) > 0)
		;
	sys_fstat(filler, &(struct stat){0});
	n = content(SMALL "/a");
	CHECK(n == 0);
	CHECK(sys_ftruncate(filler, (1 << 20) - 8 * 4096) == 0);
	ring_push_control(r, RECORD_FILE, 1, 1, (u64)a);
	say_much(1, 60000, 100);
	say_much(1, 30000, 100);
	all_steps();
	CHECK(f->error == ENOSPC && f->dropped_lines > 0);
	kept = n = content(SMALL "/a");
	CHECK(n > 0 && n % 140 == 0 && n == f->offset);
	format_count(formatted, n, &lines, &bytes);
	CHECK(lines + f->dropped_lines == 900 && bytes + f->dropped_bytes == 90000);
	/* Within the second nothing is tried, though there is room again. */
	CHECK(sys_ftruncate(filler, 0) == 0);
	f->retry = r->commits[r->current].file.retry = sys_clock(CLOCK_MONOTONIC) + 1000000000000ul;
	say(1, "lost\n");
	all_steps();
	CHECK(content(SMALL "/a") == kept);
	/* Behind it one line tells of the gap. */
	f->retry = r->commits[r->current].file.retry = 0;
	say(1, "again\n");
	all_steps();
	n = content(SMALL "/a");
	formatted[n] = 0;
	const char *gap = (char *)formatted + kept + 31;
	CHECK(memcmp(gap, "stderr F podlet: the log could not be written (errno 28): lost here ", 68) == 0);
	CHECK(memcmp(formatted + n - strlen(AT "stdout F again\n"), AT "stdout F again\n", strlen(AT "stdout F again\n")) == 0);
	CHECK(f->error == 0 && f->lost_lines == 0 && f->dropped_lines == 900 - lines + 1);
	ring_push_control(r, RECORD_END, 1, 0, 0);
	all_steps();
	sys_close(filler);
}

/* A file that can't be written at all, and one with a size limit. */
static void test_writer_errors(void)
{
	int closed = open(PLACE "/a", O_RDONLY | O_CLOEXEC);

	ring_push_control(r, RECORD_FILE, 1, 1, (u64)closed);
	say(1, "one\ntwo\n");
	all_steps();
	CHECK(r->files[1].error == EBADF && r->files[1].dropped_lines == 2 && r->files[1].dropped_bytes == 8);
	/* The next file works, and has the gap in it. */
	int a = open_log(PLACE "/a");
	ring_push_control(r, RECORD_FILE, 1, 0, (u64)a);
	say(1, "three\n");
	ring_push_control(r, RECORD_END, 1, 0, 0);
	all_steps();
	u64 n = content(PLACE "/a"), lines = 0, bytes = 0;
	format_count(formatted, n, &lines, &bytes);
	CHECK(lines == 2 && !is_open(closed) && !is_open(a));
	/* A new process in the slot starts with no losses. */
	ring_push_control(r, RECORD_FILE, 1, 1, (u64)open_log(PLACE "/a"));
	ring_push_control(r, RECORD_END, 1, 0, 0);
	all_steps();
	CHECK(r->files[1].dropped_lines == 0);
}

static void test_writer(void)
{
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount("none", "/", 0, 1 << 14 | 1 << 18, 0) == 0);	/* MS_REC | MS_PRIVATE */
	CHECK(mount("tmpfs", "/tmp", "tmpfs", 0, 0) == 0);
	CHECK(mkdir(PLACE, 0700) == 0 && mkdir(SMALL, 0700) == 0);
	CHECK(mount("tmpfs", SMALL, "tmpfs", 0, "size=1m") == 0);
	r = ring_map();
	CHECK(r != 0);
	test_writer_switch();
	test_writer_same_file();
	test_writer_shared_file();
	test_writer_again();
	test_writer_full_disk();
	test_writer_errors();
}

int main(void)
{
	test_validate();
	test_play();
	test_decode();
	test_clone_check();
	test_format();
	test_newlines();
	test_memory();
	test_ring();
	test_writer();
	printf("unit: ok\n");
	return 0;
}
