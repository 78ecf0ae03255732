package bridge

import (
	"cmp"
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
	if now, _ := read(forward4); n.v4 != nil && now == "0" {
		changes = append(n.alongWith4(), switched{forward4, "0", "1"})
	}
	if now, _ := read(forward6); n.v6 != nil && now == "0" {
		changes = append(changes, n.alongWith6()...)
		changes = append(changes, switched{forward6, "0", "1"})
	}
	if len(changes) == 0 {
		return nil
	}
	if err := noteSwitches(n.cfg.Dir, changes); err != nil {
		return fmt.Errorf("note what is changed to let the node forward packets: %w", err)
	}
	for _, c := range changes {
		if c.new == c.old {
			continue
		}
		// A link may have gone since it was looked at.
		if err := os.WriteFile(c.path, []byte(c.new), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("let the node forward packets: write %s: %w", c.new, err)
		}
	}
	return nil
}

// alongWith4 lists what the kernel itself changes as forwarding of IPv4 is switched (inet_forward_change): all links get it, default does, and
// all/accept_redirects becomes the opposite. So a 1, or of that last one a 0, stays for now, and would be lost when forwarding is switched off.
func (n *Network) alongWith4() []switched {
	return append(n.forwarders(conf4), keep(conf4+"/all/accept_redirects", "1")...)
}

// alongWith6 is alongWith4 for IPv6 (addrconf_fixup_forwarding), and has the links that are to go on listening to advertisements: a link that forwards on a
// node that doesn't is none of them.
func (n *Network) alongWith6() []switched {
	changes := n.forwarders(conf6)
	for _, dir := range n.linksIn(conf6) {
		off, _ := read(dir + "/disable_ipv6")
		forwards, _ := read(dir + "/forwarding")
		if ra, _ := read(dir + "/accept_ra"); ra == "1" && off == "0" && forwards == "0" {
			changes = append(changes, switched{dir + "/accept_ra", "1", "2"})
		}
	}
	return changes
}

// forwarders lists the links, and default, that forward by a switch of their own.
func (n *Network) forwarders(conf string) []switched {
	var list []switched
	for _, dir := range append(n.linksIn(conf), conf+"/default") {
		list = append(list, keep(dir+"/forwarding", "0")...)
	}
	return list
}

// linksIn lists the directories of other links than the bridge.
func (n *Network) linksIn(conf string) []string {
	dirs, _ := filepath.Glob(conf + "/*")
	return slices.DeleteFunc(dirs, func(dir string) bool {
		return slices.Contains([]string{"all", "default", n.cfg.Bridge}, filepath.Base(dir))
	})
}

// switched is a switch and its values; new is old's equal where it is noted only because the kernel changes it later.
type switched struct{ path, old, new string }

// keep gives the switch to be noted, unless it has the value that the kernel gives it when forwarding is switched off.
func keep(path, unless string) []switched {
	now, err := read(path)
	if err != nil || now == unless {
		return nil
	}
	return []switched{{path, now, now}}
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

// notedSwitches gives what was noted. A switch's new value is not among it.
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
		if !ok || !strings.HasPrefix(at, "/proc/sys/net/") || filepath.Clean(at) != at {
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
	slices.SortStableFunc(noted, func(a, b switched) int { return cmp.Compare(restoreTurn(a.path), restoreTurn(b.path)) })
	for _, c := range noted {
		if err := os.WriteFile(c.path, []byte(c.old), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("stop the node from forwarding packets: write %s: %w", c.old, err)
		}
	}
	return nil
}

// restoreTurn says when a switch is restored, whenever it was noted: forwarding first, as the kernel changes the second ones along with it. accept_ra comes last: as a link
// begins to forward, the kernel drops the routes by advertisements of all links where that isn't 2.
func restoreTurn(path string) int {
	switch {
	case path == forward4 || path == forward6:
		return 1
	case filepath.Base(path) != "accept_ra":
		return 2
	}
	return 3
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
