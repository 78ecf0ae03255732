package record

import (
	"errors"
	"strings"
	"testing"
)

func TestCVE_E15(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	bad := []string{"", ".", "..", "/", "a", podA[:63], podA + "a", strings.Repeat("A", 64), strings.Repeat("a", 63) + "/",
		"../" + podA[3:], podA[:63] + "\x00", strings.Repeat("a", 63) + "\n", strings.Repeat("g", 64), strings.Repeat("a/../", 13)[:64], strings.Repeat("a", 1<<20)}
	for _, id := range bad {
		for verb, err := range map[string]error{
			"Put":              s.Put(id, Pod, value),
			"Delete":           s.Delete(id, Pod),
			"DeletePod":        s.DeletePod(id),
			"Put container":    s.Put(podA, Container(id), value),
			"Delete container": s.Delete(podA, Container(id)),
			"Put name":         s.Put(podA, id, value),
			"Delete name":      s.Delete(podA, id),
			"Quarantine":       func() error { _, err := s.Quarantine(podA, id, ""); return err }(),
		} {
			if !errors.Is(err, ErrInvalidName) {
				t.Errorf("%s of %.80q: %v, want ErrInvalidName", verb, id, err)
			} else if len(err.Error()) > 500 {
				t.Errorf("%s of an id of %d bytes: message of %d bytes", verb, len(id), len(err.Error()))
			}
		}
	}
	if left := names(t, s.path+"/pods"); len(left) > 0 {
		t.Errorf("left in pods: %q", left)
	}
}

func TestContainerID(t *testing.T) {
	if id, ok := ContainerID(ctr1); !ok || Container(id) != ctr1 {
		t.Errorf("ContainerID(%q) = %q, %v", ctr1, id, ok)
	}
	for _, name := range []string{Pod, "container-", "container-x", podA} {
		if _, ok := ContainerID(name); ok {
			t.Errorf("ContainerID(%q) is ok", name)
		}
	}
}
