/* pause.h - the two roles that serve podlet. */
#ifndef PODLET_PAUSE_H
#define PODLET_PAUSE_H

#include "server.h"

/* nursery_main serves the socket pair at fd until podlet's end of it is gone. */
void __attribute__((noreturn)) nursery_main(int fd);

/* pause_main is what a CLONE_PAUSE child becomes; s is the nursery's, to be made anew. A failure before it can serve is reported in *status. */
void __attribute__((noreturn)) pause_main(struct server *s, int listen, const int *cgroups, u32 ncgroups, const char *name,
					  struct tape_status *status);

#endif
