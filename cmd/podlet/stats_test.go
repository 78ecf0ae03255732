package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (n *node) containerStats(container string) *cri.ContainerStats {
	n.t.Helper()
	r, err := n.ContainerStats(n.ctx(), &cri.ContainerStatsRequest{ContainerId: container})
	if err != nil {
		n.t.Fatalf("ContainerStats: %v", err)
	}
	return r.Stats
}

func (n *node) podStats(pod string) *cri.PodSandboxStats {
	n.t.Helper()
	r, err := n.PodSandboxStats(n.ctx(), &cri.PodSandboxStatsRequest{PodSandboxId: pod})
	if err != nil {
		n.t.Fatalf("PodSandboxStats: %v", err)
	}
	return r.Stats
}

// listedStats are the containers that a filter lets through, by ListContainerStats and by its stream, which must agree.
func (n *node) listedStats(f *cri.ContainerStatsFilter) []string {
	n.t.Helper()
	r, err := n.ListContainerStats(n.ctx(), &cri.ListContainerStatsRequest{Filter: f})
	if err != nil {
		n.t.Fatalf("ListContainerStats: %v", err)
	}
	stream, err := n.StreamContainerStats(n.ctx(), &cri.StreamContainerStatsRequest{Filter: f})
	streamed := collect(n, stream, err, func(r *cri.StreamContainerStatsResponse) (ids []string) {
		for _, s := range r.ContainerStats {
			ids = append(ids, s.Attributes.Id)
		}
		return ids
	})
	var ids []string
	for _, s := range r.Stats {
		ids = append(ids, s.Attributes.Id)
	}
	return n.same(ids, streamed)
}

// listedPodStats is listedStats for pods.
func (n *node) listedPodStats(f *cri.PodSandboxStatsFilter) []string {
	n.t.Helper()
	r, err := n.ListPodSandboxStats(n.ctx(), &cri.ListPodSandboxStatsRequest{Filter: f})
	if err != nil {
		n.t.Fatalf("ListPodSandboxStats: %v", err)
	}
	stream, err := n.StreamPodSandboxStats(n.ctx(), &cri.StreamPodSandboxStatsRequest{Filter: f})
	streamed := collect(n, stream, err, func(r *cri.StreamPodSandboxStatsResponse) (ids []string) {
		for _, s := range r.PodSandboxStats {
			ids = append(ids, s.Attributes.Id)
		}
		return ids
	})
	var ids []string
	for _, s := range r.Stats {
		ids = append(ids, s.Attributes.Id)
	}
	return n.same(ids, streamed)
}

func collect[T any](n *node, stream grpc.ServerStreamingClient[T], err error, ids func(*T) []string) (all []string) {
	n.t.Helper()
	for err == nil {
		var part *T
		if part, err = stream.Recv(); err == nil {
			if len(ids(part)) == 0 {
				n.t.Error("a stream with an empty part")
			}
			all = append(all, ids(part)...)
		}
	}
	if !errors.Is(err, io.EOF) {
		n.t.Fatalf("stream: %v", err)
	}
	return all
}

func (n *node) same(listed, streamed []string) []string {
	n.t.Helper()
	slices.Sort(listed)
	slices.Sort(streamed)
	if !slices.Equal(listed, streamed) {
		n.t.Errorf("the list has %q, the stream %q", listed, streamed)
	}
	return listed
}

// inOwnCgroup gives the pod a cgroup parent of its own, as kubelets do.
func (n *node) inOwnCgroup(name string) func(*cri.PodSandboxConfig) {
	return func(c *cri.PodSandboxConfig) { c.Linux.CgroupParent = "/" + n.cgroup + "/" + name }
}

