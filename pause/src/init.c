/*
 * init.c - the PID 1 of a pod's shared PID namespace: inherits orphans and outlives every container.
 *
 * Containers see this process, and a root with default capabilities may look through /proc/1 of a PID 1 that is worth
 * looking through. So there is nothing to find: the tape gave it an empty read-only root, it holds one
 * pipe end, it has no capability and can't be made dumpable.
 */
#include "init.h"
#include "launch.h"
#include "sys.h"
#include "title.h"

static int give_up_privileges(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0}, {0}};
	long error = 0;

	/* EINVAL: behind the last capability that this kernel has. */
	for (u64 cap = 0; error == 0; cap++)
		error = sys_prctl(PR_CAPBSET_DROP, cap, 0);
	if (error != -EINVAL)
		return (int)error;
	error = sys_capset(&h, none);
	if (error == 0)
		error = sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0);
	if (error == 0)
		error = sys_prctl(PR_SET_DUMPABLE, 0, 0);
	return (int)error;
}

void init_main(int gate, const char *name, struct tape_status *status)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	long error;
	u8 byte;

	title_set("podlet-init", name);
	/* Who ignores SIGCHLD has his children reaped by the kernel, orphans too: no zombie, no wake-up. */
	error = sys_sigaction(SIGCHLD, &ignore);
	if (error == 0)
		error = give_up_privileges();
	if (error < 0) {
		status->error = (s32)-error;
		sys_exit(LAUNCH_FAILED);
	}
	status->done = 1;
	while (sys_read(gate, &byte, 1) > 0)
		;
	sys_exit(0);
}
