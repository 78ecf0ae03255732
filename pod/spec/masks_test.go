package spec

import (
	"path"
	"slices"
	"testing"
)

func TestMasks(t *testing.T) {
	own := []string{"/proc/x"}
	for _, c := range []struct {
		name             string
		c                Container
		masked, readOnly []string
	}{
		{"the default", Container{}, defaultMaskedPaths, defaultReadOnlyPaths},
		{"lists of their own", Container{MaskedPaths: own, ReadOnlyPaths: own}, own, own},
		{"none", Container{MaskedPaths: []string{}, ReadOnlyPaths: []string{}}, nil, nil},
		{"privileged", Container{Privileged: true, MaskedPaths: own, ReadOnlyPaths: own}, nil, nil},
	} {
		if got := c.c.Masked(); !slices.Equal(got, c.masked) {
			t.Errorf("%s: masked %q", c.name, got)
		}
		if got := c.c.ReadOnly(); !slices.Equal(got, c.readOnly) {
			t.Errorf("%s: read-only %q", c.name, got)
		}
	}
}

func TestDefaultMasksAreClean(t *testing.T) {
	for _, p := range slices.Concat(defaultMaskedPaths, defaultReadOnlyPaths) {
		if !path.IsAbs(p) || path.Clean(p) != p {
			t.Errorf("%q is not an absolute clean path", p)
		}
	}
}

// TestDefaultDevices: the rules allow making nodes, and using only what every container has; nothing is a wildcard for reading and writing.
func TestDefaultDevices(t *testing.T) {
	for _, r := range DefaultDevices() {
		if !r.Allow {
			t.Errorf("%+v denies", r)
		}
		if r.Major == anyNumber && r.Access != "m" {
			t.Errorf("%+v allows all devices", r)
		}
		if r.Type == 'b' && r.Access != "m" {
			t.Errorf("%+v allows a disk", r)
		}
	}
}