// TestStatsCPU: the counter grows by what a container's quota allows, and the rate is the growth by the time. There is none at first.
func TestStatsCPU(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(n.inOwnCgroup("burns"))
	config := container("burner", "sh", "-c", "while :; do :; done")
	limits(&cri.LinuxContainerResources{CpuPeriod: 100_000, CpuQuota: 20_000})(config)
	c := p.start(config)
	const least = 300 * time.Millisecond
	for _, of := range []struct {
		what, group string
		look        func() *cri.CpuUsage
	}{
		// The pod comes last: a look at it is one at its containers, too.
		{"container", "burns/" + c, func() *cri.CpuUsage { return n.containerStats(c).Cpu }},
		{"pod", "burns", func() *cri.CpuUsage { return n.podStats(p.id).Linux.Cpu }},
	} {
		began := time.Now()
		before := of.look()
		if before.UsageNanoCores != nil {
			t.Errorf("%s: %d nano cores at the first look", of.what, before.UsageNanoCores.Value)
		}
		n.soon("it uses CPU", func() bool { return n.cpuUsed(of.group) > time.Duration(before.UsageCoreNanoSeconds.Value)+least })
		after := of.look()
		used, passed := time.Duration(after.UsageCoreNanoSeconds.Value-before.UsageCoreNanoSeconds.Value), time.Duration(after.Timestamp-before.Timestamp)
		if all := time.Since(began); used < least || used > all*3/10+least/3 {
			t.Errorf("%s: %v of CPU used in %v, with a quota of 0.2", of.what, used, all)
		}
		if before.Timestamp < began.UnixNano() || after.Timestamp > time.Now().UnixNano() || passed <= 0 {
			t.Errorf("%s: looked at %d and %d, now is %d", of.what, before.Timestamp, after.Timestamp, time.Now().UnixNano())
		}
		if after.UsageNanoCores == nil {
			t.Errorf("%s: no nano cores at the second look", of.what)
			continue
		}
		if got, want := float64(after.UsageNanoCores.Value)/1e9, used.Seconds()/passed.Seconds(); math.Abs(got-want) > 0.001 {
			t.Errorf("%s: %.3f CPUs by the rate, %.3f by the counter", of.what, got, want)
		}
	}
}

// cpuUsed is the kernel's own counter, of a cgroup below the node's.
func (n *node) cpuUsed(group string) time.Duration {
	n.t.Helper()
	text, unit := n.cgroupFile(group, "cpu.stat", "cpuacct", "cpuacct.usage"), time.Nanosecond
	if pureV2() {
		text, unit = strings.TrimPrefix(text, "usage_usec "), time.Microsecond
	}
	var used int64
	if _, err := fmt.Sscan(text, &used); err != nil {
		n.t.Fatalf("%q: %v", text, err)
	}
	return time.Duration(used) * unit
}

