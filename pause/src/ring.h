/*
 * ring.h - the memory between the supervisor and its log writer: records on their way to the logs.
 *
 * One producer (the supervisor), one consumer (the writer). Positions only ever grow; position % RING_SIZE is the
 * place in data. A record never wraps: where the rest of data is too small, a PAD record fills it.
 *
 *	        consumed         committed by the writer        being filled by read(2)
 *	... ----------------> tail ======= records =======> head .......................> tail + RING_SIZE
 *
 * The writer may be killed between any two instructions. All it knows beside the records is one struct commit; it
 * fills the one of two that isn't in use and then changes `current`, a single store. What it wrote into a
 * file but hadn't committed, its successor writes once more, the same bytes at the same offset.
 */
#ifndef PODLET_RING_H
#define PODLET_RING_H

#include "limits.h"
#include "sys.h"

#define RING_SIZE	(1u << 20)	/* bytes; what containers may write while their writer hangs on a disk */
#define RING_KEEP	(32u << 10)	/* bytes of data that stay allocated when the ring was full and is empty again */
/* For the control records: of a slot no more than 4 may be on their way (its file, LOG without one, its file again, its end). */
#define RING_RESERVE	(PROTO_MAX_PROCESSES * 4u * (u32)sizeof(struct record))
#define RING_NEVER	(~0ul)

enum {
	RECORD_PAD = 0,
	RECORD_DATA,	/* output of `stream`: whole lines, whole segments of FORMAT_SEGMENT, or with no newline at its end what was left */
	RECORD_FILE,	/* from here on the slot's output goes to the file `value`; the writer closes the one before */
	RECORD_END,	/* the slot's log ends; the writer closes its file */
};

struct record {
	u32 size;	/* bytes behind this header; the next record is at a multiple of its size */
	u16 slot;
	u8 kind;
	u8 stream;	/* FILE: 1 where the slot has a new process, so that its counters start at 0 */
	u64 value;	/* DATA: CLOCK_REALTIME ns of the reading; FILE: the fd, the writer's to close */
};

/* A slot's log file as the writer knows it. */
struct log_file {
	s32 fd;			/* NO_FD: none */
	s32 error;		/* errno of the write that failed, 0: all is well */
	u64 offset;		/* behind the last whole line */
	u64 retry;		/* CLOCK_MONOTONIC ns: with an error, not to be tried before */
	u64 dropped_bytes;	/* since the process began */
	u64 dropped_lines;
	u64 lost_bytes;		/* not yet told in the log itself */
	u64 lost_lines;
	u32 stream;		/* 1: no regular file, so it has no offsets */
	u32 reserved;
};

struct commit {
	u64 tail;		/* position of the first record that isn't all written */
	u64 at;			/* bytes of its data that are */
	u32 slot;		/* the one it changed last, */
	u32 reserved;
	struct log_file file;	/* and what is true of its file now */
};

struct ring {
	u64 head;		/* the supervisor's */
	u64 high;		/* bytes of data touched since the last trim; the supervisor's */
	u64 notify_at;		/* the supervisor wants to hear when the tail gets here; RING_NEVER: it doesn't */
	u32 kick;		/* a futex; counts the supervisor's pushes */
	u32 asleep;		/* the writer waits for a kick */
	u32 current;		/* which commit counts */
	u32 leave;		/* the writer is to end, as soon as it can; the supervisor's */
	struct commit commits[2];
	struct log_file files[PROTO_MAX_PROCESSES];
	u8 data[RING_SIZE] __attribute__((aligned(ARCH_PAGE)));
};

/* ring_map makes an empty ring in memory that children share, or returns 0. */
struct ring *ring_map(void);

static inline u64 ring_tail(const struct ring *r)
{
	u32 current;
	u64 tail;

	/* Into a commit that counts no more the writer may be putting its next one already, which doesn't count yet: it may be killed. */
	do {
		current = __atomic_load_n(&r->current, __ATOMIC_SEQ_CST);
		tail = __atomic_load_n(&r->commits[current].tail, __ATOMIC_SEQ_CST);
	} while (__atomic_load_n(&r->current, __ATOMIC_SEQ_CST) != current);
	return tail;
}

/* The supervisor's side. */

/*
 * ring_room returns where the data of a next record may be put, and in *most how much of it; 0 if there is no room
 * for `least` bytes, the reserve for control records not counted.
 */
u8 *ring_room(struct ring *r, u64 least, u64 *most);

/* ring_has_room tells whether n bytes are free, the reserve not counted. */
int ring_has_room(const struct ring *r, u64 n);

/* ring_push_data makes the size bytes at ring_room's place, 1 at least, the next record. */
void ring_push_data(struct ring *r, u32 slot, u32 stream, u64 time, u64 size);

/* ring_push_control appends a FILE or END record; there is always room. */
void ring_push_control(struct ring *r, u32 kind, u32 slot, u32 stream, u64 value);

/* ring_kick wakes the writer if it sleeps. */
void ring_kick(struct ring *r);

/* ring_notify asks for a word when the tail has reached `at`; look at the tail again behind it. */
void ring_notify(struct ring *r, u64 at);

/* ring_trim gives memory back if the ring is empty. Returns 0 when there is no more to give, else it is to be called again later. */
int ring_trim(struct ring *r);

/* ring_release gives all memory of data back if the ring is empty: nothing came for long. */
void ring_release(struct ring *r);

/* The writer's side. */

/* ring_next returns the record at position tail, or 0 if that is the head. */
const struct record *ring_next(const struct ring *r, u64 tail);

/* record_end returns the position behind rec, which is at `at`. */
static inline u64 record_end(const struct record *rec, u64 at)
{
	return at + sizeof(*rec) + ((rec->size + sizeof(*rec) - 1) & ~(sizeof(*rec) - 1));
}

static inline const u8 *record_data(const struct record *rec) { return (const u8 *)(rec + 1); }

/* ring_recover makes good what the last writer committed and didn't carry out. ring_commit returns whether the supervisor waits for it. */
void ring_recover(struct ring *r);
int ring_commit(struct ring *r, const struct commit *c);

#endif
