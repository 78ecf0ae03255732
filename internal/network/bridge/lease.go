package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"podlet/internal/network"
)

// lease is what a pod has: its addresses, of which the one of an absent family is the zero Addr, its host ports and its limits.
//
// On disk it is one file. The name holds pod and addresses,
//
//	POD@10.88.0.5@fd00::5
//
// because making a file is atomic: there is no moment at which an address is in use and a reader could find half of it. The
// content is a line for each host port, one "limit TO FROM" with the limits, and a last line "end"; such a file is written aside and renamed.
type lease struct {
	pod    string
	v4, v6 netip.Addr
	ports  []PortMapping
	limits Limits
	// portsOpen says that the ports are to be in the rules; guarded by Network.mu.
	portsOpen bool
	// turn holds one token while somebody works on the pod.
	turn chan struct{}
}

func (l *lease) addresses() []netip.Addr {
	return slices.DeleteFunc([]netip.Addr{l.v4, l.v6}, func(a netip.Addr) bool { return !a.IsValid() })
}

func (l *lease) fileName() string {
	name := l.pod
	for _, a := range l.addresses() {
		name += "@" + a.String()
	}
	return name
}

const (
	limitLine = "limit %d %d"
	lastLine  = "end\n"
)

func (l *lease) content() []byte {
	var b bytes.Buffer
	for _, m := range l.ports {
		fmt.Fprintln(&b, m)
	}
	if l.limits != (Limits{}) {
		fmt.Fprintf(&b, limitLine+"\n", l.limits.ToPod, l.limits.FromPod)
	}
	b.WriteString(lastLine)
	return b.Bytes()
}

// leaseDir is the directory of leases. A file that is being written is told by network.AsideSuffix, which no lease's name has.
type leaseDir string

// save makes the lease's file. A pod without host ports and limits has an empty one: one system call.
func (d leaseDir) save(l *lease) error {
	path := filepath.Join(string(d), l.fileName())
	if len(l.ports) == 0 && l.limits == (Limits{}) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("save the lease of pod %s: %w", l.pod, err)
		}
		return f.Close()
	}
	if err := network.Replace(path, l.content()); err != nil {
		return fmt.Errorf("save the lease of pod %s: %w", l.pod, err)
	}
	return nil
}

// drop removes the lease's file; that it is gone already is success.
func (d leaseDir) drop(l *lease) error {
	if err := os.Remove(filepath.Join(string(d), l.fileName())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("drop the lease of pod %s: %w", l.pod, err)
	}
	return nil
}

// load reads all leases, and sweeps the files that were being written when podlet died: nobody had their addresses yet.
func (d leaseDir) load() (leases []*lease, damaged []string, err error) {
	names, err := readNames(string(d))
	if err != nil {
		return nil, nil, fmt.Errorf("read the leases: %w", err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, network.AsideSuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(string(d), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("sweep an unfinished lease: %w", err)
		}
	}
	return d.read()
}

// read reads all leases. The content of a file may be damaged: then the lease still holds its addresses, and is among the damaged, its host ports and
// limits lost.
func (d leaseDir) read() (leases []*lease, damaged []string, err error) {
	names, err := readNames(string(d))
	if err != nil {
		return nil, nil, fmt.Errorf("read the leases: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, network.AsideSuffix) {
			continue
		}
		path := filepath.Join(string(d), name)
		l, err := parseName(name)
		if err != nil {
			damaged = append(damaged, fmt.Sprintf("%s: %v", path, err))
			continue
		}
		content, err := readLease(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // given back just now
		}
		if err == nil {
			err = l.parse(content)
		}
		if err != nil {
			damaged = append(damaged, fmt.Sprintf("%s: %v", path, err))
		}
		leases = append(leases, l)
	}
	return leases, damaged, nil
}

// maxLease bounds the file in bytes: a mapping has at most 60, and a pod has fewer than 65536 of them.
const maxLease = 4 << 20

func readLease(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLease))
	return string(b), err
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func parseName(name string) (*lease, error) {
	parts := strings.Split(name, "@")
	if len(parts) < 2 || len(parts) > 3 || !validPod(parts[0]) {
		return nil, errors.New("the name is none of a lease")
	}
	l := newLease(parts[0])
	for _, text := range parts[1:] {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		into := &l.v6
		if a.Is4() {
			into = &l.v4
		}
		if into.IsValid() || a.Zone() != "" || a.String() != text {
			return nil, errors.New("the name is none of a lease")
		}
		*into = a
	}
	return l, nil
}

func newLease(pod string) *lease { return &lease{pod: pod, turn: make(chan struct{}, 1)} }

// parse reads the file's content. After an error the lease has neither ports nor limits.
func (l *lease) parse(content string) error {
	if content == "" {
		return nil
	}
	rest, whole := strings.CutSuffix(content, lastLine)
	if !whole {
		return errors.New("it is cut short")
	}
	var ports []PortMapping
	var limits Limits
	for line := range strings.Lines(rest) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "limit ") {
			if _, err := fmt.Sscanf(line, limitLine, &limits.ToPod, &limits.FromPod); err != nil || fmt.Sprintf(limitLine, limits.ToPod, limits.FromPod) != line {
				return fmt.Errorf("limits %.100q: not two numbers", line)
			}
			continue
		}
		m, err := parsePort(line)
		if err != nil {
			return fmt.Errorf("host port %.100q: %w", line, err)
		}
		ports = append(ports, m)
	}
	l.ports, l.limits = ports, limits
	return nil
}

func parsePort(line string) (m PortMapping, err error) {
	f := strings.Split(line, " ")
	if len(f) != 4 {
		return m, errors.New("not four fields")
	}
	protocol, ok := ParseProtocol(f[0])
	if !ok {
		return m, errors.New("no such protocol")
	}
	m.Protocol = protocol
	if f[1] != "*" {
		if m.HostIP, err = netip.ParseAddr(f[1]); err != nil {
			return m, err
		}
	}
	for i, into := range []*uint16{&m.HostPort, &m.PodPort} {
		n, err := strconv.ParseUint(f[2+i], 10, 16)
		if err != nil || n == 0 {
			return m, fmt.Errorf("%q is no port", f[2+i])
		}
		*into = uint16(n)
	}
	return m, nil
}

// validPod says whether a pod's id can be part of a file's name: podlet's have 64 hexadecimal digits.
func validPod(id string) bool {
	if len(id) < 12 || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