// TestStatsMemory: what was written to files counts as used, and not as needed.
func TestStatsMemory(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(n.inOwnCgroup("reads"))
	const limit, file = 96 << 20, 32 << 20
	write := []string{"dd", "if=/dev/zero", "of=/file", "bs=1M", fmt.Sprint("count=", file>>20)}
	// It writes one line: behind a second one there may be a log writer in the pod's cgroup, which is one more process.
	config := container("writer", "sh", "-c", strings.Join(write, " ")+" 2>/dev/null && echo written && exec sleep 1000")
	limits(&cri.LinuxContainerResources{MemoryLimitInBytes: limit, MemorySwapLimitInBytes: limit})(config)
	c := p.start(config)
	n.says(c, "written")
	s, pod := n.containerStats(c), n.podStats(p.id).Linux
	n.soon("a file that was written counts", func() bool {
		m := s.Memory
		if m.UsageBytes.Value >= file && m.UsageBytes.Value-m.WorkingSetBytes.Value >= file/2 && pod.Memory.UsageBytes.Value >= file {
			return true
		}
		t.Logf("%d bytes used, %d by the pod, %d as a working set; a file of %d was written", m.UsageBytes.Value, pod.Memory.UsageBytes.Value, m.WorkingSetBytes.Value, file)
		// What is on the disk the kernel may drop at any time.
		n.exec(c, write...)
		s, pod = n.containerStats(c), n.podStats(p.id).Linux
		return false
	})
	m := s.Memory
	if m.UsageBytes.Value > limit {
		t.Errorf("%d bytes used of %d", m.UsageBytes.Value, limit)
	}
	if m.AvailableBytes.GetValue() != limit-m.WorkingSetBytes.Value {
		t.Errorf("%v available of %d, with a working set of %d", m.AvailableBytes, limit, m.WorkingSetBytes.Value)
	}
	if m.RssBytes.Value == 0 || m.RssBytes.Value > m.UsageBytes.Value || m.PageFaults.Value == 0 || m.MajorPageFaults == nil {
		t.Errorf("memory %v", m)
	}
	// Whether the kernel accounts for swap is its own affair; if it does, none is allowed.
	if s.Swap != nil && (s.Swap.SwapUsageBytes.Value > 1<<20 || s.Swap.SwapAvailableBytes == nil || s.Swap.SwapAvailableBytes.Value != 0) {
		t.Errorf("swap %v", s.Swap)
	}
	_, err := os.Stat("/proc/pressure/cpu")
	if psi := err == nil; (s.Cpu.Psi != nil) != psi || (m.Psi != nil) != psi || (s.Io.GetPsi() != nil) != psi {
		t.Errorf("the kernel has PSI: %v; told are %v, %v and %v", psi, s.Cpu.Psi, m.Psi, s.Io)
	}
	if pod.Memory.AvailableBytes != nil {
		t.Errorf("memory of the pod, which has no limit: %v", pod.Memory)
	}
	if len(pod.Containers) != 1 || pod.Containers[0].Attributes.Id != c {
		t.Errorf("containers of the pod: %v", pod.Containers)
	}
	// The shell has become sleep. On pure v2 the kernel counts only where a limit wants the controller.
	if pod.Process == nil && pureV2() {
		return
	}
	if got := pod.Process.GetProcessCount().GetValue(); got != 1 {
		t.Errorf("%d processes in the pod", got)
	}
}

// TestStatsNetwork: eth0's counters grow by what the pod sends and gets; what goes through lo is nobody's.
func TestStatsNetwork(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	usage := func() *cri.NetworkInterfaceUsage {
		u := n.podStats(p.id).Linux.Network
		if u.GetDefaultInterface().GetName() != "eth0" || len(u.Interfaces) != 0 || u.Timestamp == 0 {
			t.Fatalf("network %v", u)
		}
		return u.DefaultInterface
	}
	gateway := n.gateways()[0].String()
	exchange := func(address string, bytes int) {
		t.Helper()
		server, err := net.Listen("tcp", address+":0")
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		go func() {
			c, err := server.Accept()
			if err == nil {
				io.CopyN(c, c, int64(bytes))
				c.Close()
			}
		}()
		n.in(p.id, func() error {
			c, err := net.DialTimeout("tcp", server.Addr().String(), hangTime)
			if err != nil {
				return err
			}
			defer c.Close()
			go c.Write(make([]byte, bytes))
			_, err = io.CopyN(io.Discard, c, int64(bytes))
			return err
		})
	}
	before := usage()
	const sent = 300_000
	exchange(gateway, sent)
	var after *cri.NetworkInterfaceUsage
	var rx, tx uint64
	n.soon("all that was exchanged counts", func() bool {
		after = usage()
		rx, tx = after.RxBytes.Value-before.RxBytes.Value, after.TxBytes.Value-before.TxBytes.Value
		return rx >= sent && tx >= sent
	})
	if rx > 2*sent || tx > 2*sent {
		t.Errorf("%d bytes received and %d sent where it was %d each", rx, tx, sent)
	}
	if after.RxErrors == nil || after.TxErrors == nil {
		t.Errorf("no counters of errors: %v", after)
	}
	quiet := usage()
	n.in(p.id, func() error {
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			return err
		}
		defer c.Close()
		for range 300 {
			c.Write(make([]byte, 1000))
		}
		return nil
	})
	if u := usage(); u.TxBytes.Value-quiet.TxBytes.Value > 100_000 {
		t.Errorf("traffic on lo counted as %d bytes of eth0", u.TxBytes.Value-quiet.TxBytes.Value)
	}

	host := n.newPod(func(c *cri.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.Network = cri.NamespaceMode_NODE
	})
	if u := n.podStats(host.id).Linux.Network; u != nil {
		t.Errorf("network of a pod in the node's: %v", u)
	}
	// A pod that was stopped has neither; its namespace must not live on for its counters' sake, which nothingLeft looks at.
	if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		t.Fatal(err)
	}
	if s := n.podStats(p.id).Linux; s.Network != nil || s.Cpu != nil || len(s.Containers) > 0 {
		t.Errorf("stats of a stopped pod: %v", s)
	}
}

