package cgroup

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"
)

// cgroupMount is one line of /proc/self/mountinfo, proc_pid_mountinfo(5).
type cgroupMount struct {
	point       string
	v2          bool
	controllers []string // v1 only, as the kernel lists them
}

// v1Known tells controllers from the other options of a v1 mount (rw,
// release_agent=, name=, clone_children …).
var v1Known = append([]string{"devices", "freezer"}, v1Joined...)

// cgroupMounts lists the cgroup file systems mounted at or below top, in the
// order of the mount table.
func cgroupMounts(top string) ([]cgroupMount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var mounts []cgroupMount
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text(), top); ok {
			mounts = append(mounts, m)
		}
	}
	return mounts, lines.Err()
}

func parseMount(line, top string) (cgroupMount, bool) {
	where, what, ok := strings.Cut(line, " - ")
	if !ok {
		return cgroupMount{}, false
	}
	fields, fs := strings.Fields(where), strings.Fields(what)
	if len(fields) < 6 || len(fs) < 3 || fs[0] != "cgroup" && fs[0] != "cgroup2" {
		return cgroupMount{}, false
	}
	m := cgroupMount{point: unescape(fields[4]), v2: fs[0] == "cgroup2"}
	if m.point != top && !strings.HasPrefix(m.point, top+"/") {
		return cgroupMount{}, false
	}
	if m.v2 {
		return m, true
	}
	for option := range strings.SplitSeq(fs[2], ",") {
		if slices.Contains(v1Known, option) {
			m.controllers = append(m.controllers, option)
		}
	}
	return m, len(m.controllers) > 0
}

// unescape undoes the octal escapes (\040 for a space) of mountinfo.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
