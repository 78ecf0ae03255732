/* unit_tape.c - tests of what passes for a tape, and of what is done for each kind of step. */
#include "../memory.h"
#include "../sys.h"
#include "../tape.h"
#include "unit.h"

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

void test_validate(void)
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

void test_play(void)
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
