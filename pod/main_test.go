package pod

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/privatetest"
)

// TestMain runs the suite in a mount namespace of its own: network namespaces are pinned by mounts, and none may stay on the machine.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("pod: skipped: pods need root")
		return
	}
	privatetest.Enter(unix.CLONE_NEWNS)
	os.Exit(m.Run())
}
