/*
 * floor.c - reads what to do, one word a line, and answers each with the nanoseconds it took:
 *
 *	bridge			make the bridge that pods are put on
 *	up-hostnet, up-netns, up-bridge
 *				make a pod with one container, until its program runs
 *	exec			run /bin/true in it
 *	down			end the pod and remove what it had
 *
 *	printf 'up-hostnet\nexec\ndown\n' | floor LOWER[:LOWER...] SCRATCH CGROUP
 *
 * LOWER are directories, the topmost layer first, with /bin/sleep and /bin/true in one, SCRATCH one for writable layers, CGROUP the parent of the container's cgroup: an
 * absolute path that is there in every tree. The bridge is in the network namespace that the floor runs in, until its end.
 */
#include "floor.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

struct floor floor_;

static void carry_out(const char *what, struct pod *p)
{
	if (strcmp(what, "bridge") == 0)
		make_bridge();
	else if (strcmp(what, "up-hostnet") == 0)
		pod_up(p, HOST_NETWORK);
	else if (strcmp(what, "up-netns") == 0)
		pod_up(p, OWN_NETWORK);
	else if (strcmp(what, "up-bridge") == 0)
		pod_up(p, BRIDGED);
	else if (strcmp(what, "exec") == 0)
		exec_true(p);
	else if (strcmp(what, "down") == 0)
		pod_down(p);
	else {
		errno = EINVAL;
		die(what);
	}
}

/* As podlet does, and for its reason: see Spread in pod/record. */
static void spread(const char *dir)
{
	int fd = (int)must(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir), flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		flags |= FS_TOPDIR_FL;
		ioctl(fd, FS_IOC_SETFLAGS, &flags);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	static struct pod pod;
	char line[64], *layers = argv[1], *layer;

	if (argc != 4) {
		fprintf(stderr, "usage: floor LOWER[:LOWER...] SCRATCH CGROUP\n");
		return 2;
	}
	while ((layer = strsep(&layers, ":")) != 0 && floor_.nlower < MAX_LAYERS)
		floor_.lower[floor_.nlower++] = (int)must(open(layer, O_PATH | O_DIRECTORY | O_CLOEXEC), layer);
	floor_.scratch = (int)must(open(argv[2], O_PATH | O_DIRECTORY | O_CLOEXEC), argv[2]);
	spread(argv[2]);
	find_trees(argv[3]);
	load_device_program();
	make_masks();
	must(mkdirat(floor_.scratch, "pins", 0755), "pins");
	floor_.pins = (int)must(openat(floor_.scratch, "pins", O_PATH | O_DIRECTORY | O_CLOEXEC), "pins");
	start_nursery();
	while (fgets(line, sizeof(line), stdin) != 0) {
		uint64_t start;

		line[strcspn(line, "\n")] = 0;
		start = now();
		carry_out(line, &pod);
		printf("%s %llu\n", line, (unsigned long long)(now() - start));
		fflush(stdout);
		take_out(argv[2]);
	}
	remove_bridge();
	must(unlinkat(floor_.scratch, "pins", AT_REMOVEDIR), "pins");
	return 0;
}
