/* title.h - what ps shows. */
#ifndef PODLET_TITLE_H
#define PODLET_TITLE_H

/* title_init notes where the kernel keeps the command line; podlet pads argv[0] so that there is room. */
void title_init(int argc, char **argv);

/* title_set makes the command line "role name", cut to the room there is, and the task's name `role` (at most 15 bytes). */
void title_set(const char *role, const char *name);

/* title_role changes the role and leaves the name. */
void title_role(const char *role);

#endif
