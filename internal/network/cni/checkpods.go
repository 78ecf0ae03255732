package cni

// checkPods asks plugins whether pods of an earlier podlet still have what was added. podlet mends nothing there: a pod can't be added again while
// it runs. It tells.
func (n *Network) checkPods(list []*entry) {
	for _, e := range list {
		if n.life.Err() != nil {
			return
		}
		n.mu.Lock()
		a, there := e.rec, n.mu.pods[e.rec.Pod] == e && e.flight == nil
		n.mu.Unlock()
		if !there || present(a.NetNS) == "" {
			continue
		}
		err := n.checkPod(&a)
		if err == nil || n.life.Err() != nil {
			continue
		}
		n.mu.Lock()
		_, there = n.mu.pods[a.Pod]
		if there && e.flight == nil {
			n.mu.checked[a.Pod] = err.Error()
		}
		n.mu.Unlock()
		if there {
			n.cfg.Log.Warn("a CNI plugin finds that a pod's network is not as it was added", "pod", a.Pod, "error", err)
		}
	}
}

func (n *Network) checkPod(a *attachment) error {
	conf, err := parseRecorded(a.File, a.Conf)
	if err != nil {
		return err
	}
	if conf.list.DisableCheck || !conf.atLeast("0.4.0") {
		return nil
	}
	if err := n.turns.Acquire(n.life, 1); err != nil {
		return nil
	}
	defer n.turns.Release(1)
	c := &chain{n: n, verb: "CHECK", conf: conf, a: a, netns: a.NetNS, limit: n.cfg.Timeout, prev: a.Result}
	return c.within(n.life, c.each)
}
