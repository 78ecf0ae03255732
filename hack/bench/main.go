// Command bench measures podlet against the kernel's own floor: hack/floor, a C
// program that makes the same pods with the same kernel work and nothing else.
//
//	go run ./hack/bench [-json] [-run REGEXP] [-n N]
//
// Both take turns, pod by pod, so that whatever else the machine does hits both:
// the ratio holds where the times don't. Without -json a table is printed for
// people; with it, an object a line:
//
//	{"name":"pod-up-hostnet","n":100,"p50_ns":…,"p90_ns":…,"p99_ns":…,"floor_p50_ns":…,"ratio":…}
//
// A row without a floor has a field of its own instead; see the types of report.go.
// The pull rows take minutes and are measured only where -run is given.
//
// All of it runs in a network namespace of its own, with nothing but lo and the
// bridges that are measured: the machine's network isn't touched.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"podlet/hack/node"
	"podlet/hack/testimages/testimage"
)

// options are the command line's.
type options struct {
	json   bool
	run    *regexp.Regexp
	n      int
	podlet string
	floor  string
	// keep leaves the trees of the pull rows: to remove them has ext4 make files slowly for five minutes, in whatever is measured next.
	keep bool
	// bridge is the name of the bridge of the podlet that is started; "" for none: pods with a network of their own have lo only.
	bridge string
	// flags are more of the podlet that is started.
	flags []string
}

func main() {
	// The same program, started again inside a mount namespace with many mounts; see crowd.go.
	if len(os.Args) > 2 && os.Args[1] == crowdedRole {
		fmt.Fprintln(os.Stderr, "bench:", crowded(os.Args[2:]))
		os.Exit(1)
	}
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	if err := alone(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	rows, err := measure(ctx, o)
	if len(rows) > 0 {
		err = errors.Join(err, report(os.Stdout, rows, o.json))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// alone has the program go on in a network namespace of its own: bridges are made, and one on the machine itself could be in somebody's way.
// What has to be fetched for the images is fetched before.
func alone() error {
	for _, image := range []string{"busybox", "tools"} {
		if _, err := testimage.Layout(image); err != nil {
			return err
		}
	}
	return node.OwnNetwork()
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&o.json, "json", false, "print an object a line in place of the table")
	run := f.String("run", "", "measure only the rows whose names match `REGEXP`")
	f.IntVar(&o.n, "n", 100, "measure `N` times")
	f.StringVar(&o.podlet, "podlet", "bin/podlet", "the podlet `binary`")
	f.StringVar(&o.floor, "floor", "build/floor", "the `binary` of hack/floor")
	f.BoolVar(&o.keep, "keep", false, "leave what the pull rows unpacked in the temporary directory")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.n < 1 {
		f.Usage()
		return o, errors.New("usage")
	}
	var err error
	if o.run, err = regexp.Compile(*run); err != nil {
		fmt.Fprintln(f.Output(), "-run:", err)
	}
	return o, err
}

// measure takes the measurements one after another and gives the rows that were asked for, those before a failure too.
func measure(ctx context.Context, o options) ([]row, error) {
	var rows []row
	for _, m := range []struct {
		names []string
		take  func(context.Context, options) ([]row, error)
	}{
		{[]string{rowUpHostnet, rowExec, rowDown}, hostnetRows},
		{[]string{rowUpNetns}, netnsRows},
		{[]string{rowMemory}, memoryRows},
		{[]string{rowCrowd}, crowdRows},
		{[]string{rowPullLayers}, pullRow(rowPullLayers, manyLayers)},
		{[]string{rowPullBig}, pullRow(rowPullBig, bigLayer)},
		{[]string{rowPullSmall}, pullRow(rowPullSmall, smallFilesLayer)},
		{[]string{rowPullShared}, sharedRow},
		{[]string{rowSeccomp}, seccompRows},
		{[]string{rowRunHostnet, rowRunBridge}, runRows},
		{[]string{rowRunCNI}, cniRow},
		{[]string{rowUpBridge, rowDownBridge}, bridgeRows},
		{[]string{rowRate}, rateRows},
		{[]string{rowLog}, logRow},
		{[]string{rowLogDisk}, logDiskRow},
		{[]string{rowNoise}, noiseRow},
		{[]string{rowStats, rowPodsStats}, statsRows},
	} {
		if !wanted(o, m.names) {
			continue
		}
		taken, err := m.take(ctx, o)
		if err != nil {
			return rows, err
		}
		for _, r := range taken {
			if o.run.MatchString(r.Name) {
				rows = append(rows, r)
			}
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("no row's name matches %q", o.run)
	}
	return rows, nil
}

// wanted: a row that takes minutes is measured only where -run is given.
func wanted(o options, names []string) bool {
	if strings.HasPrefix(names[0], "pull-") && o.run.String() == "" {
		return false
	}
	for _, name := range names {
		if o.run.MatchString(name) {
			return true
		}
	}
	return false
}
