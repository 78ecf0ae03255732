package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// A round writes so many bytes, in lines of 100, 64,000 a write; the CRI's prefix makes 140 of each 100.
const (
	floodBytes = 1_000_000_000
	floodLog   = floodBytes / 100 * 140
	logRounds  = 5 // at most
)

// logged is how fast one container's output gets into its log, and what that takes: the medians of n rounds. MB and GB are decimal, of the container's own bytes.
type logged struct {
	// Rate is by the time from StartContainer's answer to the last byte in the file. MB/s.
	Rate float64 `json:"mb_per_s"`
	// CPU is Pause and Writer together: what logging takes. All are CPU seconds, user and system, a GB.
	CPU    float64 `json:"cpu_s_per_gb"`
	Pause  float64 `json:"pause_cpu_s_per_gb"`
	Writer float64 `json:"writer_cpu_s_per_gb"`
	// App is the container's own, which writes to its pipe.
	App float64 `json:"app_cpu_s_per_gb"`
}

func (l *logged) note(r row) string {
	return fmt.Sprintf("%s, %d GB: %.0f MB/s; %.2f CPU s a GB (pause %.2f, log writer %.2f) and the container's own %.2f",
		r.Name, r.N, l.Rate, l.CPU, l.Pause, l.Writer, l.App)
}

func logRow(ctx context.Context, o options) ([]row, error) {
	const dir = "/dev/shm"
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		return nil, fmt.Errorf("%s wants a tmpfs at %s (statfs: %v)", rowLog, dir, err)
	}
	return logRowIn(ctx, o, rowLog, dir)
}

func logDiskRow(ctx context.Context, o options) ([]row, error) {
	return logRowIn(ctx, o, rowLogDisk, os.TempDir())
}

// logRowIn floods logs in a directory below dir.
func logRowIn(ctx context.Context, o options, name, dir string) (_ []row, err error) {
	var b bench
	defer b.close(&err)
	logs, err := os.MkdirTemp(dir, "podlet-bench-logs-")
	if err != nil {
		return nil, err
	}
	b.undo = append(b.undo, func() error { return os.RemoveAll(logs) })
	if err := b.startWith(ctx, o, "tools"); err != nil {
		return nil, err
	}
	var all []logged
	// The first round isn't measured: a virtual machine's host may make memory for the page cache only now.
	for i := range 1 + min(o.n, logRounds) {
		l, err := b.flood(ctx, logs)
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, b.node.LogTail())
		}
		if i > 0 {
			all = append(all, l)
		}
	}
	middle := func(of func(logged) float64) float64 {
		var values []float64
		for _, l := range all {
			values = append(values, of(l))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return []row{{Name: name, N: len(all), Log: &logged{
		Rate:   middle(func(l logged) float64 { return l.Rate }),
		CPU:    middle(func(l logged) float64 { return l.CPU }),
		Pause:  middle(func(l logged) float64 { return l.Pause }),
		Writer: middle(func(l logged) float64 { return l.Writer }),
		App:    middle(func(l logged) float64 { return l.App }),
	}}}, nil
}

// flood has a container of a pod of its own write floodBytes. When it has, it waits, so that its CPU time can be asked for.
func (b *bench) flood(ctx context.Context, logs string) (l logged, err error) {
	config := b.podConfig(false)
	config.LogDirectory = logs
	sandbox, err := b.node.Runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return l, fmt.Errorf("RunPodSandbox: %w", err)
	}
	container := b.containerConfig(config)
	container.Image.Image = testimage.ToolsName
	container.Command = []string{"/bin/sh", "-c", fmt.Sprintf("/bin/probe flood %d; exec sleep 1000", floodBytes)}
	created, err := b.node.Runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: sandbox.PodSandboxId, Config: container, SandboxConfig: config,
	})
	if err != nil {
		return l, fmt.Errorf("CreateContainer: %w", err)
	}
	p := pod{sandbox.PodSandboxId, created.ContainerId}
	pid, err := b.pausePID(ctx, p)
	if err != nil {
		return l, err
	}
	before, err := cpuOf(pid)
	if err != nil {
		return l, err
	}
	if _, err := b.node.Runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		return l, fmt.Errorf("StartContainer: %w", err)
	}
	began := time.Now()
	path := filepath.Join(logs, container.LogPath)
	if err := awaitSize(ctx, path, floodLog); err != nil {
		return l, err
	}
	took := time.Since(began)
	if l, err = spent(ctx, pid, before); err != nil {
		return l, err
	}
	l.Rate = floodBytes / 1e6 / took.Seconds()
	if _, err := b.down(ctx, p); err != nil {
		return l, err
	}
	return l, os.Remove(path)
}

// spent asks who took how much for the flood of the pod with that pause, which had taken so much before.
func spent(ctx context.Context, pause int, before time.Duration) (l logged, err error) {
	perGB := func(d time.Duration) float64 { return d.Seconds() / (floodBytes / 1e9) }
	after, err := cpuOf(pause)
	if err != nil {
		return l, err
	}
	l.Pause = perGB(after - before)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pause, pause))
	if err != nil {
		return l, err
	}
	for _, word := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return l, err
		}
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			return l, err
		}
		if strings.HasPrefix(string(comm), "podlet-logger") {
			cpu, err := cpuOf(pid)
			if err != nil {
				return l, err
			}
			l.Writer = perGB(cpu)
		} else if l.App, err = childrenCPU(ctx, pid); err != nil {
			return l, err
		}
	}
	l.CPU = l.Pause + l.Writer
	l.App /= floodBytes / 1e9
	if l.Writer == 0 || l.App == 0 {
		return l, fmt.Errorf("among pause's children %q no log writer or no container that wrote", children)
	}
	return l, nil
}

// awaitSize returns when the file has so many bytes. inotify's events, one a write, would take from what is measured.
func awaitSize(ctx context.Context, path string, size int64) error {
	for {
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		if st.Size() > size {
			return fmt.Errorf("%s has %d bytes, more than the %d that make it whole", path, st.Size(), size)
		}
		if st.Size() == size {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// cpuOf is the CPU time of a process, its children's left out: its clock, as clock_getcpuclockid(3) makes the number.
func cpuOf(pid int) (time.Duration, error) {
	const schedClock = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &t); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// childrenCPU is the CPU time in seconds of all children that a process has waited for (proc_pid_stat(5), cutime and cstime). It waits for the first.
func childrenCPU(ctx context.Context, pid int) (float64, error) {
	const ticks = 100 // a second, USER_HZ
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		var sum int64
		for _, field := range fields[13:15] {
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
			}
			sum += n
		}
		if sum > 0 {
			return float64(sum) / ticks, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}
