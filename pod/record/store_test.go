package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPutLoadDelete(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	put := func(pod, name string, n int) { t.Helper(); must(t, s.Put(pod, name, payload{Number: n})) }
	put(podB, Pod, 1)
	put(podA, Pod, 2)
	put(podA, ctr2, 3)
	put(podA, ctr1, 4)
	put(podA, ctr1, 5)
	if got, want := s.mustLoad(t), []string{"a/pod:2", "a/container-1:5", "a/container-2:3", "b/pod:1"}; !slices.Equal(got, want) {
		t.Errorf("Load %q, want %q", got, want)
	}
	must(t, s.Delete(podA, ctr1))
	must(t, s.Delete(podA, ctr1))
	must(t, s.DeletePod(podB))
	must(t, s.DeletePod(podB))
	must(t, s.Delete(podB, ctr1))
	// A record shorter than the two before it, and one that is longer.
	for _, length := range []int{9000, 5000, 1, 0, 20000, 3} {
		must(t, s.Put(podA, ctr2, payload{Number: 3, Text: strings.Repeat("x", length)}))
		if got := s.mustLoad(t); !slices.Contains(got, "a/container-2:3") {
			t.Errorf("with %d bytes of text Load %q", length, got)
		}
	}
	must(t, s.Delete(podA, ctr2))
	must(t, s.Put(podA, ctr2, payload{Number: 3}))
	if got, want := s.mustLoad(t), []string{"a/pod:2", "a/container-2:3"}; !slices.Equal(got, want) {
		t.Errorf("Load %q, want %q", got, want)
	}
	if got := names(t, s.path+"/pods/"+podA); len(got) != 2 {
		t.Errorf("files of the pod: %q", got)
	}
	if s.log.Len() > 0 {
		t.Errorf("logged: %s", s.log)
	}
}

// TestDeletePodOrder: cut short, it leaves a pod that is known as one.
func TestDeletePodOrder(t *testing.T) {
	for _, list := range [][]string{{Pod, ctr1, ctr2}, {ctr1, Pod, ctr2}, {ctr1, ctr2, Pod}, {Pod}} {
		if got := podLast(slices.Clone(list)); len(got) != len(list) || got[len(got)-1] != Pod {
			t.Errorf("podLast(%q) = %q", list, got)
		}
	}
	if got := podLast([]string{ctr1, ctr2}); !slices.Equal(got, []string{ctr1, ctr2}) {
		t.Errorf("podLast without a pod: %q", got)
	}
}

func TestDeletePodForgetsItsSpares(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	for range 3 {
		must(t, s.Put(podA, Pod, value))
		must(t, s.Put(podA, ctr1, value))
	}
	must(t, s.DeletePod(podA))
	if n := len(s.spares.mu.paths); n > 0 {
		t.Errorf("%d pods still have spares", n)
	}
	must(t, s.Put(podA, Pod, value))
	if got := s.mustLoad(t); len(got) != 1 {
		t.Errorf("Load %q", got)
	}
}

func TestPayloadIsKeptExactly(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	want := payload{Name: "<&>\u2028", Text: string([]byte{0, 1, 0x7f}) + "é\U0001F600", Number: -1 << 62}
	must(t, s.Put(podA, Pod, want))
	entries, _, err := s.Load()
	must(t, err)
	var got payload
	must(t, entries[0].Decode(&got))
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := entries[0].Decode(&[]int{}); err == nil {
		t.Error("Decode into another type succeeded")
	}
}

func TestDeletePodThatIsNoDirectory(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	elsewhere := t.TempDir()
	must(t, os.WriteFile(s.path+"/pods/"+podA, nil, 0o600))
	must(t, os.Symlink(elsewhere, s.path+"/pods/"+podB))
	must(t, os.WriteFile(elsewhere+"/"+Pod, nil, 0o600))
	must(t, s.DeletePod(podA))
	must(t, s.DeletePod(podB))
	if got := names(t, s.path+"/pods"); len(got) > 0 {
		t.Errorf("left in pods: %q", got)
	}
	if got := names(t, elsewhere); len(got) != 1 {
		t.Errorf("DeletePod went through a link: %q left", got)
	}
}

func TestPutRefusals(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	if err := s.Put(podA, ctr1, value); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a container's record without its pod's: %v", err)
	}
	if err := s.Put(podA, Pod, make(chan int)); err == nil {
		t.Error("a value that is no JSON was taken")
	}
	if err := s.Put(podA, Pod, strings.Repeat("x", MaxPayload)); err == nil || !strings.Contains(err.Error(), strconv.Itoa(MaxPayload)) {
		t.Errorf("a huge value: %v", err)
	}
	if got := names(t, s.path+"/pods"); len(got) > 0 {
		t.Errorf("left in pods: %q", got)
	}
	must(t, s.Put(podA, Pod, json.RawMessage(strconv.Quote(strings.Repeat("x", MaxPayload-2)))))
	if entries, quarantined, err := s.Load(); err != nil || len(entries) != 1 {
		t.Errorf("the largest value: %+v, %v", quarantined, err)
	}
}

