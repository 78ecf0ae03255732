package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// limits reads web's limits back from the cgroup that the kernel has it in.
func limits(_ context.Context, p *page, pod *pair) error {
	p.title("web's limits, read back from its cgroup")
	memory, err := readLimit(pod.webPID, "memory", "memory.limit_in_bytes", "memory.max")
	if err != nil {
		return err
	}
	p.show(memory)
	p.check(memory.value == fmt.Sprint(memoryLimit), "memory is limited to %d MiB", memoryLimit>>20)
	cpu, err := readLimit(pod.webPID, "cpu", "cpu.cfs_quota_us", "cpu.max")
	if err != nil {
		return err
	}
	p.show(cpu)
	quota, _, _ := strings.Cut(cpu.value, " ")
	p.check(quota == fmt.Sprint(cpuQuota), "CPU time is limited to %d µs in every %d", cpuQuota, cpuPeriod)
	client, err := readLimit(pod.clientPID, "memory", "memory.limit_in_bytes", "memory.max")
	if err != nil {
		return err
	}
	p.check(client.file != memory.file && client.value != memory.value, "client has a cgroup of its own, without that limit")
	return nil
}

// limit is one file of a cgroup.
type limit struct{ file, value string }

// show prints the file with the container's id cut short.
func (p *page) show(l limit) {
	id := filepath.Base(filepath.Dir(l.file))
	p.line("%s: %s", strings.Replace(l.file, id, fmt.Sprintf("%.12s…", id), 1), l.value)
}

// readLimit reads the file of the cgroup that a process is in: fileV1 where the machine has the controller on a v1 tree of its own, else fileV2.
func readLimit(pid int, controller, fileV1, fileV2 string) (limit, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return limit{}, err
	}
	var file string
	for line := range strings.Lines(string(text)) {
		// cgroups(7): hierarchy:controllers:path
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			return limit{}, fmt.Errorf("/proc/%d/cgroup: %q", pid, line)
		}
		switch {
		case slices.Contains(strings.Split(part[1], ","), controller):
			file = filepath.Join("/sys/fs/cgroup", part[1], part[2], fileV1)
		case part[0] == "0" && file == "":
			file = filepath.Join("/sys/fs/cgroup", part[2], fileV2)
		}
	}
	value, err := os.ReadFile(file)
	return limit{file, strings.TrimSpace(string(value))}, err
}
