/* numbers.c - prints every number and layout of tape.h, a line each: name value. */
#include <stddef.h>
#include <stdio.h>
#include "sys.h"
#include "tape.h"

#define N(name) printf("%s %lu\n", #name, (unsigned long)(name))
#define SIZE(type) printf("sizeof %s %lu\n", #type, (unsigned long)sizeof(struct type))
#define AT(type, field) printf("%s.%s %lu\n", #type, #field, (unsigned long)offsetof(struct type, field))

int main(void)
{
	N(TAPE_MAGIC); N(TAPE_VERSION); N(TAPE_MAX_SIZE); N(TAPE_MAX_STEPS); N(TAPE_MAX_FDS); N(TAPE_REGISTERS);
	N(TAPE_NO_REGISTER); N(TAPE_IGNORES); N(TAPE_RETRIES); N(TAPE_STEP_INVALID); N(ARCH_AUDIT);
	N(TAPE_ARG_IMM); N(TAPE_ARG_STR); N(TAPE_ARG_BUF); N(TAPE_ARG_FD); N(TAPE_ARG_REG);
	N(TAPE_STEP_FORK); N(TAPE_STEP_SKIP); N(TAPE_STEP_POSITIVE); N(TAPE_STEP_TRY); N(TAPE_STEP_RETRY);
	N(TAPE_RELOC_DATA); N(TAPE_RELOC_FD); N(TAPE_RELOC_FD64);
	SIZE(tape_header); SIZE(tape_step); SIZE(tape_reloc);
	AT(tape_header, magic); AT(tape_header, version); AT(tape_header, arch); AT(tape_header, size);
	AT(tape_header, steps_off); AT(tape_header, nsteps); AT(tape_header, relocs_off); AT(tape_header, nrelocs);
	AT(tape_header, data_off); AT(tape_header, data_size); AT(tape_header, nfds); AT(tape_header, reserved);
	AT(tape_step, nr); AT(tape_step, dst); AT(tape_step, flags); AT(tape_step, kind); AT(tape_step, skip);
	AT(tape_step, reserved); AT(tape_step, ignore); AT(tape_step, arg);
	AT(tape_reloc, where); AT(tape_reloc, kind); AT(tape_reloc, value);
	return 0;
}
