/*
 * writer.c - the log writer.
 *
 * Why a process and not a thread: memory, the page cache of the logs included, is charged to the owner of a process's
 * memory map; a task that shares the supervisor's would be charged to podlet. Why the shared fd table: no message has to
 * get through to a writer that hangs before a log can begin, end or be rotated. Who owns a log's fd is settled by the
 * ring: from the push of its FILE record on it is the writer's, and only the writer closes it.
 *
 * Files are written with pwrite at an offset of the writer's own, never at the file's: so whoever takes over from a writer that was
 * killed repeats its last, uncommitted write in place, and no line is lost or doubled. Whoever else writes to the file is followed, not
 * overtaken; only lines that are written at the very same moment can meet.
 */
#include "format.h"
#include "memory.h"
#include "title.h"
#include "writer.h"

#define SECOND		1000000000ul
#define RETRY_NS	SECOND	/* between two tries to write a file that failed */
#define FIRST_STEPS	8	/* before it joins its cgroups, or leaves */
#define OUT_OF_MEMORY	1	/* exit code */
#define IDLE_SECONDS	60	/* without output; then the writer goes, and the next output starts another one */

static u8 out[128u << 10] __attribute__((aligned(ARCH_PAGE)));
static int charged;	/* 1: to the pod, whose limits it meets */
static int repeats;	/* 1: the next step may be one that the writer before had begun */