func TestFailedPutLeavesNothing(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	must(t, s.Put(podA, Pod, payload{Number: 1}))
	// The write fails: files may have 100 bytes.
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 100, Max: old.Max}))
	err := s.Put(podA, Pod, payload{Number: 2, Text: strings.Repeat("x", 200)})
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old))
	if !errors.Is(err, unix.EFBIG) {
		t.Errorf("Put over the limit: %v", err)
	}
	if got := names(t, s.path+"/pods/"+podA); !slices.Equal(got, []string{Pod}) {
		t.Errorf("files of the pod: %q", got)
	}
	if got := s.mustLoad(t); !slices.Equal(got, []string{"a/pod:1"}) {
		t.Errorf("Load %q: the old record should stand", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	s := open(t, tmpfs(t, "size=64m"))
	const rounds = 100
	must(t, s.Put(podA, Pod, payload{}))
	must(t, s.Put(podA, ctr1, payload{Name: "0", Text: strings.Repeat("0", 5000)}))
	var writers sync.WaitGroup
	for w := range 4 {
		own := strings.Repeat(strconv.Itoa(w), 64)
		writers.Go(func() {
			letter := strconv.Itoa(w)
			for i := range rounds {
				// An object of all writers, and a pod of its own that comes and goes.
				err := errors.Join(
					s.Put(podA, ctr1, payload{Name: letter, Text: strings.Repeat(letter, 1+(i*97)%5000)}),
					s.Put(own, Pod, payload{Number: i}),
					s.Put(own, ctr2, payload{Number: i}))
				if i < rounds-1 {
					err = errors.Join(err, s.DeletePod(own))
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	_, body, err := decode(podA, ctr1, read(t, s.path+"/pods/"+podA+"/"+ctr1))
	must(t, err)
	var last payload
	must(t, json.Unmarshal(body, &last))
	if strings.Trim(last.Text, last.Name) != "" {
		t.Errorf("a mixture of two records: %.50q of %q", last.Text, last.Name)
	}
	if got := s.mustLoad(t); len(got) != 2+2*4 {
		t.Errorf("Load %q", got)
	}
	if got := names(t, s.path+"/pods/"+podA); len(got) != 3 {
		t.Errorf("files of the pod: %q, want the two records and one spare", got)
	}
}

// TestDeletePodBesidePut: whatever the order, DeletePod ends, and nothing half stays.
func TestDeletePodBesidePut(t *testing.T) {
	s := open(t, tmpfs(t, "size=64m"))
	for range 200 {
		must(t, s.Put(podA, Pod, value))
		var both sync.WaitGroup
		both.Go(func() {
			if err := s.Put(podA, ctr1, value); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		})
		both.Go(func() {
			if err := s.DeletePod(podA); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		s.mustLoad(t)
		must(t, s.DeletePod(podA))
	}
}

// TestKilledWriter: a podlet killed at any moment leaves the last record it was told is written, or the one after it.
func TestKilledWriter(t *testing.T) {
	dir := t.TempDir() + "/state"
	exe, err := os.Executable()
	must(t, err)
	for round := range 25 {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), writerEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		acknowledged := 0
		for n := 0; n < 1+round*7 && lines.Scan(); n++ {
			acknowledged, err = strconv.Atoi(lines.Text())
			must(t, err)
		}
		must(t, cmd.Process.Kill())
		for lines.Scan() {
			if n, err := strconv.Atoi(lines.Text()); err == nil {
				acknowledged = n
			}
		}
		cmd.Wait()

		s := open(t, dir)
		entries, quarantined, err := s.Load()
		must(t, err)
		if len(quarantined) > 0 || len(entries) != 1 {
			t.Fatalf("%d entries, quarantined %+v", len(entries), quarantined)
		}
		var p payload
		must(t, entries[0].Decode(&p))
		if p.Number != acknowledged && p.Number != acknowledged+1 {
			t.Errorf("record %d, acknowledged %d", p.Number, acknowledged)
		}
		if got := names(t, dir+"/pods/"+podA); !slices.Equal(got, []string{Pod}) {
			t.Errorf("files of the pod: %q", got)
		}
		s.Close()
	}
}

// writer is the process that TestKilledWriter kills.
func writer(dir string) int {
	s, err := Open(dir, slog.New(slog.DiscardHandler))
	for n := 1; err == nil; n++ {
		if err = s.Put(podA, Pod, payload{Number: n, Text: strings.Repeat("x", 3000)}); err == nil {
			_, err = fmt.Println(n)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func BenchmarkPutReplace(b *testing.B) {
	s := open(b, b.TempDir()+"/state")
	v := payload{Text: strings.Repeat("x", 4000)}
	for b.Loop() {
		must(b, s.Put(podA, Pod, v))
	}
}

func BenchmarkPutNewAndDeletePod(b *testing.B) {
	s := open(b, b.TempDir()+"/state")
	v := payload{Text: strings.Repeat("x", 4000)}
	for b.Loop() {
		must(b, s.Put(podA, Pod, v))
		must(b, s.DeletePod(podA))
	}
}

func BenchmarkLoad500Pods(b *testing.B) {
	s := open(b, b.TempDir()+"/state")
	v := payload{Text: strings.Repeat("x", 4000)}
	for i := range 500 {
		id := fmt.Sprintf("%064x", i)
		must(b, s.Put(id, Pod, v))
		must(b, s.Put(id, ctr1, v))
		must(b, s.Put(id, ctr2, v))
	}
	for b.Loop() {
		if entries, _, err := s.Load(); err != nil || len(entries) != 1500 {
			b.Fatal(len(entries), err)
		}
	}
}
