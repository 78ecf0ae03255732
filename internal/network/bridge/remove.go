package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Remove takes back a pod's addresses and host ports. A pod that has none is success. The pod's link goes with its namespace,
// whose last reference the caller drops, best before the call; where somebody else holds the namespace, the link is deleted a
// second later. The addresses are given out again only when all others have been.
func (n *Network) Remove(ctx context.Context, podID string) error {
	n.mu.Lock()
	l := n.mu.pods[podID]
	n.mu.Unlock()
	if l == nil {
		return nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return fmt.Errorf("release the network of pod %s: another call works on it: %w", podID, ctx.Err())
	}
	n.mu.Lock()
	gone := n.mu.pods[podID] != l
	n.mu.Unlock()
	if gone {
		return nil
	}
	if err := n.closePorts(l); err != nil {
		return fmt.Errorf("release the network of pod %s: %w", podID, err)
	}
	if err := n.revoke(l); err != nil {
		return fmt.Errorf("release the network of pod %s: %w", podID, err)
	}
	n.cutLater(podID)
	return nil
}

// Recover removes every pod that is not among inUse: those whose podlet died in the middle of an Add or a Remove, and the links that
// pods of an earlier podlet left. It gives the ids of those removed, and goes on past errors, which it joins.
func (n *Network) Recover(ctx context.Context, inUse []string) (removed []string, err error) {
	for _, l := range n.list() {
		if slices.Contains(inUse, l.pod) {
			continue
		}
		if removeErr := n.Remove(ctx, l.pod); removeErr != nil {
			err = errors.Join(err, removeErr)
			continue
		}
		removed = append(removed, l.pod)
	}
	slices.Sort(removed)
	return removed, errors.Join(err, n.cutStrays(append(slices.Clone(inUse), removed...)))
}
