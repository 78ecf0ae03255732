package cri

import (
	"strings"
	"sync"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/pod/spec"
)

// signalName is the kernel-side spelling of a CRI signal: SIGNAL_SIGRTMINPLUS1 is SIGRTMIN+1.
func signalName(s cri.Signal) (string, bool) {
	name, ok := cri.Signal_name[int32(s)]
	if !ok {
		return "", false
	}
	name = strings.TrimPrefix(name, "SIGNAL_")
	name = strings.Replace(name, "PLUS", "+", 1)
	return strings.Replace(name, "MINUS", "-", 1), true
}

// stopSignal is the number of a CRI signal; 0 leaves the choice to the image.
func stopSignal(s cri.Signal) (int, error) {
	if s == cri.Signal_SIGNAL_RUNTIME_DEFAULT {
		return 0, nil
	}
	name, ok := signalName(s)
	if !ok {
		return 0, invalid("stop_signal %d", s)
	}
	n := spec.Signal(name)
	if n == 0 {
		return 0, unsupported("stop signal %s on Linux", name)
	}
	return n, nil
}

// criSignals are the CRI's names by number; of several names for a number the first in api.proto's order counts.
var criSignals = sync.OnceValue(func() map[int]cri.Signal {
	byNumber := map[int]cri.Signal{}
	for value := int32(1); ; value++ {
		name, ok := signalName(cri.Signal(value))
		if !ok {
			return byNumber
		}
		n := spec.Signal(name)
		if _, taken := byNumber[n]; n != 0 && !taken {
			byNumber[n] = cri.Signal(value)
		}
	}
})

func criSignal(n int) cri.Signal { return criSignals()[n] }
