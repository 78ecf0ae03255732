package bridge

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// Delete takes away all that Open made: the rules, the bridge, the directory and, unless another podlet's network is on the node, the change of the
// node's forwarding. It refuses while a pod has a lease, and closes the Network.
func (n *Network) Delete() error {
	if left := n.list(); len(left) > 0 {
		return fmt.Errorf("delete the pod network on %s: %d pods have a lease, such as %s: remove them first", n.cfg.Bridge, len(left), left[0].pod)
	}
	n.table.Lock()
	errs := []error{n.table.remove()}
	n.table.Unlock()
	link, err := netlink.LinkByName(n.cfg.Bridge)
	if err == nil && link.Attrs().Alias == n.ownerMark() {
		err = netlink.LinkDel(link)
	} else if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
		err = nil
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("delete the bridge %s: %w", n.cfg.Bridge, err))
	}
	alone, err := onlyNetwork()
	errs = append(errs, err)
	if alone {
		errs = append(errs, n.restoreForwarding())
	}
	errs = append(errs, n.Close())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.RemoveAll(n.cfg.Dir)
}

// onlyNetwork says whether no podlet's table is left on the node.
func onlyNetwork() (bool, error) {
	tables, err := Tables()
	return err == nil && len(tables) == 0, err
}

// Tables gives the names of all podlets' nftables tables in the caller's network namespace.
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
