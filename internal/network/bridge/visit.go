package bridge

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// visitor is what podlet keeps of a pod's network namespace while it sets that up. Both stay in the namespace where they were made.
type visitor struct {
	route *routeSocket
	// conf is /proc/sys/net/ipv6/conf; nil where the kernel has no IPv6.
	conf *os.File
}

func (v *visitor) close() {
	v.route.close()
	if v.conf != nil {
		v.conf.Close()
	}
}

// visit takes a thread into the namespace for four system calls. A thread that can't come home dies.
func visit(netns *os.File) (*visitor, error) {
	type result struct {
		v   *visitor
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		v, home, err := enter(int(netns.Fd()))
		// Else the goroutine ends locked to its thread, and Go ends the thread.
		if home {
			runtime.UnlockOSThread()
		}
		done <- result{v, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, fmt.Errorf("enter the network namespace %s: %w", netns.Name(), r.err)
	}
	return r.v, nil
}

// enter takes the calling thread into the namespace and back; home: it is back.
func enter(netns int) (v *visitor, home bool, err error) {
	back, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, true, fmt.Errorf("open the thread's own namespace: %w", err)
	}
	defer unix.Close(back)
	if err := unix.Setns(netns, unix.CLONE_NEWNET); err != nil {
		return nil, true, fmt.Errorf("setns: %w", err)
	}
	sock, sockErr := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	conf, confErr := unix.Open(conf6, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	home = unix.Setns(back, unix.CLONE_NEWNET) == nil
	if errors.Is(confErr, unix.ENOENT) {
		conf, confErr = -1, nil
	}
	if err := errors.Join(sockErr, confErr); err != nil {
		for _, fd := range []int{sock, conf} {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
		return nil, home, fmt.Errorf("open its netlink socket and %s: %w", conf6, err)
	}
	v = &visitor{route: &routeSocket{fd: sock}}
	if conf >= 0 {
		v.conf = os.NewFile(uintptr(conf), conf6)
	}
	return v, home, nil
}
