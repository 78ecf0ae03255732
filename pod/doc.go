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
//
// # States
//
//	sandbox:    creating -> ready -> notready -> removed -> (gone)
//	container:  created -> starting -> running -> exited -> removed -> (gone)
//	created  -> removed       it never ran
//	starting -> created       its caller went away before it ran; see takeback.go
//
// "removed" is what nobody sees any more and can't be taken away yet: a container whose cgroup is busy, a pod with such a container; see janitor.go.
//
// # Locks
//
// Runtime.mu guards the tables of pods and containers and is held over no system call. Pod.mu guards the state of one pod and of its
// containers; it is held while their records are written, and never while anything is waited for: processes, plugins and
// streams are waited for by channel. Order: Container.using, Pod.mu, Runtime.mu; parents' own come last, but for events.mu. Lists take neither: every change is
// published as an immutable Status. Tearing a pod down, clearing a container's cgroup and making or removing a log writer's are each done by one at a time, which are tokens in
// channels, so that whoever waits for his turn can give up.
//
// # Goroutines
//
// A pod has one, its keeper, which hears of pause's end and gives its log writer a cgroup; Runtime.Close ends it. Of exits the connection's own goroutine tells. The janitor
// removes what was busy, the layer counter counts writable layers; each recovery is one. All belong to Runtime. A pod that is being made has two more, its
// launch and its Network's Add, which end before the request does.
package pod
