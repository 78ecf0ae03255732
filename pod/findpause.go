package pod

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"podlet/internal/network"
	"podlet/pause"
)

// How a new podlet finds the pauses of an earlier one.
//
// By the title that a pause gives itself, and not by its socket: a socket can be deleted, replaced or never answered, and a pod must be ended all
// the same. But anybody may give himself a title, a container's process too: so a pause is only what runs as root outside all cgroups of containers,
// which a container's process can't leave, as the first process of a PID namespace right below podlet's or, for a hostPID pod, in podlet's own.
//
// A pause has its title only once it serves. One that podlet's death caught before that has a socket that nobody ever connected to: see huntSocket.

// pauseTitle is the command line of a pause before its pod's id, which pause cuts to titleDigits.
var pauseTitle = []byte("podlet-pause ")

const titleDigits = 31

// pauses are the pauses that run on this machine, other podlets' too, by the beginning of their pod's id.
type pauses map[string]*os.File

// take gives the pidfd of a pod's pause, nil if there is none, and leaves it to the caller.
func (ps pauses) take(podID string) *os.File {
	f := ps[podID[:titleDigits]]
	delete(ps, podID[:titleDigits])
	return f
}

func (ps pauses) close() {
	for _, f := range ps {
		f.Close()
	}
}

// findPauses finds the pauses. containers are the ids of all containers that podlet has a record of.
func findPauses(containers []string) (_ pauses, err error) {
	found := pauses{}
	defer func() {
		if err != nil {
			found.close()
		}
	}()
	pids, err := processes()
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		id, pidfd, err := pauseAt(pid, containers)
		if err != nil {
			return nil, err
		}
		if pidfd == nil {
			continue
		}
		if found[id] != nil {
			pidfd.Close()
			continue
		}
		found[id] = pidfd
	}
	return found, nil
}

// processes are the pids in podlet's PID namespace, in order.
func processes() ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read /proc: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// pauseAt opens the process pid if it is a pause. It is looked at while the pidfd pins it.
func pauseAt(pid int, containers []string) (id string, pidfd *os.File, err error) {
	if titleOf(pid) == "" {
		return "", nil, nil
	}
	f, err := openProcess(pid)
	if f == nil {
		return "", nil, err
	}
	id = titleOf(pid)
	if id == "" || !mayBePause(pid, containers) || ended(f) {
		f.Close()
		return "", nil, nil
	}
	return id, f, nil
}

// openProcess gives a pidfd; nil for a process that has ended.
func openProcess(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) { // EINVAL: a thread's number
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// titleOf gives the id in a pause's title, "" for any other process.
func titleOf(pid int) string {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.HasPrefix(line, pauseTitle) {
		return ""
	}
	id := string(bytes.TrimRight(line[len(pauseTitle):], "\x00 "))
	if len(id) != titleDigits {
		return ""
	}
	return id
}

// mayBePause says whether the process is where a pause is, whatever it calls itself.
func mayBePause(pid int, containers []string) bool {
	dir := fmt.Sprintf("/proc/%d", pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil || !statusOfPause(string(status)) {
		return false
	}
	cgroups, err := os.ReadFile(dir + "/cgroup")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(cgroups)) {
		for component := range strings.SplitSeq(strings.TrimSpace(line), "/") {
			if slices.Contains(containers, component) {
				return false
			}
		}
	}
	return true
}

// statusOfPause reads /proc/PID/status (proc_pid_status(5)): root's, and alone at the top of its PID namespace.
func statusOfPause(status string) bool {
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		if name == "Uid" && slices.ContainsFunc(fields, func(uid string) bool { return uid != "0" }) {
			return false
		}
		if name == "NSpid" && !(len(fields) == 1 || len(fields) == 2 && fields[1] == "1") {
			return false
		}
	}
	return true
}

// huntTick is how long huntSocket waits between two looks.
const huntTick = time.Millisecond

// huntSocket kills the processes that hold the listening socket of a pod, made at path, whatever name it has now, until there is no such socket: a pause
// that the nursery cloned without podlet's hearing of it, while it has not come to its title yet. As long as the socket is there without a holder it is
// on its way to an earlier podlet's nursery, which may yet clone a pause before it finds that podlet gone.
//
// A container in the node's network can bind a socket of that name, and hand it to anybody on the node: so a socket counts only if its file is on the file
// system of podlet's own sockets, and none but pauses and nurseries are killed.
func huntSocket(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	for {
		inodes, err := socketInodes(path)
		if err != nil || len(inodes) == 0 {
			return err
		}
		if err := killHolders(inodes); err != nil {
			return err
		}
		select {
		case <-time.After(huntTick):
		case <-ctx.Done():
			return fmt.Errorf("wait until nobody holds the socket of a pause any more: %w", ctx.Err())
		}
	}
}

func killHolders(inodes []string) error {
	pids, err := processes()
	if err != nil {
		return err
	}
	var errs []error
	for _, pid := range pids {
		if pid == os.Getpid() {
			continue
		}
		f, err := openProcess(pid)
		if f == nil {
			errs = append(errs, err)
			continue
		}
		if pause.Runs(pid) && holdsSocket(pid, inodes) {
			if err := pause.Signal(f, unix.SIGKILL); err != nil && !processGone(err) {
				errs = append(errs, err)
			}
		}
		f.Close()
	}
	return errors.Join(errs...)
}

// socketInodes are those of the sockets that were bound at path, as links in /proc/PID/fd have them: podlet makes them in its own network namespace. Of
// the path only the last part counts, since a long one was said by its directory's fd.
func socketInodes(path string) ([]string, error) {
	listeners, err := network.UnixListeners()
	if errors.Is(err, network.ErrNoUnixDiag) {
		return namedSocketInodes(path)
	}
	if err != nil {
		return nil, err
	}
	var at unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &at); err != nil {
		return nil, fmt.Errorf("look at the directory of pods' sockets: %w", err)
	}
	var inodes []string
	for _, l := range listeners {
		if l.Dev == at.Dev && filepath.Base(l.Name) == filepath.Base(path) {
			inodes = append(inodes, fmt.Sprintf("socket:[%d]", l.Inode))
		}
	}
	return inodes, nil
}

// namedSocketInodes is for a kernel that can't say where a socket's file is: they are those of any socket with the name. A line of /proc/net/unix ends
// with the name, in which there can be spaces.
func namedSocketInodes(path string) ([]string, error) {
	f, err := os.Open("/proc/self/net/unix")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var inodes []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 8 && strings.HasSuffix(lines.Text(), "/"+filepath.Base(path)) {
			inodes = append(inodes, "socket:["+fields[6]+"]")
		}
	}
	return inodes, lines.Err()
}

func holdsSocket(pid int, inodes []string) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil && slices.Contains(inodes, target) {
			return true
		}
	}
	return false
}
