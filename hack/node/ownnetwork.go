package node

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownNetworkMark is set in the environment of a program that OwnNetwork has executed again.
const ownNetworkMark = "PODLET_OWN_NETWORK"

// OwnNetwork has the program go on in a network namespace of its own, where only lo is, and up. Bridges, rules and sysctls that are made there
// are nobody else's, and go with the last process in it. It is called first of all in main, as root: the program is executed again
// with the same arguments and environment, as the same process, and the second call returns.
func OwnNetwork() error {
	if os.Getenv(ownNetworkMark) != "" {
		// Programs of this one's that call it too get a namespace each.
		return os.Unsetenv(ownNetworkMark)
	}
	// The namespace is this thread's alone, and so is the exec.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a network namespace (as root?): %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("switch on lo in a network namespace: %w", err)
	}
	// Not os.Executable: the file of a test or of "go run" is where it was, but /proc/self/exe holds for a deleted one too.
	err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), ownNetworkMark+"=1"))
	return fmt.Errorf("execute %s again: %w", os.Args[0], err)
}

// loopbackUp is netdevice(7)'s SIOCSIFFLAGS.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
}