static int same_file(int a, int b)
{
	struct stat s, t;

	return sys_fstat(a, &s) == 0 && sys_fstat(b, &t) == 0 && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

static void open_file(struct log_file *f, int fd, int fresh)
{
	struct stat st = {0};
	long flags = sys_fcntl(fd, F_GETFL, 0);
	int again = !fresh && same_file(f->fd, fd);

	if (fresh)
		memset(f, 0, sizeof(*f));
	f->fd = fd;
	f->retry = 0;
	/* pwrite on an O_APPEND file appends, whatever the offset. */
	if (flags >= 0 && (flags & O_APPEND))
		sys_fcntl(fd, F_SETFL, flags & ~O_APPEND);
	/* Where its last whole line ends is known already; behind that may be a torn one that couldn't be cut off. */
	if (again)
		return;
	f->stream = sys_fstat(fd, &st) < 0 || (st.st_mode & S_IFMT) != S_IFREG;
	f->offset = f->stream ? 0 : (u64)st.st_size;
}

/* Writes n bytes at the file's end as far as it goes. Returns how many it wrote, *error is 0 or why it weren't more. */
static u64 write_out(const struct log_file *f, const u8 *text, u64 n, int *error)
{
	u64 done = 0;

	*error = 0;
	while (done < n) {
		long wrote = f->stream ? sys_write(f->fd, text + done, n - done)
				       : sys_pwrite(f->fd, text + done, n - done, f->offset + done);

		if (wrote == -EINTR)
			continue;
		/* The pod's memory is full and the kernel found nothing to kill. As if it had killed the writer: the successor begins outside. */
		if (wrote == -ENOMEM && charged && !f->stream)
			sys_exit(OUT_OF_MEMORY);
		if (wrote <= 0) {
			*error = wrote < 0 ? (int)-wrote : EIO;
			break;
		}
		done += (u64)wrote;
	}
	return done;
}

/*
 * Somebody may have emptied the file to get space back, or written to it, as another container with the same log path does: where it ends now is
 * where to go on. But what lies behind the offset after a failure is a torn line, and as a writer begins what the one before wrote and didn't
 * commit: these are written over.
 */
static void follow_end(struct log_file *f)
{
	struct stat st;

	if (!f->stream && sys_fstat(f->fd, &st) == 0 && ((u64)st.st_size < f->offset || (f->error == 0 && !repeats)))
		f->offset = (u64)st.st_size;
}

static void lose(struct log_file *f, const u8 *text, u64 n)
{
	u64 lines = 0, bytes = 0;

	format_count(text, n, &lines, &bytes);
	f->dropped_lines += lines;
	f->dropped_bytes += bytes;
	f->lost_lines += lines;
	f->lost_bytes += bytes;
}

/* Writes whole lines. After a failure the file ends with the last line that is whole, and what follows is lost. */
static void write_lines(struct log_file *f, const u8 *text, u64 n)
{
	int error;
	u64 wrote, whole;

	follow_end(f);
	wrote = write_out(f, text, n, &error);
	whole = error == 0 ? n : format_behind_newline(text, wrote);
	f->offset += whole;
	if (error == 0)
		return;
	if (!f->stream && wrote > whole)
		sys_ftruncate(f->fd, f->offset);
	lose(f, text + whole, n - whole);
	f->error = error;
	f->retry = sys_clock(CLOCK_MONOTONIC) + RETRY_NS;
}

/* Tries a file that failed again: it works if it takes the line that tells of the gap. */
static void try_again(struct log_file *f)
{
	u8 line[FORMAT_LOST];
	u64 n, wrote;
	int error;

	if (f->lost_lines == 0) {
		f->error = 0;
		return;
	}
	n = format_lost(line, sys_clock(CLOCK_REALTIME), f->lost_lines, f->lost_bytes, f->error);
	follow_end(f);
	/* The torn line that couldn't be cut off when it was torn. */
	if (!f->stream)
		sys_ftruncate(f->fd, f->offset);
	wrote = write_out(f, line, n, &error);
	if (error == 0) {
		f->offset += n;
		f->lost_lines = f->lost_bytes = 0;
		f->error = 0;
		return;
	}
	if (!f->stream && wrote > 0)
		sys_ftruncate(f->fd, f->offset);
	f->error = error;
	f->retry = sys_clock(CLOCK_MONOTONIC) + RETRY_NS;
}

static void log_lines(struct log_file *f, const u8 *text, u64 n)
{
	if (f->fd >= 0 && f->error != 0 && sys_clock(CLOCK_MONOTONIC) >= f->retry)
		try_again(f);
	if (f->fd >= 0 && f->error == 0)
		write_lines(f, text, n);
	else
		lose(f, text, n);
}

/* Formats from the record at c->tail on what is of the same slot and fits into out. */
static u64 fill(const struct ring *r, struct commit *c, const struct record *rec)
{
	u8 prefix[FORMAT_PREFIX];
	u64 n = 0;

	while (rec != 0 && rec->kind == RECORD_DATA && rec->slot == c->slot) {
		format_prefix(prefix, rec->value, rec->stream);
		n += format_lines(prefix, record_data(rec), rec->size, &c->at, out + n, sizeof(out) - n);
		if (c->at < rec->size)
			break;
		c->tail = record_end(rec, c->tail);
		c->at = 0;
		rec = ring_next(r, c->tail);
	}
	return n;
}

int writer_step(struct ring *r)
{
	struct commit c = r->commits[r->current];
	const struct record *rec = ring_next(r, c.tail);
	int done = NO_FD, heard;

	if (rec == 0)
		return 0;
	if (rec->kind != RECORD_PAD) {
		c.slot = rec->slot;
		c.file = r->files[c.slot];
	}
	switch (rec->kind) {
	case RECORD_DATA:
		log_lines(&c.file, out, fill(r, &c, rec));
		break;
	case RECORD_FILE:
		done = rec->stream ? NO_FD : c.file.fd;
		open_file(&c.file, (int)rec->value, rec->stream);
		c.tail = record_end(rec, c.tail);
		break;
	case RECORD_END:
		if (c.file.fd >= 0 && c.file.error != 0)
			try_again(&c.file);
		done = c.file.fd;
		c.file.fd = NO_FD;
		c.tail = record_end(rec, c.tail);
		break;
	default:
		c.tail = record_end(rec, c.tail);
		break;
	}
	heard = ring_commit(r, &c);
	repeats = 0;
	/* Behind the commit, so that no successor closes it again: the number may be another file's by then. */
	if (done >= 0)
		sys_close(done);
	return heard ? 2 : 1;
}

/* Waits for a record. Returns 0 if none came in that many seconds. */
static int wait_for_record(struct ring *r, int seconds)
{
	struct timespec most = {seconds, 0};
	u32 seen = __atomic_load_n(&r->kick, __ATOMIC_SEQ_CST);
	long result = 0;

	__atomic_store_n(&r->asleep, 1, __ATOMIC_SEQ_CST);
	if (ring_next(r, ring_tail(r)) == 0)
		result = sys_futex_wait(&r->kick, seen, &most);
	__atomic_store_n(&r->asleep, 0, __ATOMIC_SEQ_CST);
	return result != -ETIMEDOUT;
}

/* Carries out at most that many steps. Returns whether the supervisor waits for a word. */
static int some_steps(struct ring *r, u32 most)
{
	int result = 1, heard = 0;

	for (u32 i = 0; i < most && result != 0; i++) {
		result = writer_step(r);
		heard |= result == 2;
	}
	return heard;
}

static void tell(int event)
{
	u64 one = 1;

	sys_write(event, &one, sizeof(one));
}

static int to_leave(const struct ring *r) { return __atomic_load_n(&r->leave, __ATOMIC_SEQ_CST) != 0; }

static void join(const struct writer *w)
{
	charged = w->place == WRITER_CHARGED;
	for (u32 i = 0; i < w->ncgroups; i++)
		if (sys_write(w->cgroups[i], "0", 1) == 1)
			charged = 1;
}

void writer_recover(struct ring *r)
{
	ring_recover(r);
	repeats = 1;
}

void writer_main(struct ring *r, const struct writer *w)
{
	int result, heard;

	title_role("podlet-logger");
	/* A pod with the host's PID namespace has no guard that takes the writer along. */
	sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0);
	writer_recover(r);
	/* Joining may take many milliseconds on v1. What a short process wrote shall be in its log by then; a flood can wait. */
	heard = some_steps(r, FIRST_STEPS);
	if (w->place == WRITER_LEAVES)
		sys_exit(0);
	if (heard)
		tell(w->event);
	join(w);
	for (;;) {
		while (!to_leave(r) && (result = writer_step(r)) != 0)
			if (result == 2)
				tell(w->event);
		if (to_leave(r))
			sys_exit(0);
		if (wait_for_record(r, 1))
			continue;
		sys_madvise(out, sizeof(out), MADV_DONTNEED);
		if (!wait_for_record(r, IDLE_SECONDS))
			sys_exit(0);
	}
}
