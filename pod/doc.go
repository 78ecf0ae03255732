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
//	sandbox:    creating -> ready -> notready -> (gone)
//	container:  created -> starting -> running -> exited -> removed -> (gone)
//	                  \______________________________^
//
// "removed" is a container nobody sees any more, whose cgroup could not be taken away yet; see janitor.go.
//
// # Locks
//
// Runtime.mu guards the tables of pods and containers and is held over no system call. Pod.mu guards the state of one pod and of its
// containers; it is held while their records are written, and never while anything is waited for: processes, plugins and
// streams are waited for by channel. Order: Pod.mu, then Runtime.mu. Lists take neither: every change is published as an
// immutable Status.
//
// # Goroutines
//
// A pod has one, its keeper, which hears of exits and of pause's end; Runtime.Close ends it. The janitor removes what was
// busy. Both belong to Runtime.
package pod
