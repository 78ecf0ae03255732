package main

import (
	"fmt"
	"time"
)

// base is podlet doing the same another way, in turns with what a row is about. Times are nanoseconds.
type base struct {
	Name string `json:"name"`
	P50  int64  `json:"p50_ns"`
	P99  int64  `json:"p99_ns"`
	// MoreP50 and MoreP99 are by how much the row's quantiles are larger.
	MoreP50 int64 `json:"more_p50_ns"`
	MoreP99 int64 `json:"more_p99_ns"`
	// More is the median of what each measurement took more than its neighbour: what else the machine does troubles it least.
	More int64 `json:"more_ns"`
}

// againstRow is a row of times against a base: times[i] and others[i] are neighbours.
func againstRow(name string, times []time.Duration, other string, others []time.Duration) row {
	r := timesRow(name, times, nil)
	b := &base{Name: other, P50: int64(quantile(others, 50)), P99: int64(quantile(others, 99))}
	b.MoreP50, b.MoreP99 = r.P50-b.P50, r.P99-b.P99
	more := make([]time.Duration, len(times))
	for i := range times {
		more[i] = times[i] - others[i]
	}
	b.More = int64(quantile(more, 50))
	r.Base, r.Ratio = b, float64(r.P50)/float64(b.P50)
	return r
}

func (b *base) note(name string) string {
	return fmt.Sprintf("%s: the base is podlet's own %s, p50 %s ms, p99 %s ms; this is %+.3f ms more at p50, %+.3f ms at p99, "+
		"%+.3f ms as the median of neighbours.",
		name, b.Name, ms(b.P50), ms(b.P99), float64(b.MoreP50)/1e6, float64(b.MoreP99)/1e6, float64(b.More)/1e6)
}
