/* unit_ring.c - tests of the ring between the supervisor and its log writer. */
#include "../memory.h"
#include "../process.h"
#include "../ring.h"
#include "unit.h"

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

void test_ring(void)
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
