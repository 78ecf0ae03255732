package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	rowStats     = "stats-100"      // ListContainerStats of 100 containers, one a pod
	rowPodsStats = "pods-stats-100" // ListPodSandboxStats of their pods, each with a network namespace of its own
)

// statsContainers is how many containers run while their use is asked for.
const statsContainers = 100

// tracedCalls is how often the call is repeated while its system calls are counted.
const tracedCalls = 10

// stats is what one call makes podlet do.
type stats struct {
	// CPU is podlet's time on a CPU by the number of calls, which other load troubles less than it does the row's own times. Nanoseconds.
	CPU int64 `json:"cpu_ns"`
	// Syscalls are all of podlet's by the number of calls, those of its gRPC server too; 0 where there is no strace(1) to count them.
	Syscalls float64 `json:"syscalls,omitempty"`
	// Files are those that podlet has open for it, by the number of containers.
	Files float64 `json:"files_per_container"`
}

func (s *stats) note(name string) string {
	return fmt.Sprintf("%s: %s ms of CPU and %.0f system calls a call; %.1f files open for each container.", name, ms(s.CPU), s.Syscalls, s.Files)
}

// statsRows brings the pods up and asks again and again, as a kubelet does, but without the pause between.
func statsRows(ctx context.Context, o options) (_ []row, err error) {
	var b bench
	defer b.close(&err)
	if err := b.start(ctx, o); err != nil {
		return nil, err
	}
	var pods []pod
	for range statsContainers {
		p, err := b.upLimited(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, b.node.LogTail())
		}
		pods = append(pods, p)
	}
	rows, err := b.timeBoth(ctx, o)
	// On a slow machine this takes longer than the node's end has time.
	for _, p := range pods {
		if _, down := b.down(ctx, p); down != nil {
			return rows, errors.Join(err, down)
		}
	}
	return rows, err
}

func (b *bench) timeBoth(ctx context.Context, o options) ([]row, error) {
	containers, err := b.timeStats(ctx, o.n, rowStats, func() (int, error) {
		answer, err := b.node.Runtime.ListContainerStats(ctx, &cri.ListContainerStatsRequest{}, grpc.WaitForReady(true))
		return len(answer.GetStats()), err
	})
	if err != nil {
		return nil, err
	}
	pods, err := b.timeStats(ctx, o.n, rowPodsStats, func() (int, error) {
		answer, err := b.node.Runtime.ListPodSandboxStats(ctx, &cri.ListPodSandboxStatsRequest{}, grpc.WaitForReady(true))
		return len(answer.GetStats()), err
	})
	return []row{containers, pods}, err
}

// upLimited is up of a container with limits: on pure cgroup v2 the kernel counts only where there are some.
func (b *bench) upLimited(ctx context.Context) (pod, error) {
	config := b.podConfig(true)
	container := b.containerConfig(config)
	container.Linux.Resources = &cri.LinuxContainerResources{CpuShares: 102, MemoryLimitInBytes: 64 << 20}
	sandbox, err := b.node.Runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return pod{}, fmt.Errorf("RunPodSandbox: %w", err)
	}
	created, err := b.node.Runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: sandbox.PodSandboxId, Config: container, SandboxConfig: config,
	})
	if err != nil {
		return pod{}, fmt.Errorf("CreateContainer: %w", err)
	}
	if _, err := b.node.Runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		return pod{}, fmt.Errorf("StartContainer: %w", err)
	}
	return pod{sandbox.PodSandboxId, created.ContainerId}, nil
}

// timeStats measures one kind of call.
func (b *bench) timeStats(ctx context.Context, n int, name string, ask func() (int, error)) (row, error) {
	files, err := b.openFiles()
	if err != nil {
		return row{}, err
	}
	var times []time.Duration
	var ran time.Duration
	for i := range warmUp + n {
		if i == warmUp {
			if ran, err = cpuTime(b.node.PID()); err != nil {
				return row{}, err
			}
		}
		began := time.Now()
		got, err := ask()
		took := time.Since(began)
		if err == nil && got != statsContainers {
			err = fmt.Errorf("%d of %d were told of", got, statsContainers)
		}
		if err != nil {
			return row{}, fmt.Errorf("%s: %w\n%s", name, err, b.node.LogTail())
		}
		if i >= warmUp {
			times = append(times, took)
		}
	}
	ranAfter, err := cpuTime(b.node.PID())
	if err != nil {
		return row{}, err
	}
	filesAfter, err := b.openFiles()
	if err != nil {
		return row{}, err
	}
	r := timesRow(name, times, nil)
	r.Stats = &stats{CPU: int64(ranAfter-ran) / int64(n), Files: float64(filesAfter-files) / statsContainers}
	r.Stats.Syscalls, err = b.countSyscalls(ctx, ask)
	return r, err
}

// openFiles counts podlet's.
func (b *bench) openFiles() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.node.PID()))
	return len(entries), err
}

// cpuTime is what all threads of a process have run, as proc_pid_stat(5) has it, in hundredths of a second.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, the second field, may hold spaces. utime and stime are the 14th and the 15th.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil
}

// countSyscalls has strace count what podlet does while ask is called; 0 where there is no strace.
func (b *bench) countSyscalls(ctx context.Context, ask func() (int, error)) (float64, error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return 0, nil
	}
	file := filepath.Join(b.node.Dir, "strace")
	pid := strconv.Itoa(b.node.PID())
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "strace", "-f", "-qq", "-c", "-o", file, "-p", pid)
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	err := awaitTraced(ctx, pid)
	for range tracedCalls {
		if err == nil {
			_, err = ask()
		}
	}
	cmd.Process.Signal(unix.SIGINT)
	// It ends by the signal that it was asked to end with.
	if exit := cmd.Wait(); exit != nil && !errors.As(exit, new(*exec.ExitError)) {
		err = errors.Join(err, exit)
	}
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, said.String())
	}
	total, err := straceTotal(file)
	return float64(total) / tracedCalls, err
}

// awaitTraced returns when every thread of a process has a tracer. There is no event for that.
func awaitTraced(ctx context.Context, pid string) error {
	for range 500 {
		threads, err := filepath.Glob("/proc/" + pid + "/task/*/status")
		if err != nil {
			return err
		}
		traced := 0
		for _, status := range threads {
			if by, err := numbers(status, "TracerPid:"); err == nil && by > 0 {
				traced++
			}
		}
		if traced > 0 && traced == len(threads) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return errors.New("strace does not attach to podlet")
}

// straceTotal reads the number of calls from the last line of what strace -c writes: "100.00 SECONDS USECS CALLS [ERRORS] total".
func straceTotal(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 5 && fields[len(fields)-1] == "total" {
			return strconv.Atoi(fields[3])
		}
	}
	return 0, fmt.Errorf("strace gave no total:\n%s", text)
}
