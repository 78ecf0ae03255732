// Package bridge is podlet's built-in pod network: a bridge, a veth pair for each pod, addresses with leases on disk, masquerade
// and host ports. It works on a fresh machine without any set-up, and runs no program and no process of its own.
//
// # What is where
//
// The node, which is the network namespace podlet runs in, has one bridge with the first address of each subnet. Each pod has
// eth0 in its own namespace, whose other end is a port of the bridge. The one nftables table "podlet_" + bridge holds all of the
// rules; it is a function of the configuration and the leases, and is made anew as a whole, in one transaction, when it is
// incomplete. Pods come and go as elements of its maps, so no packet and no verb gets slower with the number of pods.
//
// A pod's lease is one file whose name says which addresses are taken and whose content says which host ports and limits. It is there
// before an address is used and goes after the last use, so that podlet may be killed at any moment: no address is ever given
// out twice, and what a pod held that is gone is free after Recover.
//
// A pod's veth pair goes with its namespace. Remove does not wait for that, nor delete it: that costs tens of milliseconds for a
// grace period of the kernel's, which it spends on its own time when the namespace goes. Only a link that is there still after a
// second, since somebody else holds the namespace, is deleted, and by Recover one whose podlet ended before.
//
// What Open changes on the node beyond links and rules that bear its mark, which is whether the node forwards packets and what the kernel changes with that, it notes first, for TakeDown.
//
// # What is not done
//
// No promise is made on the link layer: pods on one bridge can send each other any frame, and with NET_RAW, which containers have by
// default, take each other's addresses (ARP, ND). A chain of others that drops forwarded
// packets by policy is not overruled, since an accept in one table is none in another; Open and Check warn of it.
// Pods keep the MTU that they were made with, when the uplink's changes. Between pods with different MTUs TCP works, and larger datagrams are lost.
// Host ports don't work on the node's ::1, as IPv6 has no route_localnet; a client that tries localhost is refused there at
// once and goes on to 127.0.0.1.
//
// # Locks
//
// A lease's turn is held across all the work on a pod, and while Add waits for its namespace. Network.table is held while the rules change, across calls of the kernel,
// which takes one change at a time anyway. Network.mu guards what is in memory and is held across no system call.
// Network.check is held by one Check at a time, over all it mends. Order: check or turn, table, mu.
//
// # Goroutines
//
// One for each removed pod, for strayTime (cutLater), and one for each pod whose tracked connections are forgotten (forgetLater). Close waits for them.
package bridge
