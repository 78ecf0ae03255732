/* memory.h - the functions that a compiler may call even in freestanding C. */
#ifndef PODLET_MEMORY_H
#define PODLET_MEMORY_H

#include "types.h"

void *memcpy(void *to, const void *from, u64 n);
void *memset(void *to, int byte, u64 n);
int memcmp(const void *a, const void *b, u64 n);

#endif
