package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/cgroup"
	"podlet/hack/testimages/testimage"
)

// rowNoise is the row's name.
const rowNoise = "log-noise"

const (
	quietPods  = 10
	noiseTurns = 3 // of each neighbour, n lines and n execs a turn
	// noisyLog is how many bytes the noisy pod's log may have before it is emptied; no disk takes it for long.
	noisyLog = 256 << 20
	// lineGap is the time between a line and the next one, which another pod writes.
	lineGap = 5 * time.Millisecond
)

// neighbour is what one pod does while ten others are quiet.
type neighbour struct {
	name    string
	command string  // of its container, for sh -c; "": there is no such pod
	cpus    float64 // limit of its container and its cgroup parent, as a kubelet sets it; 0: none
	base    int     // index of what it is compared with
}

// neighbours: what writes logs is compared with what only computes, which the kernel alone keeps from troubling others.
var neighbours = []neighbour{
	{name: "none"},
	{name: "computes", command: "/bin/probe spin & exec /bin/probe spin", base: 0},
	{name: "logs", command: "exec /bin/probe flood", base: 1},
	{name: "computes, limit 0.1 CPU", command: "/bin/probe spin & exec /bin/probe spin", cpus: 0.1, base: 0},
	{name: "logs, limit 0.1 CPU", command: "exec /bin/probe flood", cpus: 0.1, base: 3},
	{name: "a line a write, limit 0.1", command: "while :; do echo line; done", cpus: 0.1, base: 3},
	{name: "a line a write", command: "while :; do echo line; done", base: 1},
}

// noise is what a pod that logs at full speed costs ten that hardly do.
type noise struct {
	Neighbours []*noisy `json:"neighbours"`
}

// noisy is one neighbour's part. Times are nanoseconds.
type noisy struct {
	Name string `json:"name"`
	// Log is the time from a line's writing, by the container, to its being in the log.
	LogP50 int64 `json:"log_p50_ns"`
	LogP99 int64 `json:"log_p99_ns"`
	// Exec is that of ExecSync of true.
	ExecP50 int64 `json:"exec_p50_ns"`
	ExecP99 int64 `json:"exec_p99_ns"`
	// CPUs is what the neighbour's cgroup uses, the log writer in it, and Pause what its pause uses, which is podlet's.
	CPUs  float64 `json:"cpus"`
	Pause float64 `json:"pause_cpus"`

	lines, execs         []time.Duration
	time, cpu, pauseTime time.Duration
}

func (n *noise) note(name string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %d quiet pods beside one that …; a line to its log and an ExecSync of theirs, ms, and by what it is compared with", name, quietPods)
	for i, l := range n.Neighbours {
		base := n.Neighbours[neighbours[i].base]
		by := func(a, b int64) string { return fmt.Sprintf("%s (%.2f)", ms(a), float64(a)/float64(b)) }
		fmt.Fprintf(&text, "\n  %-24s line p50 %s p99 %s, exec p50 %s p99 %s; it takes %.3f CPUs, its pause %.3f", l.Name,
			by(l.LogP50, base.LogP50), by(l.LogP99, base.LogP99), by(l.ExecP50, base.ExecP50), by(l.ExecP99, base.ExecP99), l.CPUs, l.Pause)
	}
	return text.String()
}

func noiseRow(ctx context.Context, o options) (_ []row, err error) {
	var b bench
	defer b.close(&err)
	if err := b.startWith(ctx, o, "tools"); err != nil {
		return nil, err
	}
	var quiet []*quietPod
	for range quietPods {
		q, err := b.quiet(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, b.node.LogTail())
		}
		quiet = append(quiet, q)
		b.undo = append(b.undo, q.close)
	}
	all := &noise{}
	for _, n := range neighbours {
		all.Neighbours = append(all.Neighbours, &noisy{Name: n.name})
	}
	for range noiseTurns {
		for i, n := range neighbours {
			if err := b.beside(ctx, n, all.Neighbours[i], quiet, o.n); err != nil {
				return nil, fmt.Errorf("beside one that %s: %w\n%s", n.name, err, b.node.LogTail())
			}
		}
	}
	for _, l := range all.Neighbours {
		l.LogP50, l.LogP99 = int64(quantile(l.lines, 50)), int64(quantile(l.lines, 99))
		l.ExecP50, l.ExecP99 = int64(quantile(l.execs, 50)), int64(quantile(l.execs, 99))
		l.CPUs, l.Pause = l.cpu.Seconds()/l.time.Seconds(), l.pauseTime.Seconds()/l.time.Seconds()
	}
	return []row{{Name: rowNoise, N: noiseTurns * o.n, Noise: all}}, nil
}

// quietPod is one whose container copies what is written to a FIFO to its log.
type quietPod struct {
	pod
	fifo, watch *os.File // watch: an inotify(7) instance with the log
	log         string
}

func (q *quietPod) close() error {
	return errors.Join(q.fifo.Close(), q.watch.Close())
}

