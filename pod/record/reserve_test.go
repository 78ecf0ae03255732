package record

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fill takes all that is left of the file system of dir.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(dir + "/../ballast")
	must(t, err)
	defer f.Close()
	for _, size := range []int{1 << 16, 4096, 1} {
		for err == nil {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
}

// TestFullDisk: the state goes on being written from the reserve; when that is used up, Put fails and deleting works.
func TestFullDisk(t *testing.T) {
	for _, test := range []struct {
		name, options string
		fill          func(t *testing.T, dir string)
	}{
		{"no space", "size=4m", fill},
		{"no inodes", "nr_inodes=100", func(t *testing.T, dir string) {
			for i := 0; ; i++ {
				f, err := os.Create(fmt.Sprintf("%s/../ballast%d", dir, i))
				if errors.Is(err, unix.ENOSPC) {
					return
				}
				must(t, err)
				f.Close()
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, tmpfs(t, test.options))
			pod := func(i int) string { return fmt.Sprintf("%064x", i) }
			const before = 10
			for i := range before {
				must(t, s.Put(pod(i), Pod, payload{Number: 1}))
			}
			test.fill(t, s.path)
			written := before
			var err error
			for ; ; written++ {
				if err = s.Put(pod(written), Pod, payload{Number: 2, Text: strings.Repeat("x", 10000)}); err != nil {
					break
				}
			}
			if written < before+reserveFiles/2 {
				t.Errorf("only %d records from the reserve", written-before)
			}
			if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "make room") {
				t.Errorf("reserve used up: %v", err)
			}
			if left := names(t, s.path+"/reserve"); len(left) > 0 {
				t.Errorf("left of the reserve: %q", left)
			}
			if got := names(t, s.path+"/pods"); len(got) != written {
				t.Errorf("%d pod directories, %d were written", len(got), written)
			}
			// A new podlet on the full disk reads it all.
			again := open(t, s.path)
			entries, quarantined, err := again.Load()
			if err != nil || len(entries) != written || len(quarantined) > 0 {
				t.Fatalf("%d entries of %d, quarantined %+v, %v", len(entries), written, quarantined, err)
			}
			if !strings.Contains(again.log.String(), "no reserve") {
				t.Errorf("log %s", again.log)
			}
			for i := range written {
				must(t, again.DeletePod(pod(i)))
			}
			if left := names(t, s.path+"/pods"); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
			// The deleted pods made room for new ones.
			must(t, again.Put(podA, Pod, value))
		})
	}
}

func TestOldRecordStandsOnFullDisk(t *testing.T) {
	s := open(t, tmpfs(t, "size=4m"))
	must(t, s.Put(podA, Pod, payload{Number: 1}))
	fill(t, s.path)
	if err := s.Put(podA, Pod, payload{Number: 2, Text: strings.Repeat("x", 2<<20)}); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("2 MiB from a reserve of 1: %v", err)
	}
	if got := s.mustLoad(t); len(got) != 1 || got[0] != "a/pod:1" {
		t.Errorf("Load %q", got)
	}
	if got := names(t, s.path+"/pods/"+podA); len(got) != 1 {
		t.Errorf("files of the pod: %q", got)
	}
}

func TestReserveIsTakenAgain(t *testing.T) {
	s := open(t, tmpfs(t, "size=16m"))
	blocks := func() (sum int64) {
		for _, name := range names(t, s.path+"/reserve") {
			var st unix.Stat_t
			must(t, unix.Stat(s.path+"/reserve/"+name, &st))
			sum += st.Blocks * 512
		}
		return sum
	}
	const whole = reserveFiles * reserveSize
	if got := blocks(); got != whole {
		t.Fatalf("reserve of %d bytes, want %d", got, whole)
	}
	fill(t, s.path)
	must(t, s.Put(podA, Pod, value))
	if got := blocks(); got != whole-reserveSize {
		t.Errorf("one record took %d bytes of the reserve", whole-got)
	}
	// Due, but the disk is full: it stays as it is.
	due := func() { s.reserve.mu.tried = time.Now().Add(-time.Hour) }
	due()
	must(t, s.Put(podA, Pod, value))
	if got := blocks(); got != whole-reserveSize {
		t.Errorf("on a full disk the reserve has %d bytes, want %d", got, whole-reserveSize)
	}
	// Due, and there is room for what is missing, but not for much else: the next Put would need it.
	must(t, os.Truncate(s.path+"/../ballast", 14<<20))
	due()
	must(t, s.Put(podA, Pod, value))
	if got := blocks(); got != whole-reserveSize {
		t.Errorf("on a disk that is nearly full the reserve has %d bytes, want %d", got, whole-reserveSize)
	}
	// Room, but not due.
	must(t, os.Remove(s.path+"/../ballast"))
	must(t, s.Put(podA, Pod, value))
	if got := blocks(); got != whole-reserveSize {
		t.Errorf("retaken at once: %d bytes", got)
	}
	due()
	must(t, s.Put(podA, Pod, value))
	if got := blocks(); got != whole || s.reserve.missing.Load() != 0 {
		t.Errorf("reserve of %d bytes, want %d, %d missing", got, whole, s.reserve.missing.Load())
	}
	if !strings.Contains(s.log.String(), "whole again") {
		t.Errorf("log %s", s.log)
	}
}

func TestOpenOnFullDisk(t *testing.T) {
	dir := tmpfs(t, "size=256k")
	s, err := Open(dir, slog.New(slog.DiscardHandler))
	must(t, err)
	defer s.Close()
	must(t, s.Put(podA, Pod, value))
}
