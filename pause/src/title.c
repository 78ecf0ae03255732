/* title.c - what ps shows: the command line is overwritten where it stands. */
#include "memory.h"
#include "sys.h"
#include "title.h"

static char *area;
static u64 room;
static char current[32];	/* the name, for another role */

void title_init(int argc, char **argv)
{
	if (argc == 0)
		return;
	area = argv[0];
	room = (u64)(argv[argc - 1] - area);
	while (area[room] != 0)
		room++;
}

static u64 append(u64 at, const char *text)
{
	while (*text != 0 && at < room)
		area[at++] = *text++;
	return at;
}

void title_role(const char *role)
{
	title_set(role, current);
}

void title_set(const char *role, const char *name)
{
	u64 at;

	if (name != current)
		for (at = 0; at < sizeof(current) - 1 && (current[at] = name[at]) != 0; at++)
			;

	sys_prctl(PR_SET_NAME, (u64)role, 0);
	if (room == 0)
		return;
	memset(area, 0, room);
	at = append(0, role);
	if (*name != 0)
		append(append(at, " "), name);
}
