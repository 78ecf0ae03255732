package network

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Inside runs do on a thread that is in the network namespace netns. What do opens stays there; it must not start goroutines that should be
// there too. It costs two setns(2).
func Inside(netns *os.File, do func() error) error {
	type result struct {
		entered bool
		err     error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		entered, home, err := visit(int(netns.Fd()), do)
		// A thread that can't come home must not run anything else: the goroutine ends locked to it, and Go ends the thread.
		if home {
			runtime.UnlockOSThread()
		}
		done <- result{entered, err}
	}()
	r := <-done
	if r.err != nil && !r.entered {
		return fmt.Errorf("enter the network namespace %s: %w", netns.Name(), r.err)
	}
	return r.err
}

// visit takes the calling thread into the namespace and back; home: it is back.
func visit(netns int, do func() error) (entered, home bool, err error) {
	back, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, true, fmt.Errorf("open the thread's own namespace: %w", err)
	}
	defer unix.Close(back)
	if err := unix.Setns(netns, unix.CLONE_NEWNET); err != nil {
		return false, true, fmt.Errorf("setns: %w", err)
	}
	err = do()
	return true, unix.Setns(back, unix.CLONE_NEWNET) == nil, err
}
