package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Names of the rows.
const (
	rowUpHostnet = "pod-up-hostnet"      // RunPodSandbox + CreateContainer + StartContainer, host network
	rowUpNetns   = "pod-up-netns"        // the same with a network namespace of its own, lo up
	rowExec      = "execsync"            // ExecSync of true
	rowDown      = "pod-down"            // StopPodSandbox + RemovePodSandbox of a pod with a running container
	rowMemory    = "memory-per-pod"      // see memory.go
	rowCrowd     = "pod-up-5000-mounts"  // pod-up-hostnet with 5,000 extra host mounts
	rowLog       = "log-throughput"      // see log.go
	rowLogDisk   = "log-throughput-disk" // the same, onto the disk that the temporary directory is on
)

// row is one line of the table, or one object. Times are nanoseconds.
type row struct {
	Name string `json:"name"`
	N    int    `json:"n"`

	P50 int64 `json:"p50_ns,omitempty"`
	P90 int64 `json:"p90_ns,omitempty"`
	P99 int64 `json:"p99_ns,omitempty"`

	// FloorP50 is the median of the floor, taken in turns with podlet's; Ratio is P50 by that.
	FloorP50 int64   `json:"floor_p50_ns,omitempty"`
	Ratio    float64 `json:"ratio,omitempty"`

	// NoneP50 is the median without the extra mounts, where that is what Ratio is by.
	NoneP50 int64 `json:"none_p50_ns,omitempty"`

	// Base is what the row was taken in turns with, where that is another way of podlet's own.
	Base *base `json:"base,omitempty"`

	Memory *memory `json:"memory,omitempty"`
	Pull   *pulled `json:"pull,omitempty"`
	Log    *logged `json:"log,omitempty"`
	Stats  *stats  `json:"stats,omitempty"`
	Noise  *noise  `json:"noise,omitempty"`

	Throughput *throughput `json:"throughput,omitempty"`
}

// timesRow is a row of times against the floor's.
func timesRow(name string, podlet, floor []time.Duration) row {
	r := row{
		Name: name, N: len(podlet),
		P50: int64(quantile(podlet, 50)), P90: int64(quantile(podlet, 90)), P99: int64(quantile(podlet, 99)),
		FloorP50: int64(quantile(floor, 50)),
	}
	if r.FloorP50 > 0 {
		r.Ratio = float64(r.P50) / float64(r.FloorP50)
	}
	return r
}

// quantile is the smallest of the times that percent of them don't exceed; 0 of none.
func quantile(times []time.Duration, percent int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	rank := (len(sorted)*percent + 99) / 100
	return sorted[max(rank, 1)-1]
}

func report(w io.Writer, rows []row, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		for _, r := range rows {
			if err := e.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "n\tp50 ms\tp90\tp99\tfloor p50\tratio\t\t")
	var notes []string
	for _, r := range rows {
		if r.Memory != nil {
			notes = append(notes, r.Memory.note(r.N))
			continue
		}
		if r.Log != nil {
			notes = append(notes, r.Log.note(r))
			continue
		}
		if r.Noise != nil {
			notes = append(notes, r.Noise.note(r.Name))
			continue
		}
		if r.Pull != nil {
			notes = append(notes, r.Pull.note(r))
		}
		if r.Throughput != nil {
			notes = append(notes, r.Throughput.note(r.Name, r.N))
			continue
		}
		if r.Stats != nil {
			notes = append(notes, r.Stats.note(r.Name))
		}
		base := r.FloorP50
		if r.Base != nil {
			base = r.Base.P50
			notes = append(notes, r.Base.note(r.Name))
		}
		if r.NoneP50 > 0 {
			base = r.NoneP50
			notes = append(notes, fmt.Sprintf("%s: the base is podlet's own p50 without extra mounts, not the floor's.", r.Name))
		}
		against, ratio := "-", "-"
		if base > 0 {
			against, ratio = ms(base), fmt.Sprintf("%.2f", r.Ratio)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t  %s\t\n", r.N, ms(r.P50), ms(r.P90), ms(r.P99), against, ratio, r.Name)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range notes {
		if _, err := fmt.Fprintf(w, "\n%s\n", note); err != nil {
			return err
		}
	}
	return nil
}

func ms(ns int64) string { return fmt.Sprintf("%.2f", float64(ns)/1e6) }
