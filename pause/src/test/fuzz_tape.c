/*
 * fuzz_tape.c - any bytes as a tape: what tape_validate lets pass must be played without a touch outside of it. The
 * player's system calls are replaced by a function that makes results up.
 */
#include "../sys.h"
#include "../tape.h"

static u64 salt;

static long fake_call(long nr, long a, long b, long c, long d, long e, long f)
{
	salt = (salt ^ (u64)nr ^ (u64)a ^ (u64)b ^ (u64)c ^ (u64)d ^ (u64)e ^ (u64)f) * 6364136223846793005ul + 1;
	switch (salt >> 61) {
	case 0:
		return -ENOENT;
	case 1:
		return -(long)(salt >> 32 & 4095);
	default:
		return 0;	/* never more: a FORK step would end the fuzzer */
	}
}

#define syscall6 fake_call
#include "../play.c"

void *malloc(unsigned long size);
void *memcpy(void *to, const void *from, unsigned long size);
void free(void *p);
void abort(void) __attribute__((noreturn));
int LLVMFuzzerTestOneInput(const u8 *bytes, unsigned long size);

/* Walks every string and buffer; ASan watches. */
static u32 walk(const struct tape *t)
{
	u32 sum = 0;

	for (u32 i = 0; i < t->header->nsteps; i++)
		for (u32 k = 0; k < 6; k++) {
			const u8 *p = t->data + (u32)t->steps[i].arg[k];
			u64 n = t->steps[i].arg[k] >> 32;

			if (t->steps[i].kind[k] == TAPE_ARG_STR)
				while (*p != 0)
					sum += *p++;
			if (t->steps[i].kind[k] == TAPE_ARG_BUF && n > 0)
				sum += p[0] + p[n - 1];
		}
	return sum;
}

int LLVMFuzzerTestOneInput(const u8 *bytes, unsigned long size)
{
	static int fds[TAPE_MAX_FDS];
	struct tape_status status = {0};
	struct tape t;
	u8 *base = malloc(size + !size);
	u32 nfds = size >= sizeof(struct tape_header) ? ((const struct tape_header *)bytes)->nfds : 0;
	volatile u32 sum;
	int result;

	memcpy(base, bytes, size);
	if (tape_validate(&t, base, size, nfds) == 0) {
		sum = walk(&t);
		result = tape_play(&t, fds, &status);
		sum = walk(&t);
		(void)sum;
		if ((result < 0) != (status.error != 0) || (result < 0 && status.step >= t.header->nsteps))
			abort();
	}
	free(base);
	return 0;
}
