// Package privatetest runs a package's tests in namespaces of their own, so that none can leave a mount or a link on the machine, and fails
// the run if they leave anything in there.
//
// A TestMain calls Enter before anything else that changes the process, then Run. What counts as left behind is the package's own to say, by a text:
// Mounts, Files and Namespaces give what most such texts are made of.
package privatetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mark is set in the environment of a process that is in namespaces of its own, and so in that of its descendants: a test binary that
// its own test runs again stays where that test is.
const mark = "PODLET_TEST_PRIVATE_NAMESPACES"

// inherited are the mounts that came along when the mount namespace was copied, by their numbers: they go, here too, when somebody removes their mount points.
var inherited = map[string]bool{}

// Enter has the tests go on in namespaces of their own: flags are such as CLONE_NEWNS, which makes all mounts private as well. It needs root.
// The test binary is run again, with the same arguments, and this process ends as that one does; there Enter returns.
func Enter(flags uintptr) {
	if os.Getenv(mark) == "" {
		os.Exit(again(flags))
	}
	for _, line := range Mounts() {
		inherited[strings.Fields(line)[0]] = true
	}
}

func again(flags uintptr) int {
	// Not os.Args[0]: /proc/self/exe holds for a deleted file too.
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: flags, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread() // whose end the kernel takes for the parent's
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Println("run the tests in namespaces of their own:", err)
		return 1
	}
	return 0
}
