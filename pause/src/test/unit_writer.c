/* unit_writer.c - tests of the log writer, with files that switch, are shared, fill their disk or can't be written, and a writer that was killed. */
#include "../format.h"
#include "../limits.h"
#include "../memory.h"
#include "../process.h"
#include "../ring.h"
#include "../writer.h"
#include "unit.h"

int unshare(int flags);
int mount(const char *what, const char *where, const char *type, unsigned long flags, const void *data);
int open(const char *path, int flags, ...);
int mkdir(const char *path, unsigned mode);
unsigned long strlen(const char *s);

static struct ring *r;
static u8 formatted[400000];	/* what a log has in it */

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

void test_writer(void)
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
