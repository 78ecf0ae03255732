// Package network owns the names of the pods' network namespaces and what
// others need of them: to do something inside one (Inside), and to read its
// links' counters (Meter).
//
// A pod's namespace lives as long as its pause process, or as its pin: an empty
// file in /var/run/netns on which the namespace is bind-mounted, as ip-netns(8)
// does it, so that CNI plugins and `ip netns` find it. The pin is the one entry
// that a pod adds to the host's mount table. Unlike ip(8), which makes
// /var/run/netns itself a shared mount, Pin adds no other: where /run is shared,
// as systemd has it, pins made here show in the mount namespaces of services
// anyway, and go from there when they are unpinned.
//
// It also lists the listening Unix sockets of podlet's own namespace
// (UnixListeners), by which the pause of a half-made pod is found, and writes
// the small files of the networks below it (Replace).
//
// The package starts no goroutine that outlives a call and holds no lock. A
// thread that enters a namespace comes home before anything else runs on it, or
// dies.
package network
