package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPullRow(t *testing.T) {
	r := timesRow(rowPullLayers, []time.Duration{time.Second}, []time.Duration{2 * time.Second})
	r.Pull = &pulled{Layers: 24, Entries: 19710, Bytes: 540e6, MBps: 540, BareMBps: 270, CPU: 2.5, BareCPU: 3.75, Disk: 600e6, BareDisk: 590e6}
	var text, objects bytes.Buffer
	if err := report(&text, []row{r}, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0.50", "24 layers, 19710 entries, 540 MB", "podlet 540 MB/s with 2.5 s of CPU and 600 MB on the disk", "270 MB/s with 3.8 s and 590 MB"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, text.String())
		}
	}
	if err := report(&objects, []row{r}, true); err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"pull-many-layers","n":1,"p50_ns":1000000000,"p90_ns":1000000000,"p99_ns":1000000000,"floor_p50_ns":2000000000,"ratio":0.5,` +
		`"pull":{"layers":24,"entries":19710,"bytes":540000000,"mb_per_s":540,"bare_mb_per_s":270,"cpu_s":2.5,"bare_cpu_s":3.75,"disk_bytes":600000000,"bare_disk_bytes":590000000}}` + "\n"
	if objects.String() != want {
		t.Errorf("report printed\n%swant\n%s", objects.String(), want)
	}
}

// TestPullLayer: what a layer is packed of comes out of `curl | tar -xz` again.
func TestPullLayer(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl: hack/deps.sh installs it where the bench runs, which is not in the guest of hack/vm")
	}
	img := &pullImage{dir: t.TempDir(), Repository: "some", Manifests: map[string]string{}}
	l, err := img.layer(3, packUsr([]string{"share", "lib", "bin/tar"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := img.tag("v1", []pullLayer{l}); err != nil {
		t.Fatal(err)
	}
	blob, err := os.Stat(img.blob(l.Digest))
	if err != nil || blob.Size() != l.Size || l.Digest == l.diffID || img.Bytes <= l.Size || img.Entries != 3 {
		t.Errorf("blob %+v, %d bytes of tar, %d entries: %v", l, img.Bytes, img.Entries, err)
	}
	registry, err := serveImage(img)
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	dir := filepath.Join(t.TempDir(), "bare")
	if took, cpu, err := barePull(context.Background(), registry.address, img, dir); err != nil || took <= 0 || cpu < 0 {
		t.Errorf("%v, %v, %v", took, cpu, err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "0/bin/tar"))
	if err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile("/usr/bin/tar"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d, %v", len(got), len(want), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "0/lib")); err != nil {
		t.Error(err)
	}
}

func TestCPUTime(t *testing.T) {
	before, err := cpuTimeOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		now, err := cpuTimeOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now > before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("10 s of work take no time")
		}
	}
}
