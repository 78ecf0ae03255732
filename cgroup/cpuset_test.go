package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// What the machine hasn't got is the request's mistake, what the parent hasn't got is not; the error says what there is.
func TestCpusetLacks(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		need(t, h, "cpuset")
		cpus, nodes := online(t, "cpu"), online(t, "node")
		g := create(t, h, path(t, "cpuset"), nil)
		for _, c := range []struct {
			r    Resources
			says string
		}{
			{Resources{CpusetCPUs: "0-4000"}, fmt.Sprintf("this machine offers only %q", cpus)},
			{Resources{CpusetCPUs: "0,200"}, fmt.Sprintf("this machine offers only %q", cpus)},
			{Resources{CpusetMems: "0-60"}, fmt.Sprintf("this machine offers only %q", nodes)},
		} {
			err := g.Update(t.Context(), &c.r)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Update to %q %q: %v; want %q", c.r.CpusetCPUs, c.r.CpusetMems, err, c.says)
			}
			if _, err := h.Create(t.Context(), path(t, "cpuset-new"), &c.r); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Create with %q %q: %v; want %q", c.r.CpusetCPUs, c.r.CpusetMems, err, c.says)
			}
		}
		if h.onV2("cpuset") {
			for value, says := range map[string]string{"0-4000": fmt.Sprintf("this machine offers only %q", cpus), "abc": "neither a number nor a range"} {
				err := g.Update(t.Context(), &Resources{Unified: map[string]string{"cpuset.cpus": value}})
				if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), says) {
					t.Errorf("Update of the unified cpuset.cpus to %q: %v; want %q", value, err, says)
				}
			}
			err := g.Update(t.Context(), &Resources{Unified: map[string]string{"cpuset.cpus.partition": "none"}})
			if !errors.Is(err, ErrUnsupported) || strings.Contains(err.Error(), "only") {
				t.Errorf("Update of the unified cpuset.cpus.partition: %v", err)
			}
		}
		if !subset("0-1", cpus) {
			t.Skip("one CPU: no parent can have fewer")
		}
		create(t, h, path(t, "narrow"), &Resources{CpusetCPUs: "0"})
		says := `the parent cgroup has only "0"`
		if _, err := h.Create(t.Context(), path(t, "narrow", "c"), &Resources{CpusetCPUs: "0-1"}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), says) {
			t.Errorf("Create in a parent with one CPU: %v; want %q", err, says)
		}
	})
}

// online lists the CPUs or the memory nodes ("node") that the machine has.
func online(t *testing.T, what string) string {
	t.Helper()
	text, err := os.ReadFile("/sys/devices/system/" + what + "/online")
	if errors.Is(err, fs.ErrNotExist) {
		return "0" // a kernel without CONFIG_NUMA has the one node
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
