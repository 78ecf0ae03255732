package node

import (
	"fmt"
	"net"
	"os"
	"testing"
)

// before is the network namespace that the test was started in.
const before = "NODE_TEST_BEFORE"

func TestMain(m *testing.M) {
	if os.Getenv(before) == "" {
		was, _ := os.Readlink("/proc/self/ns/net")
		os.Setenv(before, was)
	}
	if err := OwnNetwork(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestOwnNetworkHasLoAlone(t *testing.T) {
	is, err := os.Readlink("/proc/self/ns/net")
	if err != nil || is == os.Getenv(before) {
		t.Fatalf("the namespace is %s (%v), and was %s", is, err, os.Getenv(before))
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if len(links) != 1 || links[0].Name != "lo" || links[0].Flags&net.FlagUp == 0 {
		t.Errorf("the links are %v; want lo alone, and up", links)
	}
	if left := os.Getenv(ownNetworkMark); left != "" {
		t.Errorf("%s=%s is left in the environment: programs of this one's would take its namespace for theirs", ownNetworkMark, left)
	}
}
