package bridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/nftables"
)

// ErrHasPods says that pods have addresses of the network.
var ErrHasPods = errors.New("pods have addresses of it")

// TakeDown takes away all that Open ever made for the directory dir, in the caller's network namespace: pods' links, bridge, rules, the change of the
// node's forwarding, the directory. What is not there is success, so that it can be repeated.
//
// Errors besides those of the kernel: ErrInUse while a podlet serves with the directory, ErrHasPods while pods have leases; with force those lose
// their network for good, and run on without.
func TakeDown(ctx context.Context, dir string, force bool) error {
	t := takedown{dir: dir, mark: ownerMark + dir}
	lock, err := t.lock()
	if lock != nil {
		defer lock.Close()
	}
	if err == nil && !force {
		err = t.noPods()
	}
	if err != nil {
		return fmt.Errorf("take the pod network of %s down: %w", dir, err)
	}
	// The rules go after the bridge, without which they have no packets: the bridge without them would let pods at the node's loopback address.
	for _, do := range []func() error{t.links, t.rules, t.connections, t.forwarding, t.directory} {
		err := ctx.Err()
		if err == nil {
			err = do()
		}
		if err != nil {
			return fmt.Errorf("take the pod network of %s down: %w; what is left can be taken down by another try", dir, err)
		}
	}
	return nil
}

type takedown struct {
	dir string
	// mark is the alias of the network's own links.
	mark   string
	leases []*lease
	// void: what the directory has is of an earlier boot.
	void bool
	// bridges are the names of its bridges.
	bridges []string
}

// lock keeps podlets out, and reads what the directory has. Without a directory there is nothing to lock.
func (t *takedown) lock() (*os.File, error) {
	lock, err := lockDir(t.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return lock, err
	}
	if t.void, err = ofOtherBoot(t.dir); err != nil || t.void {
		return lock, err
	}
	// One that is damaged is of no pod.
	t.leases, _, err = leaseDir(filepath.Join(t.dir, leasesDir)).load()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return lock, err
}

func (t *takedown) noPods() error {
	if len(t.leases) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d of them, such as %s: remove them first", ErrHasPods, len(t.leases), t.leases[0].pod)
}

// links deletes the bridges, their ports that are pods', and the devices of limits.
func (t *takedown) links() error {
	all, err := listLinks()
	if err != nil {
		return fmt.Errorf("list the node's links: %w", err)
	}
	var ours []string
	for _, link := range all {
		if link.Type() == "ifb" && link.Attrs().Alias == t.mark {
			ours = append(ours, link.Attrs().Name)
		}
		if link.Type() != "bridge" || link.Attrs().Alias != t.mark {
			continue
		}
		for _, port := range all {
			if isHostLink(port, link.Attrs().Index) {
				ours = append(ours, port.Attrs().Name)
			}
		}
		t.bridges = append(t.bridges, link.Attrs().Name)
	}
	for _, l := range t.leases { // also those whose bridge is gone
		ours = append(ours, hostLink(l.pod))
	}
	return deleteLinks(append(ours, t.bridges...)...)
}

// rules deletes the table of each bridge, also of one that others deleted.
func (t *takedown) rules() error {
	lost, err := lostBridge(t.dir)
	if err != nil {
		return err
	}
	names := t.bridges
	if lost != "" {
		names = append(names, lost)
	}
	for _, name := range names {
		if err := removeTable(name); err != nil {
			return err
		}
	}
	return nil
}

// connections has the kernel forget those that went to host ports of the pods.
func (t *takedown) connections() error {
	if len(t.leases) == 0 {
		return nil
	}
	tracked, err := openTracker()
	if err != nil {
		return err
	}
	defer tracked.close()
	var errs []error
	for _, l := range t.leases {
		errs = append(errs, tracked.forgetAfter(l))
	}
	return errors.Join(errs...)
}

// forwarding takes back the change of the node's forwarding, unless another podlet's network lives by it: then that one's end will.
func (t *takedown) forwarding() error {
	if t.void {
		return nil // no switch keeps its value over a boot
	}
	links, err := listLinks()
	if err != nil {
		return fmt.Errorf("list the node's links: %w", err)
	}
	for _, link := range links {
		heir, ours := strings.CutPrefix(link.Attrs().Alias, ownerMark)
		if link.Type() != "bridge" || !ours || heir == t.dir {
			continue
		}
		if _, err := os.Stat(heir); err == nil {
			return bequeathSwitches(t.dir, heir)
		}
	}
	return restoreSwitches(t.dir)
}

func (t *takedown) directory() error { return os.RemoveAll(t.dir) }

// Tables gives the names of all podlets' nftables tables in the caller's network namespace: for tests, which see by it what was left (hack/machine).
func Tables() ([]string, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("list the nftables tables: %w", err)
	}
	tables, err := c.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list the nftables tables: %w", err)
	}
	var names []string
	for _, t := range tables {
		if strings.HasPrefix(t.Name, tablePrefix) {
			names = append(names, t.Name)
		}
	}
	return names, nil
}
