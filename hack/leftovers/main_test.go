package main

import "testing"

func TestRunTellsTheExitCode(t *testing.T) {
	for command, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 128 + 15} {
		got, err := run([]string{"sh", "-c", command})
		if err != nil || got != want {
			t.Errorf("run(sh -c %q) = %d, %v; want %d", command, got, err, want)
		}
	}
}
