package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	forward4 = "/proc/sys/net/ipv4/ip_forward"
	forward6 = conf6 + "/all/forwarding"
)

// forwardFile says, a line each, which switches of the node were changed, with their old values.
const forwardFile = "forwarding"

// ensureForwarding lets the node forward packets. What it changes is noted first, for Delete to take back.
//
// A node that forwards IPv6 ignores router advertisements unless accept_ra is 2: so a link that has listened to them gets that, else
// the node would lose its own default route some minutes later.
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
				if name := filepath.Base(dir); name != "all" && name != n.cfg.Bridge && off == "0" {
					changes = appendChange(changes, p, "1", "2")
				}
			}
		}
		changes = appendChange(changes, forward6, "0", "1")
	}
	if len(changes) == 0 {
		return nil
	}
	path := filepath.Join(n.cfg.Dir, forwardFile)
	noted, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read what was changed to let the node forward packets: %w", err)
	}
	text := string(noted)
	for _, c := range changes {
		if !strings.Contains(text, c.path+" ") {
			text += c.path + " " + c.old + "\n"
		}
	}
	if err := os.WriteFile(path+tmpSuffix, []byte(text), 0o600); err != nil {
		return fmt.Errorf("note what is changed to let the node forward packets: %w", err)
	}
	if err := os.Rename(path+tmpSuffix, path); err != nil {
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

// restoreForwarding takes back what ensureForwarding changed. A link that has gone, and its switches, is no error.
func (n *Network) restoreForwarding() error {
	path := filepath.Join(n.cfg.Dir, forwardFile)
	noted, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what was changed to let the node forward packets: %w", err)
	}
	lines := strings.Split(strings.TrimSuffix(string(noted), "\n"), "\n")
	// forwarding first: with it off, accept_ra 1 does what it did.
	for i := len(lines) - 1; i >= 0; i-- {
		at, old, ok := strings.Cut(lines[i], " ")
		if !ok || !strings.HasPrefix(at, "/proc/sys/net/") || strings.Contains(at, "..") {
			return fmt.Errorf("%s: line %d is %.100q, no switch and value", path, i+1, lines[i])
		}
		if err := os.WriteFile(at, []byte(old), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("stop the node from forwarding packets: write %s: %w", old, err)
		}
	}
	return os.Remove(path)
}
