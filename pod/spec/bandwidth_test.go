package spec

import (
	"errors"
	"strings"
	"testing"
)

func TestBandwidth(t *testing.T) {
	for text, want := range map[string]uint64{
		"1k": 1e3, "1000": 1e3, "1000.5": 1001, "10M": 10e6, "+10M": 10e6, "1.5G": 15e8, ".5M": 5e5, "5.M": 5e6, "1Ki": 1024, "3Mi": 3 << 20, "1P": 1e15, "0.001E": 1e15,
		"1e3": 1e3, "1E6": 1e6, "25e+5": 25e5, "1e15": 1e15, "1000000e-3": 1e3, "1000000m": 1e3, "5000000000u": 5e3, "1000000000001n": 1001, "1000000000000000": 1e15,
	} {
		got, err := (&Sandbox{Annotations: map[string]string{IngressBandwidth: text}}).Bandwidth()
		if err != nil || got != (Bandwidth{Ingress: want}) {
			t.Errorf("%s: %v, %v, want %d", text, got, err, want)
		}
	}
	both := map[string]string{IngressBandwidth: "1M", EgressBandwidth: "2M"}
	if got, err := (&Sandbox{Annotations: both}).Bandwidth(); err != nil || got != (Bandwidth{1e6, 2e6}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := (&Sandbox{HostNetwork: true, Annotations: map[string]string{EgressBandwidth: "x"}}).Bandwidth(); err != nil || got != (Bandwidth{}) {
		t.Errorf("in the node's network: %v, %v", got, err)
	}
	for _, text := range []string{
		"", " ", "M", "-1M", "1 M", "10 Mbit", "10m", "1mi", "0", "999", "999.9", "1.000001P", "1Pi", "1E", "1e16", "1e999", "9e9999999999", "1e-999", "0x10", "1_000", "1M\n", "٣k", "1..5M", "1KK", "1ki", "inf", strings.Repeat("0", 64) + "1M",
	} {
		got, err := (&Sandbox{Annotations: map[string]string{EgressBandwidth: text}}).Bandwidth()
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), EgressBandwidth) {
			t.Errorf("%q: %v, %v, want an error that names the annotation", text, got, err)
		}
	}
}
