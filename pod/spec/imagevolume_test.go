package spec

import (
	"fmt"
	"slices"
	"testing"
)

func TestImageVolumes(t *testing.T) {
	m := &Machine{Unified: true}
	c := &Container{Mounts: []Mount{{Target: "/mounted"}, {Target: "/deep/er/still"}}}
	i := &Image{Volumes: []string{
		"/", "/a/b/c", "/data", "/deep", "/deep/er/still", "/deep/er/still/more", "/dev", "/dev/shm/x", "/etc", "/etc/hosts", "/mounted", "/mounted/below", "/mountedbeside", "/proc", "/proc/x", "/sys/fs/cgroup",
	}}
	got, err := ImageVolumes(c, i, m)
	if want := []string{"/data", "/deep", "/etc", "/mountedbeside", "/a/b/c"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	i.Volumes = nil
	for n := range maxImageVolumes + 1 {
		i.Volumes = append(i.Volumes, fmt.Sprint("/v", n))
	}
	if _, err := ImageVolumes(c, i, m); err == nil {
		t.Error("too many are taken")
	}
}