// TestStatsWritableLayer: what a container writes is told soon, since it is counted again and again.
func TestStatsWritableLayer(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	c := p.start(container("writer", "sleep", "1000"))
	var last *cri.FilesystemUsage
	layer := func() *cri.FilesystemUsage {
		t.Helper()
		r, err := n.ListContainerStats(n.ctx(), &cri.ListContainerStatsRequest{Filter: &cri.ContainerStatsFilter{Id: c}})
		if err != nil || len(r.Stats) != 1 {
			t.Fatalf("ListContainerStats: %v, %v", r, err)
		}
		l := r.Stats[0].WritableLayer
		if l == nil {
			if last != nil {
				t.Fatal("the count was there before, and isn't now")
			}
			return nil
		}
		if last != nil && l.Timestamp < last.Timestamp || l.Timestamp > time.Now().UnixNano() {
			t.Errorf("a count of %d, after %v", l.Timestamp, last)
		}
		last = l
		return l
	}
	// counted waits for a count that began after now: one before may have seen half of what was done.
	counted := func() (l *cri.FilesystemUsage) {
		t.Helper()
		now := time.Now().UnixNano()
		n.soon("it is counted", func() bool {
			l = layer()
			return l != nil && l.Timestamp > now
		})
		return l
	}
	empty := counted()
	if empty.UsedBytes.Value > 1<<20 {
		t.Errorf("an empty layer takes %d bytes", empty.UsedBytes.Value)
	}
	const written = 5 << 20
	// A second name of the file and a hole take nothing.
	n.exec(c, "sh", "-c", "mkdir -p /a/b/c && dd if=/dev/zero of=/a/b/c/file bs=1M count=5 && ln /a/b/c/file /a/link && truncate -s 1G /a/hole && ln -s / /a/root")
	full := counted()
	if full.UsedBytes.Value < empty.UsedBytes.Value+written || full.UsedBytes.Value > empty.UsedBytes.Value+written+1<<20 {
		t.Errorf("%d bytes for 5 MiB, with a second name and a hole", full.UsedBytes.Value-empty.UsedBytes.Value)
	}
	// Directories a, b and c, the file, the hole and the link; exec may leave something of its own.
	if more := full.InodesUsed.Value - empty.InodesUsed.Value; more < 6 || more > 8 {
		t.Errorf("%d inodes for 6", more)
	}
	n.exec(c, "rm", "-r", "/a")
	if gone := counted(); gone.UsedBytes.Value >= empty.UsedBytes.Value+written/2 {
		t.Errorf("%d bytes when they are gone", gone.UsedBytes.Value-empty.UsedBytes.Value)
	}

	info, err := n.images.ImageFsInfo(n.ctx(), &cri.ImageFsInfoRequest{})
	if err != nil || len(info.ImageFilesystems) != 1 || len(info.ContainerFilesystems) != 1 {
		t.Fatalf("ImageFsInfo: %v, %v", info, err)
	}
	of := info.ContainerFilesystems[0]
	if of.UsedBytes.Value < last.UsedBytes.Value || of.InodesUsed.Value < last.InodesUsed.Value || of.Timestamp < last.Timestamp {
		t.Errorf("all layers %v, one of them %v", of, last)
	}
	// They are on one disk here, and kubelets take two names for two.
	if of.FsId.Mountpoint != info.ImageFilesystems[0].FsId.Mountpoint || last.FsId.Mountpoint != of.FsId.Mountpoint {
		t.Errorf("mount points %q, %q and %q", of.FsId.Mountpoint, info.ImageFilesystems[0].FsId.Mountpoint, last.FsId.Mountpoint)
	}
}

