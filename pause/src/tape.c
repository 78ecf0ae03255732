/*
 * tape.c - is this tape safe to play? Everything a tape says is checked here, once, before its first step; the
 * player then trusts it. The fuzzer calls the same function.
 */
#include "sys.h"
#include "tape.h"

/* A part of the tape: n entries of `each` bytes from off on. Returns its end, or 0 if it starts before `from`, is misaligned or ends behind `size`. */
static u64 part_end(u64 from, u64 off, u64 n, u64 each, u64 size)
{
	u64 end = off + n * each;	/* all came from 32-bit numbers: 64 bits can't overflow */

	if (off < from || off % 8 != 0 || end > size)
		return 0;
	return end;
}

static int header_valid(const struct tape_header *h, u64 size, u32 nfds)
{
	u64 end = sizeof(*h);

	if (h->magic != TAPE_MAGIC || h->version != TAPE_VERSION || h->arch != ARCH_AUDIT)
		return 0;
	if (h->size != size || h->reserved != 0)
		return 0;
	if (h->nfds != nfds || nfds > TAPE_MAX_FDS || h->nsteps > TAPE_MAX_STEPS)
		return 0;
	end = part_end(end, h->steps_off, h->nsteps, sizeof(struct tape_step), size);
	if (end == 0)
		return 0;
	end = part_end(end, h->relocs_off, h->nrelocs, sizeof(struct tape_reloc), size);
	if (end == 0)
		return 0;
	return part_end(end, h->data_off, h->data_size, 1, size) != 0;
}

/*
 * Where the last NUL of data stands. A string that starts at or before it is terminated inside data, so one
 * backward look replaces a scan per string.
 */
static s64 last_nul(const u8 *data, u64 size)
{
	for (u64 i = size; i > 0; i--)
		if (data[i - 1] == 0)
			return (s64)(i - 1);
	return -1;
}

static int arg_valid(const struct tape *t, u8 kind, u64 arg, u64 written, s64 nul)
{
	switch (kind) {
	case TAPE_ARG_IMM:
		return 1;
	case TAPE_ARG_STR:
		return arg < TAPE_MAX_SIZE && (s64)arg <= nul;
	case TAPE_ARG_BUF:
		return (arg & 0xffffffffu) + (arg >> 32) <= t->header->data_size;
	case TAPE_ARG_FD:
		return arg < t->header->nfds;
	case TAPE_ARG_REG:
		return arg < TAPE_REGISTERS && (written >> arg & 1);
	default:
		return 0;
	}
}

static int step_valid(const struct tape *t, u32 i, u64 written, s64 nul)
{
	const struct tape_step *s = &t->steps[i];
	u8 known = TAPE_STEP_FORK | TAPE_STEP_SKIP | TAPE_STEP_POSITIVE | TAPE_STEP_TRY | TAPE_STEP_RETRY;

	if ((s->flags & ~known) != 0 || (s->dst >= TAPE_REGISTERS && s->dst != TAPE_NO_REGISTER))
		return 0;
	if (s->flags & TAPE_STEP_SKIP ? (u64)i + 1 + s->skip > t->header->nsteps : s->skip != 0)
		return 0;
	for (u32 k = 0; k < sizeof(s->reserved); k++)
		if (s->reserved[k] != 0)
			return 0;
	for (u32 k = 0; k < 6; k++)
		if (!arg_valid(t, s->kind[k], s->arg[k], written, nul))
			return 0;
	return 1;
}

/* A relocation stays inside data and off the NUL that terminates the strings. */
static int reloc_valid(const struct tape *t, const struct tape_reloc *r, s64 nul)
{
	u64 width = r->kind == TAPE_RELOC_FD ? 4 : 8;
	u64 end = r->where + width;

	if (r->where % width != 0 || end > t->header->data_size)
		return 0;
	if ((s64)r->where <= nul && nul < (s64)end)
		return 0;
	switch (r->kind) {
	case TAPE_RELOC_DATA:
		return r->value < t->header->data_size;
	case TAPE_RELOC_FD:
	case TAPE_RELOC_FD64:
		return r->value < t->header->nfds;
	default:
		return 0;
	}
}

int tape_validate(struct tape *out, void *base, u64 size, u32 nfds)
{
	struct tape t = {.header = base};
	u64 written = 0;	/* registers that some earlier step fills */
	u32 forks = 0;
	s64 nul;

	if (size < sizeof(*t.header) || size > TAPE_MAX_SIZE || !header_valid(t.header, size, nfds))
		return -EINVAL;
	t.steps = (struct tape_step *)((u8 *)base + t.header->steps_off);
	t.relocs = (struct tape_reloc *)((u8 *)base + t.header->relocs_off);
	t.data = (u8 *)base + t.header->data_off;
	nul = last_nul(t.data, t.header->data_size);

	for (u32 i = 0; i < t.header->nsteps; i++) {
		if (!step_valid(&t, i, written, nul))
			return -EINVAL;
		if (t.steps[i].dst != TAPE_NO_REGISTER)
			written |= 1ul << t.steps[i].dst;
		if (t.steps[i].flags & TAPE_STEP_FORK)
			forks++;
	}
	if (forks > 1)	/* the status slot has room for one pid */
		return -EINVAL;
	for (u32 i = 0; i < t.header->nrelocs; i++)
		if (!reloc_valid(&t, &t.relocs[i], nul))
			return -EINVAL;
	*out = t;
	return 0;
}
