/* logwriter.h - the log writer's life. */
#ifndef PODLET_LOGWRITER_H
#define PODLET_LOGWRITER_H

#include "server.h"

/* logwriter_ask asks podlet for the cgroups of a writer that runs, where they aren't known. */
void logwriter_ask(struct server *s);

/* logwriter_cgroups takes them from the fds in hand; the writer that runs makes way for one in there. Returns 0 or -errno. */
int logwriter_cgroups(struct server *s, const struct msg_writer *m);

/* logwriter_keep starts a writer where there is something to write and none runs. */
void logwriter_keep(struct server *s, u64 now);

#endif