// TestStatsOfStopped: ContainerStats of a container that exists is no error. What doesn't run is in no list.
func TestStatsOfStopped(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	created := p.create(container("created", "true"))
	ended := p.start(container("ended", "sh", "-c", "dd if=/dev/zero of=/file bs=1M count=2"))
	n.exited(ended)
	runs := p.start(container("runs", "sleep", "1000"))
	if got := n.listedStats(&cri.ContainerStatsFilter{PodSandboxId: p.id}); !slices.Equal(got, []string{runs}) {
		t.Errorf("listed are %q, %s runs", got, runs)
	}
	for _, c := range []string{created, ended} {
		s := n.containerStats(c)
		if s.Attributes.GetId() != c || s.Attributes.Metadata.GetName() == "" || s.Cpu != nil || s.Memory != nil || s.Swap != nil || s.Io != nil {
			t.Errorf("stats of a container that doesn't run: %v", s)
		}
	}
	n.soon("the layer of what has ended is counted", func() bool { return n.containerStats(ended).WritableLayer.GetUsedBytes().GetValue() >= 2<<20 })
	n.soon("the last count is as of now", func() bool {
		asked := time.Now().UnixNano()
		return n.containerStats(ended).WritableLayer.GetTimestamp() >= asked
	})
	if _, err := n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: ended}); err != nil {
		t.Fatal(err)
	}
	_, err := n.ContainerStats(n.ctx(), &cri.ContainerStatsRequest{ContainerId: ended})
	n.fails(err, codes.NotFound, ended)
	_, err = n.PodSandboxStats(n.ctx(), &cri.PodSandboxStatsRequest{PodSandboxId: "none"})
	n.fails(err, codes.NotFound, "none")
}

// TestStatsFilters: conditions are ANDed, and an id may be cut short.
func TestStatsFilters(t *testing.T) {
	n := commonNode(t)
	labelled := func(k, v string) func(*cri.PodSandboxConfig) {
		return func(c *cri.PodSandboxConfig) { c.Labels = map[string]string{k: v, "both": "yes"} }
	}
	one, two := n.newPod(labelled("is", "one")), n.newPod(labelled("is", "two"))
	config := container("app", "sleep", "1000")
	config.Labels = map[string]string{"app": "a"}
	a := one.start(config)
	b := two.start(container("app", "sleep", "1000"))
	both := []string{a, b}
	slices.Sort(both)
	for _, c := range []struct {
		f    *cri.ContainerStatsFilter
		want []string
	}{
		{nil, both},
		{&cri.ContainerStatsFilter{}, both},
		{&cri.ContainerStatsFilter{Id: a}, []string{a}},
		{&cri.ContainerStatsFilter{Id: b[:13]}, []string{b}},
		{&cri.ContainerStatsFilter{PodSandboxId: two.id}, []string{b}},
		{&cri.ContainerStatsFilter{Id: a, PodSandboxId: two.id}, nil},
		{&cri.ContainerStatsFilter{LabelSelector: map[string]string{"app": "a"}}, []string{a}},
		{&cri.ContainerStatsFilter{LabelSelector: map[string]string{"app": "b"}}, nil},
		{&cri.ContainerStatsFilter{Id: "none"}, nil},
	} {
		if got := n.listedStats(c.f); !slices.Equal(got, c.want) {
			t.Errorf("%v: %q, want %q", c.f, got, c.want)
		}
	}
	pods := []string{one.id, two.id}
	slices.Sort(pods)
	for _, c := range []struct {
		f    *cri.PodSandboxStatsFilter
		want []string
	}{
		{nil, pods},
		{&cri.PodSandboxStatsFilter{Id: one.id[:13]}, []string{one.id}},
		{&cri.PodSandboxStatsFilter{LabelSelector: map[string]string{"both": "yes"}}, pods},
		{&cri.PodSandboxStatsFilter{LabelSelector: map[string]string{"both": "yes", "is": "two"}}, []string{two.id}},
		{&cri.PodSandboxStatsFilter{Id: one.id, LabelSelector: map[string]string{"is": "two"}}, nil},
	} {
		if got := n.listedPodStats(c.f); !slices.Equal(got, c.want) {
			t.Errorf("%v: %q, want %q", c.f, got, c.want)
		}
	}
}

