package pod

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// pauseTitle is the command line of a pause before its pod's id, which pause cuts to 31 digits.
var pauseTitle = []byte("podlet-pause ")

// findPauses finds the pauses that run on this machine, other podlets' too, by the title that pause gives itself: a pod of which
// nothing is known but its id must still be found. It gives pidfds by pod id prefix; lookups go through pausesOf.
func findPauses() (map[string]*os.File, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read /proc: %w", err)
	}
	found := map[string]*os.File{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		id, pidfd, err := pauseAt(pid)
		if err != nil {
			return nil, err
		}
		if pidfd != nil {
			found[id] = pidfd
		}
	}
	return found, nil
}

// pauseAt opens the process pid if it is a pause of root's. The title is read while the pidfd pins the process.
func pauseAt(pid int) (id string, pidfd *os.File, err error) {
	if id := titleOf(pid); id == "" {
		return "", nil, nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	f := os.NewFile(uintptr(fd), "pause")
	id = titleOf(pid)
	if id == "" || ended(f) {
		f.Close()
		return "", nil, nil
	}
	return id, f, nil
}

// titleOf gives the id in a pause's title, "" for any other process. Only root's processes can be a pause.
func titleOf(pid int) string {
	dir := fmt.Sprintf("/proc/%d", pid)
	line, err := os.ReadFile(dir + "/cmdline")
	if err != nil || !bytes.HasPrefix(line, pauseTitle) {
		return ""
	}
	var st unix.Stat_t
	if unix.Stat(dir+"/ns/user", &st) != nil {
		return ""
	}
	id := string(bytes.TrimRight(line[len(pauseTitle):], "\x00 "))
	if len(id) != 31 {
		return ""
	}
	return id
}
