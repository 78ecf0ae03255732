package bridge

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// dumpTries is how often a list is asked for that changes while the kernel gives it; one try takes well under a millisecond.
const dumpTries = 100

// dump repeats a list of the kernel's until nothing changed under it: one that was interrupted may lack entries or have them twice (NLM_F_DUMP_INTR). On a
// node where pods come and go, that happens.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	for try := 1; ; try++ {
		all, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == dumpTries {
			return all, err
		}
	}
}

// listLinks lists the node's links.
func listLinks() ([]netlink.Link, error) { return dump(netlink.LinkList) }

// listAddresses lists the addresses of link, or with nil the node's.
func listAddresses(link netlink.Link) ([]netlink.Addr, error) {
	return dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) })
}

// listRoutes lists the routes of the node's main table.
func listRoutes() ([]netlink.Route, error) {
	return dump(func() ([]netlink.Route, error) { return netlink.RouteList(nil, netlink.FAMILY_ALL) })
}
