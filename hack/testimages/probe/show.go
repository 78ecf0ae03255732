package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// report is what show prints. Sets of signals and capabilities are the kernel's own hexadecimal words of /proc/self/status. (The caught and ignored signals are those
// after the Go runtime's start, which changes most of them: for what was inherited, let busybox read its status.)
type report struct {
	PID, PPID, SID, PGID  int
	UID, EUID, GID, EGID  int
	Groups                []int
	Args                  []string
	Env                   []string
	Cwd                   string
	Hostname              string
	Status                map[string]string // Cap*, Sig*, NoNewPrivs, Seccomp, Umask … of /proc/self/status
	Namespaces            map[string]string
	Limits                map[string][2]uint64 // soft, hard
	FDs                   map[string]string
	Cgroup                []string
	OOMScoreAdj           string
	Nice                  int
	Scheduler             int
	CPUs                  int // of the affinity mask
	Dumpable, ChildReaper int
	Keyring               int // serial of the session keyring, 0: none
	Terminal              [3]bool
	Mounts                []string
}

var limits = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA, "fsize": unix.RLIMIT_FSIZE,
	"locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK, "msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE,
	"nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
	"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

func show([]string) error {
	line, err := json.Marshal(look())
	if err != nil {
		return err
	}
	line = append(line, '\n')
	for len(line) > 0 {
		n, err := unix.Write(1, line)
		if err != nil {
			return err
		}
		line = line[n:]
	}
	return nil
}

func look() report {
	// First of all, before anything opens a file.
	fds := openFiles()
	r := report{
		PID: unix.Getpid(), PPID: unix.Getppid(), PGID: unix.Getpgrp(),
		UID: unix.Getuid(), EUID: unix.Geteuid(), GID: unix.Getgid(), EGID: unix.Getegid(),
		Args: os.Args, Env: unix.Environ(), FDs: fds,
		Status: map[string]string{}, Namespaces: map[string]string{}, Limits: map[string][2]uint64{},
	}
	r.SID, _ = unix.Getsid(0)
	r.Groups, _ = unix.Getgroups()
	r.Cwd, _ = unix.Getwd()
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		r.Hostname = unix.ByteSliceToString(u.Nodename[:])
	}
	for _, line := range strings.Split(read("/proc/self/status"), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok {
			r.Status[key] = strings.TrimSpace(value)
		}
	}
	for _, name := range []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		r.Namespaces[name] = readlink("/proc/self/ns/" + name)
	}
	for name, which := range limits {
		var l unix.Rlimit
		if unix.Prlimit(0, which, nil, &l) == nil {
			r.Limits[name] = [2]uint64{l.Cur, l.Max}
		}
	}
	r.Cgroup = strings.Fields(read("/proc/self/cgroup"))
	r.OOMScoreAdj = strings.TrimSpace(read("/proc/self/oom_score_adj"))
	if n, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		r.Nice = 20 - n // the system call counts from 40 down
	}
	if attr, err := unix.SchedGetAttr(0, 0); err == nil {
		r.Scheduler = int(attr.Policy)
	}
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) == nil {
		r.CPUs = set.Count()
	}
	r.Dumpable, _ = unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	r.Keyring, _ = unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	for fd := range r.Terminal {
		_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		r.Terminal[fd] = err == nil
	}
	for _, line := range strings.Split(strings.TrimSpace(read("/proc/self/mountinfo")), "\n") {
		if f := strings.Fields(line); len(f) > 5 {
			r.Mounts = append(r.Mounts, f[4]+" "+f[5])
		}
	}
	return r
}

// openFiles lists /proc/self/fd, but for the fd that it reads that with.
func openFiles() map[string]string {
	dir, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(dir)
	fds := map[string]string{}
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(dir, buf)
		if err != nil || n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	for _, name := range names {
		if name != strconv.Itoa(dir) {
			fds[name] = readlink("/proc/self/fd/" + name)
		}
	}
	return fds
}

func readlink(path string) string {
	buf := make([]byte, 4096)
	n, err := unix.Readlink(path, buf)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}

func read(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var all []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil || n <= 0 {
			return string(all)
		}
		all = append(all, buf[:n]...)
	}
}
