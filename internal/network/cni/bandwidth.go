package cni

import "math"

// Bandwidth limits what a pod receives (ingress) and sends (egress), in bits a second; 0: it doesn't.
type Bandwidth struct {
	Ingress, Egress uint64
}

// bandwidth is the convention for the capability of that name: bits a second, and bits that may come at once.
type bandwidth struct {
	IngressRate  uint64 `json:"ingressRate,omitempty"`
	IngressBurst uint64 `json:"ingressBurst,omitempty"`
	EgressRate   uint64 `json:"egressRate,omitempty"`
	EgressBurst  uint64 `json:"egressBurst,omitempty"`
}

func (b Bandwidth) capability() bandwidth {
	return bandwidth{b.Ingress, burstOf(b.Ingress), b.Egress, burstOf(b.Egress)}
}

// burstOf is what may come at once at a rate, which Kubernetes' annotations don't say: a tenth of a second's, as there would else be no limit for
// short transfers; at least 128 KiB, since the token bucket of plugins drops what doesn't fit at once, and at most what they take.
func burstOf(rate uint64) uint64 {
	if rate == 0 {
		return 0
	}
	return min(max(rate/10, 8*128<<10), math.MaxUint32)
}
