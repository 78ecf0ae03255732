package cgroup

import "testing"

func TestOpenNothing(t *testing.T) {
	if h, err := Open(t.TempDir()); err == nil {
		t.Errorf("Open of an empty directory: %v", h.Mode())
	}
}
