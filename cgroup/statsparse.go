package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync"

	"golang.org/x/sys/unix"
)

// statPage takes the whole of any file that a Meter reads: the longest, memory.stat of v2, has some 3 kB, and all are read in one call.
type statPage [16 << 10]byte

var statPages = sync.Pool{New: func() any { return new(statPage) }}

// statReader reads a Meter's files once and keeps the first error. Nothing that is read by it is allocated: a kubelet asks for hundreds of
// containers, nine files each, and then again.
type statReader struct {
	m    *Meter
	page *statPage
	err  error
}

var errStatLength = errors.New("longer than expected")

// text gives the content of a file, which is good until the next call; ok is false where there is no such file.
func (r *statReader) text(file int) (text []byte, ok bool) {
	fd := r.m.files[file].fd
	if fd < 0 || r.err != nil {
		return nil, false
	}
	n, err := retry(func() (int, error) { return unix.Pread(fd, r.page[:], 0) })
	// PSI that the kernel was booted without.
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, false
	}
	if err == nil && n == len(r.page) {
		err = errStatLength
	}
	if err != nil {
		r.fail(file, err)
		return nil, false
	}
	return r.page[:n], true
}

func (r *statReader) fail(file int, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w", r.m.files[file].name, err)
	}
}

// malformed notes what can't be read as what it should be.
func (r *statReader) malformed(file int, text []byte) {
	r.fail(file, fmt.Errorf("malformed: %.100q", text))
}

func (r *statReader) cpu(s *Stats) {
	text, ok := r.text(statCPU)
	if !ok {
		return
	}
	if r.m.h.by["cpuacct"] != nil {
		s.CPU = &CPUStats{Usage: r.number(statCPU, text)}
		return
	}
	for line, rest := cutLine(text); line != nil; line, rest = cutLine(rest) {
		if name, value := cutField(line); string(name) == "usage_usec" {
			s.CPU = &CPUStats{Usage: r.number(statCPU, value) * 1000}
			return
		}
	}
	r.malformed(statCPU, text)
}

// memory reads the five files that are needed. The names of both layouts are looked for at once: none means two things.
func (r *statReader) memory(s *Stats) {
	text, ok := r.text(statMemory)
	if !ok {
		return
	}
	m := &MemoryStats{}
	var inactive, swapped uint64
	v1 := !r.m.h.onV2("memory")
	for line, rest := cutLine(text); line != nil; line, rest = cutLine(rest) {
		name, value := cutField(line)
		if v1 {
			if len(name) < 6 || string(name[:6]) != "total_" {
				continue // the cgroup's own, without those below it
			}
			name = name[6:]
		}
		to := (*uint64)(nil)
		switch string(name) {
		case "anon", "rss":
			to = &m.RSS
		case "inactive_file":
			to = &inactive
		case "pgfault":
			to = &m.PageFaults
		case "pgmajfault":
			to = &m.MajorPageFaults
		case "swap":
			to = &swapped
		}
		if to != nil {
			*to = r.number(statMemory, value)
		}
	}
	if text, ok = r.text(statMemoryUsage); !ok {
		return
	}
	m.Usage = r.number(statMemoryUsage, text)
	m.WorkingSet = without(m.Usage, inactive)
	m.Limit = r.limit(statMemoryLimit)
	s.Memory = m
	if v1 {
		r.swapV1(s, swapped)
		return
	}
	if text, ok = r.text(statSwapUsage); ok {
		s.Swap = &SwapStats{Usage: r.number(statSwapUsage, text), Limit: r.limit(statSwapLimit)}
	}
}

// swapV1: v1 limits memory and swap together, and has the file for it only where it accounts for swap.
func (r *statReader) swapV1(s *Stats, swapped uint64) {
	if r.m.files[statSwapLimit].fd < 0 {
		return
	}
	s.Swap = &SwapStats{Usage: swapped, Limit: r.limit(statSwapLimit)}
	if s.Swap.Limit != -1 && s.Memory.Limit != -1 {
		s.Swap.Limit -= s.Memory.Limit
	}
}

// limit reads a file with one number, or "max", in it; -1 is none, on v1 the largest that there is.
func (r *statReader) limit(file int) int64 {
	text, ok := r.text(file)
	if !ok || string(trimNewline(text)) == "max" {
		return -1
	}
	return noneFromV1(int64(min(r.number(file, text), math.MaxInt64)))
}

// number reads a decimal number.
func (r *statReader) number(file int, text []byte) uint64 {
	n, ok := parseNumber(trimNewline(text))
	if !ok {
		r.malformed(file, text)
	}
	return n
}

// pressure reads two lines such as "some avg10=0.00 avg60=0.00 avg300=0.00 total=0". Before Linux 5.13 cpu.pressure has the first only.
func (r *statReader) pressure(file int) *Pressure {
	text, ok := r.text(file)
	if !ok {
		return nil
	}
	p := &Pressure{}
	for line, rest := cutLine(text); line != nil; line, rest = cutLine(rest) {
		word, fields := cutField(line)
		to := &p.Some
		if string(word) == "full" {
			to = &p.Full
		}
		for len(fields) > 0 {
			var field []byte
			field, fields = cutField(fields)
			if !to.set(field) {
				r.malformed(file, line)
				return nil
			}
		}
	}
	return p
}

// set takes one NAME=VALUE; what it doesn't know, it leaves.
func (l *PressureLine) set(field []byte) (ok bool) {
	name, value, _ := bytes.Cut(field, []byte{'='})
	switch string(name) {
	case "avg10":
		l.Avg10, ok = parsePercent(value)
	case "avg60":
		l.Avg60, ok = parsePercent(value)
	case "avg300":
		l.Avg300, ok = parsePercent(value)
	case "total":
		l.Total, ok = parseNumber(value)
		l.Total *= 1000 // the file's are µs
	default:
		ok = true
	}
	return ok
}

// cutLine gives the first line of text, nil where there is none, and what comes after it.
func cutLine(text []byte) (line, rest []byte) {
	if len(text) == 0 {
		return nil, nil
	}
	line, rest, _ = bytes.Cut(text, []byte{'\n'})
	return line, rest
}

// cutField gives what comes before and after the first space of a line.
func cutField(line []byte) (field, rest []byte) {
	field, rest, _ = bytes.Cut(line, []byte{' '})
	return field, rest
}

func trimNewline(text []byte) []byte { return bytes.TrimSuffix(text, []byte{'\n'}) }

// parseNumber reads digits alone. What is beyond 64 bits is no number.
func parseNumber(text []byte) (n uint64, ok bool) {
	if len(text) == 0 {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' || n > math.MaxUint64/10 {
			return 0, false
		}
		digit := uint64(c - '0')
		if n = n*10 + digit; n < digit {
			return 0, false
		}
	}
	return n, true
}

// parsePercent reads digits, with or without a point among them.
func parsePercent(text []byte) (percent float64, ok bool) {
	whole, part, _ := bytes.Cut(text, []byte{'.'})
	n, ok := parseNumber(whole)
	if !ok || len(part) == 0 {
		return float64(n), ok
	}
	fraction, ok := parseNumber(part)
	scale := 1.0
	for range part {
		scale *= 10
	}
	return float64(n) + float64(fraction)/scale, ok
}

// without is a difference of two counters that were not read at the same moment.
func without(whole, part uint64) uint64 { return whole - min(whole, part) }
