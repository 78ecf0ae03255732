package spec

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
)

// The annotations of a pod that limit its traffic, as the kubelet and CNI's bandwidth plugin know them. They have no effect in the node's network.
const (
	IngressBandwidth = "kubernetes.io/ingress-bandwidth"
	EgressBandwidth  = "kubernetes.io/egress-bandwidth"
)

// Bandwidth limits a pod's traffic, in bits per second; 0: no limit. Ingress is what comes to the pod, Egress what it sends.
type Bandwidth struct {
	Ingress, Egress uint64
}

// The least and the most that may be asked for, in bits per second: those of the kubelet.
const (
	minBandwidth = 1e3
	maxBandwidth = 1e15
)

// Bandwidth gives the limits that the pod's annotations ask for.
func (s *Sandbox) Bandwidth() (Bandwidth, error) {
	var b Bandwidth
	if !s.OwnNetwork() {
		return b, nil
	}
	for _, limit := range []struct {
		annotation string
		into       *uint64
	}{{IngressBandwidth, &b.Ingress}, {EgressBandwidth, &b.Egress}} {
		text, asked := s.Annotations[limit.annotation]
		if !asked {
			continue
		}
		rate, err := parseBandwidth(text)
		if err != nil {
			return b, fmt.Errorf("%w: annotation %s: %w", ErrInvalid, limit.annotation, err)
		}
		*limit.into = rate
	}
	return b, nil
}

// quantity is a resource quantity of Kubernetes: a decimal number, then a power of ten or of two by its letter, or an exponent.
var quantity = regexp.MustCompile(`^\+?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?$`)

// powers are the exponents of the letters, to the base of 1000.
var powers = map[byte]int{'n': -3, 'u': -2, 'm': -1, 'k': 1, 'K': 1, 'M': 2, 'G': 3, 'T': 4, 'P': 5, 'E': 6}

// maxQuantity bounds a quantity's text in bytes.
const maxQuantity = 64

// parseBandwidth reads a resource quantity of bits per second; a part of a bit counts as one.
func parseBandwidth(text string) (uint64, error) {
	parts := quantity.FindStringSubmatch(text)
	if parts == nil || len(text) > maxQuantity {
		return 0, fmt.Errorf("%.64q is no quantity of bits per second, such as 10M or 1.5G", text)
	}
	value, ok := new(big.Rat).SetString(parts[1])
	if !ok {
		return 0, fmt.Errorf("%.64q is no quantity of bits per second, such as 10M or 1.5G", text)
	}
	base, power := int64(1000), 0
	switch suffix, exponent := parts[2], parts[3]; {
	case len(suffix) == 2:
		base, power = 1024, powers[suffix[0]]
	case suffix != "":
		power = powers[suffix[0]]
	case exponent != "":
		base = 10
		power, _ = strconv.Atoi(exponent) // three digits at most
	}
	scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(base), big.NewInt(int64(max(power, -power))), nil))
	if power < 0 {
		scale.Inv(scale)
	}
	value.Mul(value, scale)
	if value.Cmp(big.NewRat(minBandwidth, 1)) < 0 || value.Cmp(big.NewRat(maxBandwidth, 1)) > 0 {
		return 0, fmt.Errorf("%s bits per second is not within 1k and 1P", text)
	}
	up := new(big.Int).Sub(value.Denom(), big.NewInt(1))
	return up.Div(up.Add(up, value.Num()), value.Denom()).Uint64(), nil
}
