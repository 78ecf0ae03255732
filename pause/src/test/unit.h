/* unit.h - what the files of the unit tests share, and their tests in the order in which unit.c runs them. */
#ifndef PODLET_TEST_UNIT_H
#define PODLET_TEST_UNIT_H

#define CHECK(what) ((what) ? (void)0 : fail(__FILE__, __LINE__, #what))

void __attribute__((noreturn)) fail(const char *file, int line, const char *what);

void test_validate(void);	/* unit_tape.c */
void test_play(void);
void test_decode(void);		/* unit_message.c */
void test_clone_check(void);
void test_format(void);		/* unit_format.c */
void test_newlines(void);
void test_memory(void);		/* unit_memory.c */
void test_ring(void);		/* unit_ring.c */
void test_writer(void);		/* unit_writer.c; the last, as it goes to a mount namespace of its own */

#endif
