package cgroup

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stood gives a Meter whose files are plain ones with the given content, by the index.
func stood(t *testing.T, h *Hierarchy, content map[int]string) *Meter {
	t.Helper()
	m := &Meter{h: h, opened: true}
	for i := range m.files {
		m.files[i].fd = -1
	}
	for i, text := range content {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		m.files[i] = statFile{fd, "file"}
	}
	t.Cleanup(m.Close)
	return m
}

func v2Hierarchy() *Hierarchy {
	v2 := &tree{name: "v2", v2: true}
	h := &Hierarchy{by: map[string]*tree{"memory": v2, "pids": v2}, v2: v2}
	h.budget.most = 1000
	return h
}

func TestStatsParsed(t *testing.T) {
	v1 := &Hierarchy{by: map[string]*tree{"cpuacct": {}, "memory": {}}}
	v1.budget.most = 1000
	const (
		statV1 = "rss 1\ninactive_file 1\npgfault 1\ntotal_rss 10\ntotal_rss_huge 3\ntotal_swap 7\ntotal_inactive_file 20\ntotal_pgfault 30\ntotal_pgmajfault 40\n"
		statV2 = "anon 10\nfile 9\nswapcached 3\ninactive_anon 2\ninactive_file 20\npgfault 30\npgmajfault 40\nanon_thp 5\n"
		psi    = "some avg10=1.25 avg60=100.00 avg300=0.01 total=12\nfull avg10=0.00 avg60=0.50 avg300=3 total=18446744073709551\n"
	)
	three := uint64(3)
	pressure := &Pressure{PressureLine{1.25, 100, 0.01, 12_000}, PressureLine{0, 0.5, 3, 18446744073709551000}}
	memory := &MemoryStats{Usage: 100, WorkingSet: 80, RSS: 10, Limit: 1000, PageFaults: 30, MajorPageFaults: 40}
	for name, c := range map[string]struct {
		h     *Hierarchy
		files map[int]string
		want  Stats
	}{
		"v1": {v1, map[int]string{
			statCPU: "123\n", statMemory: statV1, statMemoryUsage: "100\n", statMemoryLimit: "1000\n", statSwapLimit: "1500\n", statTasks: "3\n",
		}, Stats{CPU: &CPUStats{Usage: 123}, Memory: memory, Swap: &SwapStats{Usage: 7, Limit: 500}, Tasks: &three}},
		"v1 without limits": {v1, map[int]string{
			statMemory: statV1, statMemoryUsage: "10\n", statMemoryLimit: "9223372036854771712\n", statSwapLimit: "9223372036854771712\n",
		}, Stats{Memory: &MemoryStats{Usage: 10, RSS: 10, Limit: -1, PageFaults: 30, MajorPageFaults: 40}, Swap: &SwapStats{Usage: 7, Limit: -1}}},
		"v1 without swap accounting": {v1, map[int]string{statMemory: statV1, statMemoryUsage: "100\n", statMemoryLimit: "1000\n"}, Stats{Memory: memory}},
		"v2": {v2Hierarchy(), map[int]string{
			statCPU: "usage_usec 123\nuser_usec 4\n", statMemory: statV2, statMemoryUsage: "100\n", statMemoryLimit: "1000\n",
			statSwapUsage: "7\n", statSwapLimit: "max\n", statCPUPressure: psi, statMemoryPressure: psi, statIOPressure: psi,
		}, Stats{
			CPU: &CPUStats{Usage: 123_000}, Memory: memory, Swap: &SwapStats{Usage: 7, Limit: -1},
			CPUPressure: pressure, MemoryPressure: pressure, IOPressure: pressure,
		}},
		"v2, of the CPU alone":    {v2Hierarchy(), map[int]string{statCPU: "usage_usec 1\n"}, Stats{CPU: &CPUStats{Usage: 1000}}},
		"PSI before Linux 5.13":   {v2Hierarchy(), map[int]string{statCPUPressure: psi[:strings.Index(psi, "full")]}, Stats{CPUPressure: &Pressure{Some: pressure.Some}}},
		"PSI with something more": {v2Hierarchy(), map[int]string{statIOPressure: "some avg10=1.25 avg60=100.00 avg300=0.01 total=12 more=x\n"}, Stats{IOPressure: &Pressure{Some: pressure.Some}}},
		"nothing":                 {v2Hierarchy(), nil, Stats{}},
	} {
		got, err := stood(t, c.h, c.files).Read()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got.Time = time.Time{}
		if !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s:\n%+v %+v %+v\nwant\n%+v %+v %+v", name, *got, got.Memory, got.Swap, c.want, c.want.Memory, c.want.Swap)
		}
	}
}

