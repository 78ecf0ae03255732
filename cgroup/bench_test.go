package cgroup

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
)

// BenchmarkCreate makes and removes a container's cgroup in a pod's, with the
// limits and device rules that a kubelet's Burstable pod has.
func BenchmarkCreate(b *testing.B) {
	h := open(b, top)
	keep := create(b, h, path(b, "bench", "keep"), everything(b, h))
	r := everything(b, h)
	r.CpusetCPUs, r.CpusetMems = "", ""
	r.Devices = []DeviceRule{allowNull, allowZero}
	b.Run("create+remove", func(b *testing.B) {
		for i := range b.N {
			p, _ := keep.Path().Parent().Child(fmt.Sprintf("c%d", i))
			g, err := h.Create(b.Context(), p, r)
			if err != nil {
				b.Fatal(err)
			}
			if err := g.Remove(b.Context()); err != nil {
				b.Fatal(err)
			}
			g.Close()
		}
	})
	b.Run("create", func(b *testing.B) {
		for i := range b.N {
			p, _ := keep.Path().Parent().Child(fmt.Sprintf("c%d", i))
			g, err := h.Create(b.Context(), p, r)
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := g.Remove(b.Context()); err != nil {
				b.Fatal(err)
			}
			g.Close()
			b.StartTimer()
		}
	})
	b.Run("joinfiles", func(b *testing.B) {
		for range b.N {
			files, err := keep.JoinFiles()
			if err != nil {
				b.Fatal(err)
			}
			closeJoinFiles(files)
		}
	})
}

// BenchmarkJoin is what a start pays for the v1 trees: a thread moves itself into
// all of them, from one group's to another's and back.
func BenchmarkJoin(b *testing.B) {
	h := open(b, top)
	var sides [2][]JoinFile
	for i, name := range []string{"there", "back"} {
		files, err := create(b, h, path(b, "bench", name), nil).JoinFiles()
		if err != nil {
			b.Fatal(err)
		}
		if len(files) == 0 {
			b.Skip("there are no v1 trees: processes are born in their cgroup")
		}
		defer closeJoinFiles(files)
		sides[i] = files
	}
	b.ResetTimer()
	ended := make(chan error)
	go func() {
		// The thread dies with the goroutine, and leaves the groups so.
		runtime.LockOSThread()
		for n := range b.N {
			for _, f := range sides[n%2] {
				if _, err := f.File.WriteString("0"); err != nil {
					ended <- err
					return
				}
			}
		}
		ended <- nil
	}()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(sides[0])), "trees/op")
}

// BenchmarkExec makes and removes an exec's cgroup.
func BenchmarkExec(b *testing.B) {
	h := open(b, top)
	g := create(b, h, path(b, "bench", "exec"), nil)
	for b.Loop() {
		e, err := g.NewExec("exec")
		if err != nil {
			b.Skip(err)
		}
		if err := errors.Join(e.Kill(), e.Remove(b.Context())); err != nil {
			b.Fatal(err)
		}
		e.Close()
	}
}

// BenchmarkEnd is what a stop pays: kill a process, wait for its end, remove its
// cgroup. The wait is mostly the kernel taking a Go program's memory apart.
func BenchmarkEnd(b *testing.B) {
	h := open(b, top)
	for _, step := range []string{"all", "remove"} {
		b.Run(step, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				g := create(b, h, path(b, "bench", "end"), nil)
				c := start(b, g, "sleep")
				if step == "all" {
					b.StartTimer()
				}
				if err := errors.Join(g.Kill(b.Context()), g.WaitEmpty(b.Context())); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := g.Remove(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				c.cmd.Wait()
				b.StartTimer()
			}
		})
	}
}
