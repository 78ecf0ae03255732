package cni

// Recover is called once, before Add and Leave. What pods other than these have, by an earlier podlet's Add, is the queue's to take back; those of
// these that are alive are looked at by CHECK, in the background.
func (n *Network) Recover(pods []string) {
	alive := map[string]bool{}
	for _, p := range pods {
		alive[p] = true
	}
	var check []*entry
	n.mu.Lock()
	for pod, e := range n.mu.pods {
		if !alive[pod] {
			e.rec.Owed = true
		}
		if !e.rec.Owed && !e.rec.damaged && e.rec.Result != nil {
			check = append(check, e)
		}
	}
	n.mu.Unlock()
	if !n.cfg.Retired {
		n.awaitCollector()
	}
	n.work.Go(n.guard("CNI DELs that are owed", n.queue))
	if n.cfg.Retired {
		return
	}
	n.work.Go(n.guard("CNI CHECK", func() { n.checkPods(check) }))
	n.work.Go(n.guard("CNI GC", n.collectGarbage))
}
