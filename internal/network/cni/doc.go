// Package cni connects pods to networks by CNI plugins, which are programs of others (https://www.cni.dev/docs/spec, versions 0.1.0 to 1.1.0).
//
// libcni reads the configuration and knows the versions of results; which plugin is run when, for how long and with what, is this
// package's. libcni's cache is not used: what it would hold stands in podlet's own record of an attachment, which is there before
// the first plugin runs, and not after.
//
// # Invariants
//
//   - An attachment is owed a DEL from before its ADD until its DEL has succeeded, whoever dies in between: its record (record.go) is a file
//     that is written before the first plugin is run, and removed after the last. It holds all that DEL takes: the configuration, the
//     arguments, the result. Neither the node's configuration nor the pod's namespace need be there any more. Nothing is owed where ADD could start
//     no plugin at all, or any more where all plugins that have not done their DEL are uninstalled.
//   - A plugin's DEL that has succeeded is not run again: what it gave the pod may be another's.
//   - A DEL that keeps failing becomes the queue's (queue.go), so that a pod's end is never kept up by a plugin for ever. The queue is
//     the set of records marked as owed; it lasts over restarts.
//   - No plugin outlives its deadline, nor the caller who asked for an ADD: its process group is killed. A DEL doesn't end with its caller: the
//     next one joins it.
//   - A plugin that a killed podlet left running is waited for before its attachment is deleted: else what it adds late would be nobody's.
//   - GC runs while no other plugin does: it would take what a pod has that is being added for stale. That holds for one, too, that a killed podlet left.
//
// # What is not done
//
// The result's DNS settings are not used: the kubelet says what a pod's resolv.conf holds. There is one network, and one interface a pod,
// eth0; more of them are the business of a meta-plugin.
//
// # Locks
//
// Network.mu guards what is in memory and is held across no system call. Network.turns lets plugins run, up to a number at a time, or
// GC alone; an entry's flight is the one DEL of it. Order: flight, turns, mu.
//
// # Goroutines
//
// The configuration's watch and its inotify reader, STATUS, the queue of DELs, GC, one round of CHECK after a start, the wait for an earlier podlet's GC,
// and one for each DEL. All end with Network.life; Close waits for them.
package cni
