/* unit_memory.c - tests of the freestanding build's own memory functions, beside libc's. */
#include "../memory.h"
#include "unit.h"

void *our_memcpy(void *to, const void *from, u64 n);
void *our_memset(void *to, int byte, u64 n);
int our_memcmp(const void *a, const void *b, u64 n);
#define memcpy our_memcpy
#define memset our_memset
#define memcmp our_memcmp
#include "../memory.c"
#undef memcpy
#undef memset
#undef memcmp

void test_memory(void)
{
	u8 from[80], to[80], want[80];

	for (u64 n = 0; n <= 64; n++) {
		for (u64 i = 0; i < 80; i++)
			from[i] = (u8)(i + n);
		memset(to, 0xee, 80);
		memset(want, 0xee, 80);
		memcpy(want + 8, from + 3, n);
		CHECK(our_memcpy(to + 8, from + 3, n) == to + 8 && memcmp(to, want, 80) == 0 && our_memcmp(to, want, 80) == 0);
		our_memset(to + 8, 0xee, n);
		memset(want, 0xee, 80);
		CHECK(memcmp(to, want, 80) == 0);
	}
	CHECK(our_memcmp("abc", "abd", 3) < 0 && our_memcmp("abd", "abc", 3) > 0 && our_memcmp("abc", "abd", 2) == 0);
}