// upWith makes a pod in a cgroup parent of its own with one container of the tools image.
func (b *bench) upWith(ctx context.Context, command string, resources *cri.LinuxContainerResources) (p pod, parent, log string, err error) {
	config := b.podConfig(false)
	config.Linux.CgroupParent += "/" + config.Metadata.Name
	container := b.containerConfig(config)
	container.Image.Image = testimage.ToolsName
	container.Command = []string{"/bin/sh", "-c", command}
	container.Linux.Resources = resources
	sandbox, err := b.node.Runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return p, "", "", fmt.Errorf("RunPodSandbox: %w", err)
	}
	created, err := b.node.Runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: sandbox.PodSandboxId, Config: container, SandboxConfig: config,
	})
	if err != nil {
		return p, "", "", fmt.Errorf("CreateContainer: %w", err)
	}
	if _, err := b.node.Runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		return p, "", "", fmt.Errorf("StartContainer: %w", err)
	}
	return pod{sandbox.PodSandboxId, created.ContainerId}, config.Linux.CgroupParent, filepath.Join(config.LogDirectory, container.LogPath), nil
}

func (b *bench) quiet(ctx context.Context) (*quietPod, error) {
	p, _, log, err := b.upWith(ctx, "mkfifo /dev/shm/lines; exec /bin/probe cat </dev/shm/lines", nil)
	if err != nil {
		return nil, err
	}
	pid, err := b.containerPID(ctx, p)
	if err != nil {
		return nil, err
	}
	q := &quietPod{pod: p, log: log}
	// Opened for reading and writing: it waits for no reader, and is none's end.
	for path := fmt.Sprintf("/proc/%d/root/dev/shm/lines", pid); ; time.Sleep(time.Millisecond) {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			q.fifo = os.NewFile(uintptr(fd), path)
			break
		}
		if ctx.Err() != nil || !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENXIO) {
			return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), ctx.Err())
		}
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("inotify_init: %w", err)
	}
	q.watch = os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, log, unix.IN_MODIFY); err != nil {
		return nil, fmt.Errorf("watch %s: %w", log, err)
	}
	// The first writer of a pod's log makes way for one in the pod's cgroup.
	for range 3 {
		if _, err := q.line(); err != nil {
			return nil, err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return q, nil
}

func (b *bench) containerPID(ctx context.Context, p pod) (int, error) {
	status, err := b.node.Runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: p.container, Verbose: true})
	if err != nil {
		return 0, err
	}
	var info struct{ PID int }
	if err := json.Unmarshal([]byte(status.Info["info"]), &info); err != nil {
		return 0, fmt.Errorf("verbose status of a container: %w", err)
	}
	return info.PID, nil
}

// line writes a line and waits until it is in the log.
func (q *quietPod) line() (time.Duration, error) {
	began := time.Now()
	if _, err := q.fifo.WriteString("a line\n"); err != nil {
		return 0, err
	}
	// One event a write, and one write a line.
	var events [4096]byte
	_, err := unix.Read(int(q.watch.Fd()), events[:])
	return time.Since(began), err
}

// beside brings the neighbour up and takes turns lines and execs of the quiet pods.
func (b *bench) beside(ctx context.Context, n neighbour, l *noisy, quiet []*quietPod, turns int) error {
	var meter *cgroup.Meter
	pause, path := 0, ""
	if n.command != "" {
		p, parent, log, err := b.upWith(ctx, n.command, cpuLimit(n.cpus))
		if err != nil {
			return err
		}
		defer func() { b.down(ctx, p) }()
		if pause, err = b.pausePID(ctx, p); err != nil {
			return err
		}
		at, err := cgroup.ParsePath(parent)
		if err != nil {
			return err
		}
		if err := limitCPU(at, n.cpus); err != nil {
			return err
		}
		meter, path = b.parent.hierarchy.Meter(at), log
		defer meter.Close()
		time.Sleep(200 * time.Millisecond) // until the log writer is where it belongs
	}
	used := func() (cpu, pauses time.Duration, err error) {
		if meter == nil {
			return 0, 0, nil
		}
		s, err := meter.Read()
		if err != nil {
			return 0, 0, err
		}
		pauses, err = cpuOf(pause)
		return time.Duration(s.CPU.Usage), pauses, err
	}
	cpu, pauses, err := used()
	if err != nil {
		return err
	}
	began := time.Now()
	for i := range turns {
		q := quiet[i%len(quiet)]
		took, err := q.line()
		if err != nil {
			return err
		}
		l.lines = append(l.lines, took)
		if took, err = b.exec(ctx, q.pod); err != nil {
			return err
		}
		l.execs = append(l.execs, took)
		if st, err := os.Stat(path); err == nil && st.Size() > noisyLog {
			if err := os.Truncate(path, 0); err != nil {
				return err
			}
		}
		time.Sleep(lineGap)
	}
	cpuNow, pausesNow, err := used()
	if err != nil {
		return err
	}
	l.time += time.Since(began)
	l.cpu += cpuNow - cpu
	l.pauseTime += pausesNow - pauses
	return nil
}

func cpuLimit(cpus float64) *cri.LinuxContainerResources {
	if cpus == 0 {
		return nil
	}
	return &cri.LinuxContainerResources{CpuPeriod: 100_000, CpuQuota: int64(cpus * 100_000)}
}

// limitCPU limits a pod's cgroup, as a kubelet does where all containers of the pod have a limit.
func limitCPU(at cgroup.Path, cpus float64) error {
	if cpus == 0 {
		return nil
	}
	quota := fmt.Sprint(int64(cpus * 100_000))
	unified := os.WriteFile("/sys/fs/cgroup"+at.String()+"/cpu.max", []byte(quota+" 100000"), 0)
	if unified == nil {
		return nil
	}
	if err := os.WriteFile("/sys/fs/cgroup/cpu"+at.String()+"/cpu.cfs_quota_us", []byte(quota), 0); err != nil {
		return fmt.Errorf("limit the CPU time of a pod: %w", errors.Join(unified, err))
	}
	return nil
}
