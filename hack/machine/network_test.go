package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/internal/network/bridge"
)

// A podlet's network is seen, all of it, and taken back it is no change. The test's thread has a network namespace of its own, and dies with it.
func TestNetworkIsFound(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	dir := filepath.Join(t.TempDir(), "network")
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- lookAtNetwork(dir)
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func lookAtNetwork(dir string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	before, err := Look(nil, nil)
	if err != nil {
		return err
	}
	network, err := bridge.Open(bridge.Config{Dir: dir, Bridge: "podtest", Subnets: bridge.DefaultSubnets()})
	if err != nil {
		return err
	}
	during, err := Look(nil, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(network.Close(), bridge.TakeDown(context.Background(), dir, false)); err != nil {
		return err
	}
	after, err := Look(nil, nil)
	if err != nil {
		return err
	}
	for _, want := range []string{
		"left behind: link podtest", "left behind: table podlet_podtest",
		"left behind: sysctl net/ipv4/ip_forward = 1", "gone, but there before: sysctl net/ipv4/ip_forward = 0",
	} {
		if changes := before.Changes(during); !slices.Contains(changes, want) {
			return fmt.Errorf("with a network: changes = %q, lack %q", changes, want)
		}
	}
	for _, change := range before.Changes(after) {
		for _, kind := range []string{"link", "table", "sysctl"} {
			if strings.Contains(change, ": "+kind+" ") {
				return fmt.Errorf("without it again: %s", change)
			}
		}
	}
	return nil
}
