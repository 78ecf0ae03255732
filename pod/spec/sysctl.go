package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Sysctl is one kernel parameter of a pod's namespaces.
type Sysctl struct {
	// Path is below /proc/sys: "net/ipv4/ip_forward".
	Path, Value string
}

// OfLinks says that the parameter is written once the pod has its network: it names a link, which isn't there before, or has a say in which
// addresses of IPv6 links may have (net.ipv6.conf.all.disable_ipv6), which takes away those that are there.
func (s Sysctl) OfLinks() bool {
	for _, dir := range []string{"net/ipv6/conf/", "net/ipv4/conf/", "net/ipv6/neigh/", "net/ipv4/neigh/"} {
		link, ok := strings.CutPrefix(s.Path, dir)
		if !ok {
			continue
		}
		link, _, _ = strings.Cut(link, "/")
		return dir == "net/ipv6/conf/" || link != "all" && link != "default" && link != "lo"
	}
	return false
}

// ipcSysctls are the parameters of an IPC namespace below kernel/ (sysctl(5) and ipc_namespaces(7)); those below fs/mqueue/ are too.
var ipcSysctls = []string{
	"kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced",
	"kernel/msg_next_id", "kernel/sem_next_id", "kernel/shm_next_id",
}

// Sysctls checks a pod's sysctls and gives them in order, podlet's defaults first. Only what belongs to a namespace of the pod's own may be
// set: anything else would change the node (CVE-2022-0811).
func (s *Sandbox) Sysctls() ([]Sysctl, error) {
	asked := map[string]string{}
	for name, value := range s.RawSysctls {
		path, err := sysctlPath(name)
		if err != nil {
			return nil, err
		}
		if err := s.mayset(name, path); err != nil {
			return nil, err
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, fmt.Errorf("%w: sysctl %s: control character in value %q", ErrInvalid, name, value)
		}
		if _, twice := asked[path]; twice {
			return nil, fmt.Errorf("%w: sysctl %s is given twice", ErrInvalid, name)
		}
		asked[path] = value
	}
	for path, value := range s.defaultSysctls() {
		if _, ok := asked[path]; !ok {
			asked[path] = value
		}
	}
	var list []Sysctl
	for _, path := range slices.Sorted(maps.Keys(asked)) {
		list = append(list, Sysctl{path, asked[path]})
	}
	return list, nil
}

// defaultSysctls are what users of other runtimes rely on: any user may listen on any port of the pod's own network, and ping. In a user
// namespace the kernel takes only groups that are mapped for the latter.
func (s *Sandbox) defaultSysctls() map[string]string {
	switch {
	case s.HostNetwork:
		return nil
	case s.UserNS != nil:
		return map[string]string{"net/ipv4/ip_unprivileged_port_start": "0"}
	default:
		return map[string]string{"net/ipv4/ip_unprivileged_port_start": "0", "net/ipv4/ping_group_range": "0 2147483647"}
	}
}

// sysctlPath turns a name into a path as sysctl(8) does: the first of '.' and '/' in it separates, the other stands for itself.
func sysctlPath(name string) (string, error) {
	path := name
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		path = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, name)
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, notInName) {
			return "", fmt.Errorf("%w: sysctl name %q", ErrInvalid, name)
		}
	}
	return path, nil
}

// notInName tells the characters that no parameter's name has; interfaces' names may have more than most.
func notInName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.:@", r))
}

func (s *Sandbox) mayset(name, path string) error {
	switch {
	case strings.HasPrefix(path, "net/"):
		if s.HostNetwork {
			return fmt.Errorf("%w: sysctl %s: the pod is in the node's network", ErrInvalid, name)
		}
	case slices.Contains(ipcSysctls, path) || strings.HasPrefix(path, "fs/mqueue/"):
		if s.HostIPC {
			return fmt.Errorf("%w: sysctl %s: the pod has the node's IPC namespace", ErrInvalid, name)
		}
	default:
		return fmt.Errorf("%w: sysctl %s belongs to no namespace of a pod: it would change the node", ErrInvalid, name)
	}
	return nil
}
