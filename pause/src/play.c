/*
 * play.c - carries out a checked tape, one system call after the other.
 *
 * Before each step the player stores the step's number in the status slot, a shared page: when the process dies or
 * is killed, the slot says where. A store is no system call, so this works behind any seccomp filter.
 */
#include "sys.h"
#include "tape.h"

static void relocate(struct tape *t, const int *fds)
{
	for (u32 i = 0; i < t->header->nrelocs; i++) {
		const struct tape_reloc *r = &t->relocs[i];
		u8 *at = t->data + r->where;

		if (r->kind == TAPE_RELOC_DATA)
			*(u64 *)at = (u64)(t->data + r->value);
		else if (r->kind == TAPE_RELOC_FD)
			*(u32 *)at = (u32)fds[r->value];
		else
			*(u64 *)at = (u64)fds[r->value];
	}
}

static long argument(const struct tape *t, const int *fds, const long *registers, const struct tape_step *s, u32 k)
{
	switch (s->kind[k]) {
	case TAPE_ARG_STR:
		return (long)(t->data + s->arg[k]);
	case TAPE_ARG_BUF:
		return (long)(t->data + (s->arg[k] & 0xffffffffu));
	case TAPE_ARG_FD:
		return fds[s->arg[k]];
	case TAPE_ARG_REG:
		return registers[s->arg[k]];
	default:
		return (long)s->arg[k];
	}
}

static long carry_out(const struct tape *t, const int *fds, const long *registers, const struct tape_step *s)
{
	u32 tries = s->flags & TAPE_STEP_RETRY ? TAPE_RETRIES : 0;
	long a[6], result;

	for (u32 k = 0; k < 6; k++)
		a[k] = argument(t, fds, registers, s, k);
	do
		result = syscall6(s->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	while (result == -EAGAIN && tries-- > 0);
	return result;
}

static int ignores(const struct tape_step *s, long error)
{
	for (u32 k = 0; k < TAPE_IGNORES; k++)
		if (s->ignore[k] != 0 && s->ignore[k] == error)
			return 1;
	return 0;
}

static int fail(volatile struct tape_status *status, u32 step, int error)
{
	status->step = step;
	status->error = error;
	return -error;
}

int tape_play(struct tape *t, const int *fds, struct tape_status *slot)
{
	volatile struct tape_status *status = slot;
	long registers[TAPE_REGISTERS];
	u32 tried = 0;		/* the TRY step to blame if the tape runs out */
	int tried_error = 0;

	/* A register whose step failed or was skipped reads as an fd that is never open. */
	for (u32 i = 0; i < TAPE_REGISTERS; i++)
		registers[i] = NO_FD;
	relocate(t, fds);

	for (u32 i = 0; i < t->header->nsteps; i++) {
		const struct tape_step *s = &t->steps[i];
		long result;

		status->step = i;
		result = carry_out(t, fds, registers, s);
		if ((s->flags & TAPE_STEP_FORK) && result > 0) {
			status->pid = (s32)result;
			sys_exit(0);
		}
		if ((s->flags & TAPE_STEP_POSITIVE) && result == 0)
			result = -EPIPE;
		if (sys_failed(result)) {
			if (!ignores(s, -result))
				return fail(status, i, (int)-result);
			/* Not what an earlier step left there: that fd is closed, and its number may be another file's. */
			if (s->dst != TAPE_NO_REGISTER)
				registers[s->dst] = NO_FD;
			if ((s->flags & TAPE_STEP_TRY) && (tried_error == 0 || tried_error == ENOENT)) {
				tried = i;
				tried_error = (int)-result;
			}
			continue;
		}
		if (s->dst != TAPE_NO_REGISTER)
			registers[s->dst] = result;
		if (s->flags & TAPE_STEP_TRY)
			tried_error = 0;
		if (s->flags & TAPE_STEP_SKIP)
			i += s->skip;
	}
	if (tried_error != 0)
		return fail(status, tried, tried_error);
	return 0;
}
