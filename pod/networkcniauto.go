package pod

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
)

// Auto is the [Network] of a node that has CNI plugins, or the built-in network, or both for a while: pods stay with what added them, whatever
// is used for new ones.
//
// Whoever has seen a CNI configuration doesn't go back: one that vanishes is being replaced, most often, and pods that came up on the bridge
// meanwhile would be cut off from all others.
type Auto struct {
	CNI CNI
	// Bridge is nil where no pod has it and none is to get it.
	Bridge Network
	// Only says that new pods get CNI's in any case; NoNew that they get the bridge's: then CNI only takes back what it gave.
	Only, NoNew bool
	Log         *slog.Logger

	said atomic.Pointer[string]
}

// cni says that new pods are CNI's.
func (a *Auto) cni() bool {
	return a.Bridge == nil || !a.NoNew && (a.Only || a.CNI.Configured())
}

// Add is [Network]'s.
func (a *Auto) Add(ctx context.Context, p NetworkPod, netns NetNS) (*Attachment, error) {
	if a.cni() {
		return a.CNI.Add(ctx, p, netns)
	}
	return a.Bridge.Add(ctx, p, netns)
}

// Leave is [Network]'s: each of the two knows what it has given.
func (a *Auto) Leave(ctx context.Context, p NetworkPod) error {
	err := a.CNI.Leave(ctx, p)
	if a.Bridge != nil {
		err = errors.Join(err, a.Bridge.Leave(ctx, p))
	}
	return err
}

// Remove is [Network]'s.
func (a *Auto) Remove(ctx context.Context, p NetworkPod) error {
	err := a.CNI.Remove(ctx, p)
	if a.Bridge != nil {
		err = errors.Join(err, a.Bridge.Remove(ctx, p))
	}
	return err
}

// Recover is [Network]'s.
func (a *Auto) Recover(ctx context.Context, pods []NetworkPod) error {
	err := a.CNI.Recover(ctx, pods)
	if a.Bridge != nil {
		err = errors.Join(err, a.Bridge.Recover(ctx, pods))
	}
	return err
}

// Check is [Network]'s. The network of new pods decides; a bridge that only old pods have is mended all the same.
func (a *Auto) Check(ctx context.Context) error {
	if !a.cni() {
		return a.Bridge.Check(ctx)
	}
	if a.Bridge != nil {
		err := a.Bridge.Check(ctx)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if was := a.said.Swap(&text); err != nil && (was == nil || *was != text) {
			a.Log.Error("the built-in network, which pods from before the CNI configuration have, does not work", "error", err)
		}
	}
	return a.CNI.Check(ctx)
}

// SetPodCIDRs is [Network]'s.
func (a *Auto) SetPodCIDRs(list []netip.Prefix) error { return a.CNI.SetPodCIDRs(list) }

// Describe is [Network]'s.
func (a *Auto) Describe() any {
	if a.cni() {
		return a.CNI.Describe()
	}
	return a.Bridge.Describe()
}
