package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogRow(t *testing.T) {
	var text, objects bytes.Buffer
	rows := []row{{Name: rowLog, N: 5, Log: &logged{Rate: 450, CPU: 1.5, Pause: 0.5, Writer: 1, App: 0.25}}}
	for _, out := range []struct {
		buffer *bytes.Buffer
		json   bool
	}{{&text, false}, {&objects, true}} {
		if err := report(out.buffer, rows, out.json); err != nil {
			t.Fatal(err)
		}
	}
	if want := "450 MB/s; 1.50 CPU s a GB (pause 0.50, log writer 1.00) and the container's own 0.25"; !strings.Contains(text.String(), want) {
		t.Errorf("the table lacks %q:\n%s", want, text.String())
	}
	const want = `{"name":"log-throughput","n":5,"log":{"mb_per_s":450,"cpu_s_per_gb":1.5,"pause_cpu_s_per_gb":0.5,"writer_cpu_s_per_gb":1,"app_cpu_s_per_gb":0.25}}` + "\n"
	if objects.String() != want {
		t.Errorf("-json printed\n%swant\n%s", objects.String(), want)
	}
}

func TestCPUOf(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	if err != nil || before <= 0 {
		t.Fatalf("%v, %v", before, err)
	}
	for after := before; after <= before; {
		if after, err = cpuOf(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
}

// What has more bytes than it can have would otherwise be waited for for ever.
func TestAwaitSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, make([]byte, 141), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := awaitSize(context.Background(), path, 141); err != nil {
		t.Error(err)
	}
	if err := awaitSize(context.Background(), path, 140); err == nil {
		t.Error("a log of 141 bytes where 140 were to come passed")
	}
}
