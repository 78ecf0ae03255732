package cni

import "slices"

// Owed is a DEL that the queue has.
type Owed struct {
	Pod      string `json:"pod"`
	File     string `json:"file"`
	Failures int    `json:"failures"`
	Error    string `json:"error,omitempty"`
}

// Description is the network as a person wants to see it.
type Description struct {
	ConfDir string   `json:"confDir"`
	BinDirs []string `json:"binDirs"`
	// File is the configuration's, Network its name, Version the spec's; Error why there is none.
	File    string   `json:"file,omitempty"`
	Network string   `json:"network,omitempty"`
	Version string   `json:"cniVersion,omitempty"`
	Plugins []string `json:"plugins,omitempty"`
	Error   string   `json:"error,omitempty"`
	// PodCIDRs are what the kubelet said.
	PodCIDRs []string `json:"podCIDRs,omitempty"`
	// Pods counts attachments, Owed are DELs that failed and are tried again; Checked is what CHECK found amiss, by pod.
	Pods    int               `json:"pods"`
	Owed    []Owed            `json:"owedDELs,omitempty"`
	Checked map[string]string `json:"failedCHECKs,omitempty"`
	LastGC  *collected        `json:"lastGC,omitempty"`
}

// Describe tells of the network; it runs no plugin and waits for nothing.
func (n *Network) Describe() *Description {
	conf, err := n.ready()
	n.mu.Lock()
	defer n.mu.Unlock()
	d := &Description{ConfDir: n.cfg.ConfDir, BinDirs: n.cfg.BinDirs, Checked: map[string]string{}}
	if err != nil {
		d.Error = err.Error()
	} else {
		d.File, d.Network, d.Version = conf.file, conf.list.Name, conf.list.CNIVersion
		for _, p := range conf.list.Plugins {
			d.Plugins = append(d.Plugins, p.Network.Type)
		}
	}
	for _, c := range n.mu.cidrs {
		d.PodCIDRs = append(d.PodCIDRs, c.String())
	}
	for pod, e := range n.mu.pods {
		if !e.rec.Owed {
			d.Pods++
			continue
		}
		d.Owed = append(d.Owed, Owed{pod, e.rec.File, e.rec.Failures, e.rec.Why})
	}
	slices.SortFunc(d.Owed, func(a, b Owed) int { return b.Failures - a.Failures })
	for pod, why := range n.mu.checked {
		d.Checked[pod] = why
	}
	if !n.mu.collected.At.IsZero() {
		last := n.mu.collected
		d.LastGC = &last
	}
	return d
}