// What is no number is an error that says where, and never a 0.
func TestStatsMalformed(t *testing.T) {
	for name, files := range map[string]map[int]string{
		"no number":        {statMemory: "anon x\n", statMemoryUsage: "1\n"},
		"an empty file":    {statCPU: ""},
		"no usage":         {statCPU: "user_usec 1\n"},
		"a sign":           {statTasks: "-1\n"},
		"too large":        {statTasks: "18446744073709551616\n"},
		"an empty number":  {statMemory: "anon 1\n", statMemoryUsage: "\n"},
		"a limit":          {statMemory: "anon 1\n", statMemoryUsage: "1\n", statMemoryLimit: "many\n"},
		"PSI without":      {statCPUPressure: "some avg10= avg60=0.00 avg300=0.00 total=0\n"},
		"PSI of two dots":  {statCPUPressure: "some avg10=1.2.3 avg60=0.00 avg300=0.00 total=0\n"},
		"PSI's total":      {statIOPressure: "some avg10=0.00 avg60=0.00 avg300=0.00 total=-1\n"},
		"a file too large": {statMemory: strings.Repeat("x 1\n", 5000)},
	} {
		if s, err := stood(t, v2Hierarchy(), files).Read(); err == nil || !strings.Contains(err.Error(), "file: ") {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func FuzzStats(f *testing.F) {
	f.Add("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
	f.Add("anon 1\nusage_usec 1\n")
	h := v2Hierarchy()
	f.Fuzz(func(t *testing.T, text string) {
		for i := range statFiles {
			stood(t, h, map[int]string{i: text, statMemoryUsage: "1\n"}).Read()
		}
	})
}

func TestParseNumber(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, "7": 7, "18446744073709551615": math.MaxUint64} {
		if n, ok := parseNumber([]byte(text)); !ok || n != want {
			t.Errorf("%q: %d, %v", text, n, ok)
		}
	}
	for _, text := range []string{"", " ", "+1", "1 ", "1x", "18446744073709551616", "18446744073709551619", "99999999999999999999"} {
		if n, ok := parseNumber([]byte(text)); ok {
			t.Errorf("%q: %d", text, n)
		}
	}
}

func TestCPURate(t *testing.T) {
	var r cpuRate
	began := time.Now()
	for _, c := range []struct {
		ms    int
		usage uint64 // ms
		want  int    // 1/1000 of a CPU; -1: none
	}{
		{0, 1000, -1},
		{50, 1050, -1}, // too short
		{500, 1250, 500},
		{1000, 1500, 500},
		// A caller in between takes its rate over what the one before it took, and not over the moment since.
		{1010, 1510, 505},
		{2000, 3500, 2000},
		{2001, 3500, 1998},
		{12_000, 3500, 0}, // nothing for 10 s
		{13_000, 100, -1}, // another counter
		{14_000, 200, 100},
	} {
		got := r.add(cpuReading{began.Add(time.Duration(c.ms) * time.Millisecond), c.usage * 1e6})
		if (got == nil) != (c.want < 0) || got != nil && (*got+500_000)/1_000_000 != uint64(c.want) {
			t.Errorf("at %d ms: %v, want %d thousandths of a CPU", c.ms, got, c.want)
		}
	}
}
