package cni

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"podlet/internal/network"
)

// SetPodCIDRs notes the subnets of the node's pods, as the kubelet says them: plugins that declare ipRanges get them with every ADD. They are remembered
// for the next podlet, since a kubelet says them only once.
func (n *Network) SetPodCIDRs(list []netip.Prefix) error {
	n.mu.Lock()
	noted := slices.Equal(n.mu.cidrs, list) && !n.mu.cidrsUnnoted
	n.mu.cidrs, n.mu.cidrsUnnoted = slices.Clone(list), !noted
	n.mu.Unlock()
	if noted {
		return nil
	}
	var lines strings.Builder
	for _, p := range list {
		fmt.Fprintln(&lines, p)
	}
	if err := network.Replace(n.cidrFile(), []byte(lines.String())); err != nil {
		return fmt.Errorf("note the pods' CIDR: %w", err)
	}
	n.mu.Lock()
	n.mu.cidrsUnnoted = false
	n.mu.Unlock()
	return nil
}

func (n *Network) cidrFile() string { return filepath.Join(n.cfg.Dir, "pod-cidrs") }

func (n *Network) readCIDRs() error {
	text, err := os.ReadFile(n.cidrFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the pods' CIDR: %w", err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		p, err := netip.ParsePrefix(field)
		if err != nil {
			n.cfg.Log.Error("the file of the pods' CIDR is damaged; the kubelet says it again", "file", n.cidrFile(), "error", err)
			n.mu.cidrs = nil
			return nil
		}
		n.mu.cidrs = append(n.mu.cidrs, p)
	}
	return nil
}
