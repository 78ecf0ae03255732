/* memory.c - memcpy and its kin, for the build without a libc. */
#include "memory.h"

/*
 * Log lines of some hundred bytes are what is copied most: 16 bytes at a time (a fixed-size builtin is one
 * unaligned load and store), the last block overlapping the one before it.
 */
void *memcpy(void *to, const void *from, u64 n)
{
	u8 *d = to;
	const u8 *s = from;
	u64 i = 0;

	if (n < 16) {
		for (; i < n; i++)
			d[i] = s[i];
		return to;
	}
	for (; i + 16 <= n; i += 16)
		__builtin_memcpy(d + i, s + i, 16);
	__builtin_memcpy(d + n - 16, s + n - 16, 16);
	return to;
}

void *memset(void *to, int byte, u64 n)
{
	u8 *d = to;

	for (u64 i = 0; i < n; i++)
		d[i] = (u8)byte;
	return to;
}

int memcmp(const void *a, const void *b, u64 n)
{
	const u8 *x = a, *y = b;

	for (u64 i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}
