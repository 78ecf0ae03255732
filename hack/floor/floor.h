/*
 * floor.h - what the files of the floor share.
 *
 * The floor makes a pod of one container with the kernel work that podlet makes one with, and nothing else: no specification is read, no record
 * written, no message sent, no other process asked. What it takes is what the kernel takes, and what podlet's times are measured
 * against. Package hack/bench compares the numbers of the calls that cost (clone, setns, unshare, mounts, cgroup
 * joins, changes of links, addresses and routes), so that neither side can cheat.
 */
#ifndef FLOOR_H
#define FLOOR_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_TREES 16
#define MAX_LAYERS 16
#define NO_FD (-1)

/* A cgroup tree that containers join: the v1 tree of a controller, or the v2 tree. */
struct tree {
	char name[64];		/* "cpu,cpuacct"; "unified" for the v2 tree */
	int parent;		/* the directory below which cgroups are made */
	int v2, cpuset, pids;
	char cpus[256], mems[256];	/* of the parent, with the newline */
};

/* BRIDGED: on the bridge of network.c; OWN_NETWORK: with nothing but lo. */
enum network { HOST_NETWORK, OWN_NETWORK, BRIDGED };

/* One pod with its container. */
struct pod {
	char id[32];
	enum network network;
	int pause;		/* pidfd */
	pid_t app;		/* the container's first process */
	int app_fd;		/* its pidfd */
	int layer;		/* directory of the writable layer */
	int output[2];		/* read ends of stdout and stderr */
	int v2;			/* the container's directory in the v2 tree */
};

/* What is the same for all pods. */
struct floor {
	struct tree trees[MAX_TREES];
	int ntrees;
	int lower[MAX_LAYERS];	/* the image's layers, the topmost first */
	int nlower;
	int scratch;		/* where writable layers are made */
	int pins;		/* where network namespaces are pinned */
	int empty, null;	/* mounts that masks are cloned from */
	int devices;		/* program that decides on access to devices, or NO_FD where bpf(2) can't be had */
};

extern struct floor floor_;

/* The fds that the container's processes need. The app closes them; they don't survive its execve. */
struct launch {
	int pod_root, shm;
	int root, dev, devpts;
	int cgroup_root, cgroups[MAX_TREES];
	int joins[MAX_TREES];	/* "tasks" of the v1 trees */
	int v2;			/* to clone into */
	int stdio[3];
	int ended;		/* gets "!" if something fails; closes with execve */
};

/* call.c: every failure is the end, with the reason. */
long must(long result, const char *what);
void die_into(int fd);		/* where die leaves its mark */
void __attribute__((noreturn)) die(const char *what);
pid_t clone_process(uint64_t flags, int cgroup, int *pidfd);
int open_below(int dir, const char *path, int flags, uint64_t resolve);
void close_fd(int *fd);
uint64_t now(void);

/* mount.c */
struct option { const char *key, *value; };
int new_fs(const char *type, unsigned attrs, const struct option *options);
void attach(int mount, int target, const char *path);
int clone_mount(int dir, const char *path, int recursive);
void set_attr(int mount, int recursive, uint64_t set);
void make_masks(void);
int make_pod_root(void);
int make_shm(void);
int make_dev(void);
int make_devpts(void);
int make_overlay(struct pod *p);
void make_cgroup_mounts(struct pod *p, struct launch *l);
void enter(int root);

/* cgroup.c */
void find_trees(const char *parent);
void load_device_program(void);
void make_cgroup(struct pod *p);
void open_joins(struct pod *p, int *joins);
void join(int file);
void remove_cgroup(struct pod *p);
int make_exec_cgroup(struct pod *p);
void remove_exec_cgroup(struct pod *p);

/* network.c */
void make_bridge(void);
void remove_bridge(void);
void plug(int netns);

/* pod.c, container.c, exec.c */
void start_nursery(void);
void pod_up(struct pod *p, enum network network);
void pod_down(struct pod *p);
void take_out(const char *scratch);
void __attribute__((noreturn)) intermediate(struct launch *l);
void __attribute__((noreturn)) become(int stdio[3], const char *path, char *const argv[]);
void exec_true(struct pod *p);

#endif
