/* ring.c - the memory between the supervisor and its log writer. */
#include "memory.h"
#include "ring.h"

struct ring *ring_map(void)
{
	long p = sys_mmap(sizeof(struct ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, NO_FD);
	struct ring *r;

	if (sys_failed(p))
		return 0;
	r = (struct ring *)p;
	r->notify_at = RING_NEVER;
	return r;
}

static struct record *at(struct ring *r, u64 position) { return (struct record *)&r->data[position % RING_SIZE]; }

static void publish(struct ring *r, u64 head) { __atomic_store_n(&r->head, head, __ATOMIC_SEQ_CST); }

/* Fills the rest of data, so that the next record starts at its beginning. It is in use until the writer has seen it, so that is told at once. */
static void pad(struct ring *r)
{
	u64 rest = RING_SIZE - r->head % RING_SIZE;
	struct record *rec = at(r, r->head);

	*rec = (struct record){.size = (u32)(rest - sizeof(*rec)), .kind = RECORD_PAD};
	publish(r, r->head + rest);
	ring_kick(r);
}

u8 *ring_room(struct ring *r, u64 least, u64 *most)
{
	u64 tail = ring_tail(r), used = r->head - tail, rest = RING_SIZE - r->head % RING_SIZE;
	u64 skip = 0, room;

	/* An empty ring starts over, as soon as what was used before leaves room enough: who logs little touches few pages. */
	if (rest < least + sizeof(struct record) || (used == 0 && RING_SIZE - rest >= RING_RESERVE + sizeof(struct record) + least + 4096))
		skip = rest;
	if (used + skip + RING_RESERVE + sizeof(struct record) + least > RING_SIZE)
		return 0;
	room = RING_SIZE - used - skip - RING_RESERVE;
	if (skip != 0)
		pad(r);
	else if (room > rest)
		room = rest;
	*most = (room & ~(sizeof(struct record) - 1)) - sizeof(struct record);
	return (u8 *)(at(r, r->head) + 1);
}

int ring_has_room(const struct ring *r, u64 n) { return r->head - ring_tail(r) + n + RING_RESERVE <= RING_SIZE; }

static void push(struct ring *r, const struct record *rec)
{
	u64 end = record_end(rec, r->head), place = r->head % RING_SIZE + (end - r->head);

	*at(r, r->head) = *rec;
	if (place > r->high)
		r->high = place;
	publish(r, end);
}

void ring_push_data(struct ring *r, u32 slot, u32 stream, u64 time, u64 size)
{
	struct record rec = {(u32)size, (u16)slot, RECORD_DATA, (u8)stream, time};

	push(r, &rec);
}

void ring_push_control(struct ring *r, u32 kind, u32 slot, u32 stream, u64 value)
{
	struct record rec = {0, (u16)slot, (u8)kind, (u8)stream, value};

	push(r, &rec);
}

void ring_kick(struct ring *r)
{
	__atomic_add_fetch(&r->kick, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&r->asleep, __ATOMIC_SEQ_CST))
		sys_futex_wake(&r->kick);
}

void ring_notify(struct ring *r, u64 position) { __atomic_store_n(&r->notify_at, position, __ATOMIC_SEQ_CST); }

int ring_trim(struct ring *r)
{
	if (r->high <= RING_KEEP)
		return 0;
	if (ring_tail(r) != r->head)
		return 1;
	if (r->head % RING_SIZE > RING_KEEP) {
		pad(r);
		return 1;
	}
	sys_madvise(r->data + RING_KEEP, RING_SIZE - RING_KEEP, MADV_REMOVE);
	r->high = RING_KEEP;
	return 0;
}

void ring_release(struct ring *r)
{
	if (ring_tail(r) != r->head)
		return;
	sys_madvise(r->data, RING_SIZE, MADV_REMOVE);
	r->high = 0;
}

const struct record *ring_next(const struct ring *r, u64 tail)
{
	if (tail == __atomic_load_n(&r->head, __ATOMIC_SEQ_CST))
		return 0;
	return (const struct record *)&r->data[tail % RING_SIZE];
}

void ring_recover(struct ring *r)
{
	const struct commit *c = &r->commits[r->current];

	r->asleep = 0;
	/* Before the first commit all of it is zeroes, and so is the file it would be copied to. */
	r->files[c->slot] = c->file;
}

int ring_commit(struct ring *r, const struct commit *c)
{
	u32 other = r->current ^ 1;
	u64 wanted;

	r->commits[other] = *c;
	__atomic_store_n(&r->current, other, __ATOMIC_SEQ_CST);
	r->files[c->slot] = c->file;

	/* Said once for each wish; one that comes in between is the supervisor's to check. */
	wanted = __atomic_load_n(&r->notify_at, __ATOMIC_SEQ_CST);
	return c->tail >= wanted &&
	       __atomic_compare_exchange_n(&r->notify_at, &wanted, RING_NEVER, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
