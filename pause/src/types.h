/* types.h - fixed-width names, as the kernel spells them. */
#ifndef PODLET_TYPES_H
#define PODLET_TYPES_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef int s32;
typedef long s64;

#endif
