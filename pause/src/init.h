/* init.h - the PID 1 of a pod's shared PID namespace. */
#ifndef PODLET_INIT_H
#define PODLET_INIT_H

#include "tape.h"

/* init_main never returns; it ends, and its namespace with it, when gate reads EOF. */
void __attribute__((noreturn)) init_main(int gate, const char *name, struct tape_status *status);

#endif