// TestStatsDuringChurn asks for everything while containers come and go: it is never an error, no counter is another container's, and no
// file that was opened for it stays, which commonNode looks at in the end.
func TestStatsDuringChurn(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(n.inOwnCgroup("churns"))
	began := time.Now()
	burner := p.start(container("burner", "sh", "-c", "while :; do :; done"))
	done := make(chan struct{})
	var work sync.WaitGroup
	var asked atomic.Int64
	for i := range 2 {
		work.Go(func() {
			for round := 0; round < 12 || asked.Load() < 5 && !t.Failed(); round++ {
				c := p.start(container(fmt.Sprintf("short-%d-%d", i, round), "sleep", "1000"))
				if _, err := n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: c}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		work.Wait()
		close(done)
	}()
	var last uint64
	for ; ; asked.Add(1) {
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
		asks := time.Now()
		r, err := n.ListContainerStats(n.ctx(), &cri.ListContainerStatsRequest{})
		// podlet may stand still between its look at the clock and that at the counter. A rate is over a tenth of a second at least.
		late := 1 + time.Since(asks).Seconds()*10
		if err != nil {
			t.Errorf("ListContainerStats: %v", err)
		}
		pods, err := n.ListPodSandboxStats(n.ctx(), &cri.ListPodSandboxStatsRequest{})
		if err != nil || len(pods.Stats) != 1 {
			t.Errorf("ListPodSandboxStats: %v, %v", pods, err)
		}
		most := uint64(time.Since(began)+time.Second) * uint64(runtime.NumCPU())
		for _, s := range r.GetStats() {
			used := s.Cpu.UsageCoreNanoSeconds.Value
			if used > most || float64(s.Cpu.UsageNanoCores.GetValue()) > 2e9*late*float64(runtime.NumCPU()) {
				t.Errorf("%s used %s in %s, %v", s.Attributes.Metadata.Name, time.Duration(used), time.Since(began), s.Cpu.UsageNanoCores)
			}
			if s.Attributes.Id != burner {
				continue
			}
			if used < last {
				t.Errorf("the counter went from %d back to %d", last, used)
			}
			last = used
		}
	}
}

// TestStatsAfterRestart: a new podlet goes on where the old one was.
func TestStatsAfterRestart(t *testing.T) {
	n := newNode(t)
	p := n.newPod(n.inOwnCgroup("lasts"))
	c := p.start(container("app", "sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 1000"))
	before := n.containerStats(c)
	network := n.podStats(p.id).Linux.Network.GetDefaultInterface()
	n.kill()
	n.start()
	after := n.containerStats(c)
	if after.Cpu == nil || after.Cpu.UsageCoreNanoSeconds.Value < before.Cpu.UsageCoreNanoSeconds.Value || after.Cpu.UsageNanoCores != nil {
		t.Errorf("CPU %v before, %v after", before.Cpu, after.Cpu)
	}
	again := n.podStats(p.id).Linux
	if again.Network.GetDefaultInterface().GetName() != network.GetName() || again.Cpu == nil {
		t.Errorf("pod after the restart: %v", again)
	}
}
