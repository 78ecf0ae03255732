package machine

import (
	"os"
	"time"
)

// settleTime is how long the machine may differ before it counts: the kernel takes a namespace's links and a cgroup's last
// reference back in its own time.
const settleTime = 10 * time.Second

// Settled compares the machine with what it was, and looks again until nothing is left, for at most ten seconds. It
// gives the descendants of this process and the changes that are left. See Reap.
func Settled(before *Machine) ([]Process, []string, *Machine, error) {
	for deadline := time.Now().Add(settleTime); ; time.Sleep(100 * time.Millisecond) {
		Reap()
		processes, err := Descendants(os.Getpid())
		if err != nil {
			return nil, nil, nil, err
		}
		after, err := Look(processes, before.places)
		if err != nil {
			return nil, nil, nil, err
		}
		changes := before.Changes(after)
		if len(processes)+len(changes) == 0 || time.Now().After(deadline) {
			return processes, changes, after, nil
		}
	}
}
