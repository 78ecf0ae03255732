package pod

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inPrivate says in the environment that the tests run in a mount namespace of their own.
const inPrivate = "PODLET_POD_TEST_PRIVATE"

// TestMain runs the suite in a mount namespace of its own: network namespaces are pinned by mounts, and none may stay on the machine.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("pod: skipped: pods need root")
		return
	}
	if os.Getenv(inPrivate) == "" {
		os.Exit(runPrivate())
	}
	os.Exit(m.Run())
}

func runPrivate() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inPrivate+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// Go makes the whole tree private with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}
