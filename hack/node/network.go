package node

import (
	"context"
	"path/filepath"
	"strings"

	"podlet/internal/network/bridge"
)

// Subnets leaves out IPv6's where the node does without.
func Subnets(v4, v6 string) []string {
	if len(bridge.DefaultSubnets()) > 1 {
		return []string{v4, v6}
	}
	return []string{v4}
}

// DefaultSubnets are those of a Node's bridge: others than podlet's own, so that a node can run beside a podlet that serves this machine.
func DefaultSubnets() []string { return Subnets("10.98.0.0/16", "fd00:10:98::/64") }

func (n *Node) subnets() []string {
	if n.o.Subnets != nil {
		return n.o.Subnets
	}
	return DefaultSubnets()
}

func (n *Node) networkFlags() []string {
	if n.o.Bridge == "" {
		return []string{"--network", "none"}
	}
	return []string{"--network", "bridge", "--bridge", n.o.Bridge, "--pod-subnets", strings.Join(n.subnets(), ",")}
}

// removeNetwork takes away what podlet, which has ended, made for the pods' network.
func (n *Node) removeNetwork() error {
	if n.o.Bridge == "" {
		return nil
	}
	return bridge.TakeDown(context.Background(), filepath.Join(n.path("state"), "network"), false)
}
