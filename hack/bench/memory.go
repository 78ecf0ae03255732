package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// memory is what a pod with one idle container takes, the container's own processes left out. Bytes.
type memory struct {
	// Pause is the PSS of the pod's pause with its log writer (proc_pid_smaps(5), smaps_rollup): what is shared with other
	// pods' counts in parts.
	Pause int64 `json:"pause_pss_bytes"`
	// Daemon is by how much the PSS of podlet and its nursery grew, by the number of pods. It can be negative: a Go program gives memory back late.
	Daemon int64 `json:"daemon_growth_bytes"`
	// Kernel is the growth of slabs, kernel stacks, page tables and per-CPU memory (/proc/meminfo), by the number of pods. All
	// of the machine is in it, the container's own part as well.
	Kernel int64 `json:"kernel_bytes"`
}

func (m memory) note(pods int) string {
	return fmt.Sprintf("%s, %d pods: pause %.1f kB PSS, growth of podlet %.1f kB, together %.3f MB; kernel memory %.0f kB",
		rowMemory, pods, float64(m.Pause)/1e3, float64(m.Daemon)/1e3, float64(m.Pause+m.Daemon)/1e6, float64(m.Kernel)/1e3)
}

// memoryRows brings n pods up and looks at who takes what.
func memoryRows(ctx context.Context, o options) (_ []row, err error) {
	var b bench
	defer b.close(&err)
	if err := b.start(ctx, o); err != nil {
		return nil, err
	}
	// The first pods pay for what is made once.
	for range warmUp {
		if _, err := b.round(ctx, true); err != nil {
			return nil, err
		}
	}
	first, _, err := b.up(ctx, true)
	if err != nil {
		return nil, err
	}
	pause, err := b.pausePID(ctx, first)
	if err != nil {
		return nil, err
	}
	before, err := b.take(pause)
	if err != nil {
		return nil, err
	}
	for range o.n {
		if _, _, err := b.up(ctx, true); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, b.node.LogTail())
		}
	}
	after, err := b.take(pause)
	if err != nil {
		return nil, err
	}
	n := int64(o.n)
	return []row{{Name: rowMemory, N: o.n, Memory: &memory{
		Pause:  after.pauses / (n + 1),
		Daemon: (after.daemon - before.daemon) / n,
		Kernel: (after.kernel - before.kernel) / n,
	}}}, nil
}

// pausePID is the pod's pause, from the verbose status.
func (b *bench) pausePID(ctx context.Context, p pod) (int, error) {
	status, err := b.node.Runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: p.id, Verbose: true})
	if err != nil {
		return 0, err
	}
	var info struct{ PID int }
	if err := json.Unmarshal([]byte(status.Info["info"]), &info); err != nil {
		return 0, fmt.Errorf("verbose status of a pod: %w", err)
	}
	return info.PID, nil
}

// usage is one look at the machine. pauses are all pods' together.
type usage struct{ pauses, daemon, kernel int64 }

// take looks. Processes of pause's are known by their program, which they share with the pause given; the nursery is the one
// that podlet itself started.
func (b *bench) take(pause int) (usage, error) {
	var u usage
	var err error
	if u.kernel, err = kernelMemory("/proc/meminfo"); err != nil {
		return u, err
	}
	podlet := b.node.PID()
	if u.daemon, err = pss(podlet); err != nil {
		return u, err
	}
	program, err := os.Stat(exe(pause))
	if err != nil {
		return u, err
	}
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return u, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			return u, err
		}
		same, err := os.Stat(exe(pid))
		if err != nil || !os.SameFile(program, same) {
			continue
		}
		size, err := pss(pid)
		if err != nil {
			return u, err
		}
		if parentOf(pid) == podlet {
			u.daemon += size
		} else {
			u.pauses += size
		}
	}
	return u, nil
}

func exe(pid int) string { return fmt.Sprintf("/proc/%d/exe", pid) }

// parentOf is 0 for a process that is gone.
func parentOf(pid int) int {
	lines, err := numbers(fmt.Sprintf("/proc/%d/status", pid), "PPid:")
	if err != nil {
		return 0
	}
	return int(lines)
}

// pss is a process's proportional set size in bytes.
func pss(pid int) (int64, error) {
	kb, err := numbers(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
	return kb << 10, err
}

func kernelMemory(meminfo string) (int64, error) {
	kb, err := numbers(meminfo, "Slab:", "KernelStack:", "PageTables:", "SecPageTables:", "Percpu:")
	return kb << 10, err
}

// numbers adds up what a file of /proc says in the lines that begin with one of the words.
func numbers(path string, words ...string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var sum int64
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		for _, word := range words {
			if len(fields) < 2 || fields[0] != word {
				continue
			}
			n, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", path, err)
			}
			sum += n
		}
	}
	return sum, lines.Err()
}
