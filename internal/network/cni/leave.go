package cni

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how many DELs of a pod fail before the queue gets it.
const patience = 3

// flight is one DEL. It is its own: callers may come and go.
type flight struct {
	done chan struct{}
	err  error // once done
	// lost are the plugins that were uninstalled before their DEL, which is given up; nil: none. Once done.
	lost []string
}

// Leave takes back what Add has given the pod, while its namespace is still there if it can be; nobody may run in it any more. A pod that has
// nothing is success, and so is one whose DEL the queue has. One that fails may be repeated: from the third failure on, or the first where the namespace
// is gone, the DEL is the queue's. When ctx ends the DEL goes on, and the next Leave joins it.
func (n *Network) Leave(ctx context.Context, pod string) error {
	n.mu.Lock()
	e := n.mu.pods[pod]
	if e == nil || e.rec.Owed {
		n.mu.Unlock()
		return nil
	}
	f := n.flyLocked(e)
	n.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
		return fmt.Errorf("CNI DEL of pod %s goes on, and is waited for by the next call: %w", pod, ctx.Err())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.rec.Owed {
		return nil
	}
	return f.err
}

// flyLocked begins a DEL, or gives the one that is under way.
func (n *Network) flyLocked(e *entry) *flight {
	if e.flight != nil {
		return e.flight
	}
	f := &flight{done: make(chan struct{}), err: errPanic}
	e.flight = f
	n.work.Go(func() {
		defer close(f.done)
		n.guard("CNI DEL", func() { f.lost, f.err = n.del(e) })()
		n.settle(e, f)
	})
	return f
}

var (
	errClosing = errors.New("podlet ends; the next one goes on with it")
	errPanic   = errors.New("podlet panicked, see its log")
)

// del runs one DEL, with what the record says. What is lost is success.
func (n *Network) del(e *entry) (lost []string, err error) {
	ctx := n.life
	n.mu.Lock()
	a := e.rec
	n.mu.Unlock()
	if err := n.awaitLeft(ctx, containerEnv+a.Pod, n.cfg.Timeout); err != nil {
		return nil, err
	}
	if err := n.turns.Acquire(ctx, 1); err != nil {
		return nil, errClosing
	}
	defer n.turns.Release(1)
	conf, err := n.confOf(&a)
	if err != nil {
		return nil, err
	}
	c := &chain{n: n, verb: "DEL", conf: conf, a: &a, netns: present(a.NetNS), limit: n.cfg.Timeout}
	if conf.atLeast("0.4.0") {
		// Earlier versions of the spec know no result in a DEL.
		c.prev = a.Result
	}
	back := c.back
	if a.Owed {
		back = c.backAll
	}
	err = c.within(ctx, back)
	if a.damaged {
		return nil, err // places in today's configuration say nothing tomorrow
	}
	n.mu.Lock()
	e.rec.Deleted = a.Deleted
	n.mu.Unlock()
	if err != nil && a.Owed {
		lost = n.uninstalled(c)
	}
	if lost != nil {
		return lost, nil
	}
	return nil, err
}

// uninstalled are the plugins whose DEL is outstanding where it can never succeed: the programs of all of them are gone, and today's configuration of
// the same network names none of them. Else nil: the DEL stays owed.
func (n *Network) uninstalled(c *chain) []string {
	today, err := n.ready()
	if err != nil || today.list.Name != c.conf.list.Name {
		return nil
	}
	var list []string
	for _, i := range c.outstanding() {
		plugin := c.conf.list.Plugins[i].Network.Type
		if today.names(plugin) || !n.absent(plugin) {
			return nil
		}
		list = append(list, plugin)
	}
	return list
}

// confOf gives the configuration an attachment was made with; where its record is damaged, today's.
func (n *Network) confOf(a *attachment) (*conf, error) {
	if !a.damaged {
		return parseRecorded(a.File, a.Conf)
	}
	conf, err := n.ready()
	if err != nil {
		return nil, fmt.Errorf("the record of the CNI attachment of pod %s is damaged: %w", a.Pod, err)
	}
	a.Args = "IgnoreUnknown=1;K8S_POD_INFRA_CONTAINER_ID=" + a.Pod
	return conf, nil
}

// present gives the path of a namespace as long as one is pinned there, else "": then it is gone, and the plugin is told so.
func present(netns string) string {
	var fs unix.Statfs_t
	if netns == "" || unix.Statfs(netns, &fs) != nil || fs.Type != unix.NSFS_MAGIC {
		return ""
	}
	return netns
}

// settle notes how a DEL ended.
func (n *Network) settle(e *entry, f *flight) {
	if f.err == nil {
		f.err = n.records.drop(e.rec.Pod)
	}
	gone := present(e.rec.NetNS) == ""
	n.mu.Lock()
	handed := false
	switch {
	case f.err == nil:
		delete(n.mu.pods, e.rec.Pod)
		delete(n.mu.checked, e.rec.Pod)
	case n.life.Err() == nil:
		e.rec.Failures++
		e.rec.Why = f.err.Error()
		if handed = !e.rec.Owed && (e.rec.Failures >= patience || gone); handed {
			e.rec.Owed, e.next = true, time.Now().Add(n.backOff(e.rec.Failures))
		}
	}
	a := e.rec
	n.mu.Unlock()
	n.report(&a, f, handed)
	if f.err != nil && !a.damaged {
		if err := n.records.save(&a); err != nil {
			// The file as it was does as well: a DEL is owed as long as it is there.
			n.cfg.Log.Warn("can't note that a CNI DEL failed", "pod", a.Pod, "error", err)
		}
	}
	n.mu.Lock()
	e.flight = nil
	n.mu.Unlock()
	if f.err != nil && a.Owed {
		poke(n.owing)
	}
}

// report says what an administrator may want to know of a DEL's end.
func (n *Network) report(a *attachment, f *flight, handed bool) {
	switch {
	case f.err == nil && f.lost != nil:
		n.cfg.Log.Warn("an owed CNI DEL is given up: its plugins are uninstalled, and the network's configuration doesn't name them any more; what they gave the pod stays taken",
			"pod", a.Pod, "file", a.File, "plugins", f.lost, "failures", a.Failures, "error", a.Why)
	case f.err == nil && a.Owed:
		n.cfg.Log.Info("the CNI DEL that was owed has succeeded", "pod", a.Pod, "file", a.File, "failures", a.Failures)
	case handed:
		n.cfg.Log.Error("a CNI DEL fails: the pod goes without it, podlet tries again in the background, and until then what the plugins gave the pod stays taken",
			"pod", a.Pod, "file", a.File, "failures", a.Failures, "error", a.Why)
	}
}
