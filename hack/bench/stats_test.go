package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStraceTotal(t *testing.T) {
	const head = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ----------------\n" +
		" 90.00    0.001000           1       800           pread64\n"
	file := filepath.Join(t.TempDir(), "strace")
	for text, want := range map[string]int{
		head + "100.00    0.002000           2       912        12 total\n": 912,
		head + "100.00    0.002000           2       912           total\n": 912,
		head: 0,
		"":   0,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := straceTotal(file)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestStatsNote(t *testing.T) {
	s := &stats{CPU: 1_234_567, Syscalls: 912.4, Files: 8}
	for _, want := range []string{rowStats, "1.23 ms of CPU", "912 system calls", "8.0 files"} {
		if !strings.Contains(s.note(rowStats), want) {
			t.Errorf("the note lacks %q: %s", want, s.note(rowStats))
		}
	}
}
