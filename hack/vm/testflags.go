package main

import (
	"flag"
	"fmt"
	"time"
)

// testFlags are go test's that are passed on. They mean what they mean there.
type testFlags struct {
	run, skip, bench, tags string
	verbose, short, fast   bool
	count                  int
	timeout                time.Duration
}

func (f *testFlags) register(flags *flag.FlagSet) {
	flags.StringVar(&f.run, "run", "", "test: run only what matches `regexp`")
	flags.StringVar(&f.skip, "skip", "", "test: skip what matches `regexp`")
	flags.StringVar(&f.bench, "bench", "", "test: run the benchmarks that match `regexp`")
	flags.StringVar(&f.tags, "tags", "", "test: build with these `tags`, comma-separated")
	flags.BoolVar(&f.verbose, "v", false, "test: show every test, as it runs")
	flags.BoolVar(&f.short, "short", false, "test: ask long tests to be short")
	flags.BoolVar(&f.fast, "failfast", false, "test: start no test after one that failed")
	flags.IntVar(&f.count, "count", 1, "test: run each test `n` times")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Minute, "test: let a package's tests panic after this `time`; 0: never")
}

// arguments are those of a test binary.
func (f *testFlags) arguments() []string {
	args := []string{"-test.paniconexit0", "-test.timeout=" + f.timeout.String()}
	for _, option := range []struct {
		name string
		set  bool
		is   any
	}{
		{"v", f.verbose, true},
		{"short", f.short, true},
		{"failfast", f.fast, true},
		{"run", f.run != "", f.run},
		{"skip", f.skip != "", f.skip},
		{"bench", f.bench != "", f.bench},
		{"count", f.count != 1, f.count},
	} {
		if option.set {
			args = append(args, fmt.Sprintf("-test.%s=%v", option.name, option.is))
		}
	}
	return args
}
