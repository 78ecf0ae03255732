package seccomp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// common are the calls that programs make most.
var common = []struct {
	name string
	args [6]uint64
}{
	{"read", [6]uint64{}}, {"write", [6]uint64{}}, {"close", [6]uint64{}}, {"openat", [6]uint64{}}, {"newfstatat", [6]uint64{}},
	{"statx", [6]uint64{}}, {"mmap", [6]uint64{}}, {"munmap", [6]uint64{}}, {"mprotect", [6]uint64{}}, {"futex", [6]uint64{}},
	{"epoll_pwait", [6]uint64{}}, {"epoll_ctl", [6]uint64{}}, {"accept4", [6]uint64{}}, {"recvfrom", [6]uint64{}},
	{"sendto", [6]uint64{}}, {"recvmsg", [6]uint64{}}, {"sendmsg", [6]uint64{}}, {"nanosleep", [6]uint64{}},
	{"clone", [6]uint64{0x3d0f00}}, {"socket", [6]uint64{unix.AF_INET6}}, {"personality", [6]uint64{0xffffffff}},
}

// BenchmarkInstructions counts BPF instructions a call, were the filter run for each; the kernel runs it only for the last three.
func BenchmarkInstructions(b *testing.B) {
	m := Machine{Arch: "amd64", Major: 6, Minor: 18}
	f, err := Default(defaultCaps, m)
	if err != nil {
		b.Fatal(err)
	}
	var total, most int
	for b.Loop() {
		total, most = 0, 0
		for _, c := range common {
			number, _ := numberOn(c.name, columnX86_64)
			_, steps, err := interpret(f.Program, call{unix.AUDIT_ARCH_X86_64, number, c.args})
			if err != nil {
				b.Fatal(err)
			}
			total, most = total+steps, max(most, steps)
		}
	}
	b.ReportMetric(float64(total)/float64(len(common)), "instructions/call")
	b.ReportMetric(float64(most), "most")
	b.ReportMetric(float64(len(f.Program)), "program")
}

func BenchmarkDefaultCached(b *testing.B) {
	m := Machine{Arch: "amd64", Major: 6, Minor: 18}
	for b.Loop() {
		if _, err := Default(defaultCaps, m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDefaultMade(b *testing.B) {
	m := Machine{Arch: "amd64", Major: 6, Minor: 18}
	for b.Loop() {
		p, err := defaultProfile(defaultCaps, m)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Compile(p, m); err != nil {
			b.Fatal(err)
		}
	}
}
