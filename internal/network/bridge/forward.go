package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"podlet/internal/network"
)

const (
	forward4 = "/proc/sys/net/ipv4/ip_forward"
	forward6 = conf6 + "/all/forwarding"
)

// switchFile says, a line each, which switches of the node were changed, with their old values.
const switchFile = "forwarding"

// ensureForwarding lets the node forward packets. What it changes is noted first, for TakeDown to take back.
//
// A node that forwards IPv6 ignores router advertisements unless accept_ra is 2: so a link that has listened to them gets that, else
// the node would lose its own default route some minutes later. Links to come do not (conf/default): among them are other runtimes' to their pods, and a
// pod must not become the node's router (CVE-2020-10749).
func (n *Network) ensureForwarding() error {
	var changes []switched
	if n.v4 != nil {
		changes = appendChange(changes, forward4, "0", "1")
	}
	if n.v6 != nil {
		if now, _ := read(forward6); now == "0" {
			paths, _ := filepath.Glob(conf6 + "/*/accept_ra")
			for _, p := range paths {
				dir := filepath.Dir(p)
				off, _ := read(dir + "/disable_ipv6")
				if name := filepath.Base(dir); name != "all" && name != "default" && name != n.cfg.Bridge && off == "0" {
					changes = appendChange(changes, p, "1", "2")
				}
			}
		}
		changes = appendChange(changes, forward6, "0", "1")
	}
	if len(changes) == 0 {
		return nil
	}
	if err := noteSwitches(n.cfg.Dir, changes); err != nil {
		return fmt.Errorf("note what is changed to let the node forward packets: %w", err)
	}
	for _, c := range changes {
		// A link may have gone since it was looked at.
		if err := os.WriteFile(c.path, []byte(c.new), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("let the node forward packets: write %s: %w", c.new, err)
		}
	}
	return nil
}

type switched struct{ path, old, new string }

func appendChange(list []switched, path, from, to string) []switched {
	if now, err := read(path); err == nil && now == from {
		return append(list, switched{path, from, to})
	}
	return list
}

// noteSwitches adds switches to those noted in the network's directory. What is noted of one already stays: it is the older value.
func noteSwitches(dir string, changes []switched) error {
	unlock, err := lockSwitches(dir)
	if err != nil {
		return err
	}
	defer unlock()
	noted, err := notedSwitches(dir)
	if err != nil {
		return err
	}
	for _, c := range changes {
		if !slices.ContainsFunc(noted, func(n switched) bool { return n.path == c.path }) {
			noted = append(noted, c)
		}
	}
	var text strings.Builder
	for _, c := range noted {
		fmt.Fprintf(&text, "%s %s\n", c.path, c.old)
	}
	return network.Replace(filepath.Join(dir, switchFile), []byte(text.String()))
}

// lockSwitches keeps other podlets from the notes: one that ends leaves its own to another.
func lockSwitches(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock what is noted of switches: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock what is noted of switches in %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// notedSwitches gives what was noted, in the order of the changes. A switch's new value is not among it.
func notedSwitches(dir string) ([]switched, error) {
	path := filepath.Join(dir, switchFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was changed to let the node forward packets: %w", err)
	}
	var list []switched
	for line := range strings.Lines(string(text)) {
		at, old, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok || !strings.HasPrefix(at, "/proc/sys/net/") || strings.Contains(at, "..") {
			return nil, fmt.Errorf("%s: line %d is %.100q, no switch and value", path, len(list)+1, line)
		}
		list = append(list, switched{path: at, old: old})
	}
	return list, nil
}

// restoreSwitches takes back what is noted. A link that has gone, and its switches, is no error.
func restoreSwitches(dir string) error {
	noted, err := notedSwitches(dir)
	if err != nil {
		return err
	}
	// forwarding first: with it off, accept_ra 1 does what it did.
	for _, c := range slices.Backward(noted) {
		if err := os.WriteFile(c.path, []byte(c.old), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("stop the node from forwarding packets: write %s: %w", c.old, err)
		}
	}
	return nil
}

// bequeathSwitches adds what is noted in dir to the notes of another podlet's network.
func bequeathSwitches(dir, heir string) error {
	noted, err := notedSwitches(dir)
	if err != nil || len(noted) == 0 {
		return err
	}
	if err := noteSwitches(heir, noted); err != nil {
		return fmt.Errorf("leave to the pod network of %s what the node's forwarding was: %w", heir, err)
	}
	return nil
}
