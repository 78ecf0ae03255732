// Package pod holds the life of pods and containers: what the CRI's verbs do, what the records say, and what becomes of both
// when a process ends, podlet is killed or the machine restarts.
//
// # What is true
//
// The kernel is: a pidfd that is readable is a process that ended, an empty cgroup holds nobody. pause comes next: what it
// answers wins over the disk. A record is what podlet meant to do and what nobody else remembers.
//
// # Intent before act
//
// A record says "creating" or "starting" before anything is made that would outlive podlet. Whoever finds such a record after a
// restart undoes what it speaks of; nobody was told of it. A container's process waits at a gate until its record says
// "running"; if podlet dies before, the gate's end closes and the process ends without having run one instruction of the app.
// One thing is made before its record, a container's writable layer: a new podlet sweeps those that no record speaks of (sweepUnknown).
//
// # States
//
//	sandbox:    creating -> ready -> notready -> removed -> (gone)
//	container:  created -> starting -> running -> exited -> removed -> (gone)
//	creating -> (gone)              it could not be made, or podlet ended meanwhile
//	created -> removed              it never ran
//	created, starting -> exited     the node was restarted
//	starting -> exited              it could not be run
//	starting, running -> created    its caller went away before its program ran; see takeback.go
//
// "removed" is what nobody sees any more and can't be taken away yet: a container whose cgroup is busy, a pod with such a container; see janitor.go.
//
// # Locks
//
// Runtime.mu guards the tables of pods and containers and is held over no system call. Pod.mu guards the state of one pod and of its
// containers; it is held while their records are written, and never while anything is waited for: processes, plugins and
// streams are waited for by channel. Lists take Runtime.mu alone, shared: every change is published as an immutable Status.
//
// Order: Container.using, Pod.mu, and then one of Runtime.mu, parents.mu and events.mu, under which no other is taken. Before parents.mu there may be
// parent.busy instead, which is taken with no other held. So are podMeters.mu, which is held while a pod's use is read, nursery.mu, which is held
// while a nursery is started, and janitor.mu and flights.mu, each held over a table only; under these four no other is taken either.
//
// Tearing a pod down, clearing a container's cgroup, turning its log and making or removing a log writer's cgroup are each done by one at a time, which
// are tokens in channels, so that whoever waits for his turn can give up. They are taken before any lock.
//
// # Goroutines
//
// Runtime.work has those that Runtime.Close ends and waits for: the keeper of each pod, which hears of pause's end and gives the pod's log writer a
// cgroup; the recovery of each pod after a restart; the janitor's two, for cgroups and for writable layers; the layer counter; and short ones that clear
// a cgroup, turn a log or acknowledge an exit, off a caller's path. Of exits the goroutine of each pause.Conn tells, which ends with the connection.
// The copying of an exec or an attach belongs to its session. A pod that is being made has two of its request's, its launch and its Network's Add, which
// end before the request does.
package pod
