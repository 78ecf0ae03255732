package cni

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

// collectGarbage runs GC at once and every hour, and when the configuration has changed.
func (n *Network) collectGarbage() {
	every := time.NewTicker(gcEvery)
	defer every.Stop()
	for {
		select {
		case <-n.collect: // this one is the one that was asked for
		default:
		}
		if err := n.gc(); err != nil && n.life.Err() == nil {
			n.cfg.Log.Warn("CNI GC failed", "next", gcEvery, "error", err)
		}
		select {
		case <-n.collect:
		case <-every.C:
		case <-n.life.Done():
			return
		}
	}
}

// gc tells plugins which attachments are valid, where their version of the spec has that. Those that are owed a DEL aren't any more.
func (n *Network) gc() error {
	conf, err := n.ready()
	if err != nil || !conf.atLeast("1.1.0") || conf.list.DisableGC {
		return nil // who has no configuration hears of it elsewhere
	}
	// All that podlet doesn't know would be stale: one that never added a pod has no business to say so, as another runtime may have the network.
	used, err := n.used(conf)
	if err != nil || !used {
		return err
	}
	if err := n.allTurns(); err != nil {
		return err
	}
	defer n.turns.Release(abreast)
	valid := n.valid(conf.list.Name)
	c := &chain{n: n, verb: "GC", conf: conf, limit: n.cfg.gcTime, more: map[string]any{
		"cni.dev/valid-attachments": valid,
		// The name that the spec's first text had: plugins of that time read it.
		"cni.dev/attachments": valid,
	}}
	err = c.within(n.life, c.all)
	n.mu.Lock()
	n.mu.collected = collected{At: time.Now(), Valid: len(valid)}
	if err != nil {
		n.mu.collected.Error = err.Error()
	}
	n.mu.Unlock()
	return err
}

// use notes, before a pod is added, that podlet has added pods to the network.
func (n *Network) use(conf *conf) error {
	used, err := n.used(conf)
	if err != nil || used {
		return err
	}
	if err := os.MkdirAll(n.usedDir(), 0o700); err != nil {
		return fmt.Errorf("note that CNI network %s is used: %w", conf.list.Name, err)
	}
	f, err := os.Create(filepath.Join(n.usedDir(), conf.list.Name))
	if err != nil {
		return fmt.Errorf("note that CNI network %s is used: %w", conf.list.Name, err)
	}
	return f.Close()
}

// used says whether podlet has ever added a pod to the network.
func (n *Network) used(conf *conf) (bool, error) {
	_, err := os.Lstat(filepath.Join(n.usedDir(), conf.list.Name))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (n *Network) usedDir() string { return filepath.Join(n.cfg.Dir, "networks") }

// allTurns waits until no ADD and no DEL runs, and keeps new ones waiting, as the spec wants it (section 3, Lifecycle). A busy network is waited for
// without being in anybody's way; only then pods wait for those that are on the way, and not for long, as one of them may hang.
func (n *Network) allTurns() error {
	for began := time.Now(); time.Since(began) < gcPatience; {
		if n.turns.TryAcquire(abreast) {
			return nil
		}
		if !sleep(n.life, gcTry) {
			return errClosing
		}
	}
	ctx, cancel := context.WithTimeout(n.life, gcPush)
	defer cancel()
	if err := n.turns.Acquire(ctx, abreast); err != nil {
		return errors.New("pods come and go all the time, or a plugin hangs")
	}
	return nil
}

const (
	// gcPatience is how long GC waits for a moment in which nothing runs, looking every gcTry; gcPush is how long pods may then wait for such a moment.
	gcPatience, gcTry, gcPush = time.Minute, 100 * time.Millisecond, 5 * time.Second
)

// collected is how the last GC went.
type collected struct {
	At    time.Time `json:"at"`
	Valid int       `json:"valid"`
	Error string    `json:"error,omitempty"`
}

// valid lists the attachments to a network: never nil, as plugins need a list.
func (n *Network) valid(network string) []types.GCAttachment {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := []types.GCAttachment{}
	for pod, e := range n.mu.pods {
		if e.rec.Owed {
			continue
		}
		// Of one that is damaged the network isn't known: one too many does no harm.
		conf, err := parseRecorded(e.rec.File, e.rec.Conf)
		if err != nil || conf.list.Name == network {
			list = append(list, types.GCAttachment{ContainerID: pod, IfName: ifName})
		}
	}
	slices.SortFunc(list, func(a, b types.GCAttachment) int { return strings.Compare(a.ContainerID, b.ContainerID) })
	return list
}
