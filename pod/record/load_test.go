package record

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// unusable are the ways in which podA's record ctr1 can be spoilt.
var unusable = []struct {
	name, reason string
	// spoil gets the record's path.
	spoil func(t *testing.T, s logged, path string)
}{
	{"empty", "empty file", func(t *testing.T, s logged, path string) { must(t, os.Truncate(path, 0)) }},
	{"torn", "torn", func(t *testing.T, s logged, path string) {
		must(t, os.Truncate(path, int64(len(read(t, path))-1)))
	}},
	{"garbage", "no header line", func(t *testing.T, s logged, path string) {
		must(t, os.WriteFile(path, []byte(strings.Repeat("\xff\x00", 4096)), 0o600))
	}},
	{"one byte changed", "checksum", func(t *testing.T, s logged, path string) {
		b := read(t, path)
		b[len(b)-3] ^= 1
		must(t, os.WriteFile(path, b, 0o600))
	}},
	{"other version", "format version", func(t *testing.T, s logged, path string) {
		must(t, os.WriteFile(path, []byte(strings.Replace(string(read(t, path)), " 1 ", " 9 ", 1)), 0o600))
	}},
	{"another object's", "another object's", func(t *testing.T, s logged, path string) {
		must(t, os.WriteFile(path, read(t, filepath.Dir(path)+"/"+ctr2), 0o600))
	}},
	{"directory", "no regular file", func(t *testing.T, s logged, path string) {
		must(t, os.Remove(path))
		must(t, os.MkdirAll(path+"/with/content", 0o700))
	}},
	{"link", "open: too many levels", func(t *testing.T, s logged, path string) {
		must(t, os.Rename(path, s.path+"/elsewhere"))
		must(t, os.Symlink(s.path+"/elsewhere", path))
	}},
	{"hard link", "2 names", func(t *testing.T, s logged, path string) { must(t, os.Link(path, s.path+"/elsewhere")) }},
	{"fifo", "no regular file", func(t *testing.T, s logged, path string) {
		must(t, os.Remove(path))
		must(t, unix.Mkfifo(path, 0o600))
	}},
	{"another user's", "a file of user 1234", func(t *testing.T, s logged, path string) { must(t, os.Chown(path, 1234, 0)) }},
	{"huge", "a record has at most", func(t *testing.T, s logged, path string) { must(t, os.Truncate(path, 1<<40)) }},
}

func TestUnusableRecordIsQuarantined(t *testing.T) {
	for _, test := range unusable {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, t.TempDir()+"/state")
			for i, name := range []string{Pod, ctr1, ctr2} {
				must(t, s.Put(podA, name, payload{Number: i}))
			}
			must(t, s.Put(podB, Pod, payload{Number: 3}))
			test.spoil(t, s, s.path+"/pods/"+podA+"/"+ctr1)

			entries, quarantined, err := s.Load()
			must(t, err)
			if len(quarantined) != 1 {
				t.Fatalf("quarantined %+v, want one", quarantined)
			}
			q := quarantined[0]
			if q.PodID != podA || q.Name != ctr1 || !strings.Contains(q.Reason, test.reason) {
				t.Errorf("quarantined %+v, want reason %q", q, test.reason)
			}
			if _, err := os.Lstat(s.path + "/" + q.File); err != nil || !strings.HasPrefix(q.File, "quarantine/") {
				t.Errorf("it should be at %q: %v", q.File, err)
			}
			if !strings.Contains(s.log.String(), test.reason) || !strings.Contains(s.log.String(), podA) {
				t.Errorf("not in the log: %s", s.log)
			}
			if len(entries) != 3 {
				t.Errorf("the others: %+v", entries)
			}
			if got, want := s.mustLoad(t), []string{"a/pod:0", "a/container-2:2", "b/pod:3"}; !slices.Equal(got, want) {
				t.Errorf("second Load %q, want %q", got, want)
			}
			must(t, s.Put(podA, ctr1, payload{Number: 9}))
			must(t, s.DeletePod(podA))
			if got, want := s.mustLoad(t), []string{"b/pod:3"}; !slices.Equal(got, want) {
				t.Errorf("after DeletePod %q, want %q", got, want)
			}
		})
	}
}

// TestSpoiltRecordIsReplacedAndDeleted: podlet never loaded it, and still Put, Delete and DeletePod work.
func TestSpoiltRecordIsReplacedAndDeleted(t *testing.T) {
	for _, test := range unusable {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, t.TempDir()+"/state")
			path := s.path + "/pods/" + podA + "/" + ctr1
			spoil := func() {
				for i, name := range []string{Pod, ctr1, ctr2} {
					must(t, s.Put(podA, name, payload{Number: i}))
				}
				os.Remove(s.path + "/elsewhere")
				test.spoil(t, s, path)
			}
			spoil()
			must(t, s.Put(podA, ctr1, payload{Number: 7}))
			if got, want := s.mustLoad(t), []string{"a/pod:0", "a/container-1:7", "a/container-2:2"}; !slices.Equal(got, want) {
				t.Errorf("after Put %q, want %q", got, want)
			}
			spoil()
			must(t, s.Delete(podA, ctr1))
			if got, want := s.mustLoad(t), []string{"a/pod:0", "a/container-2:2"}; !slices.Equal(got, want) {
				t.Errorf("after Delete %q, want %q", got, want)
			}
			spoil()
			must(t, s.DeletePod(podA))
			if left := names(t, s.path+"/pods"); len(left) > 0 {
				t.Errorf("after DeletePod: %q", left)
			}
		})
	}
}

func TestMisplacedFiles(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	pods := s.path + "/pods/"
	must(t, s.Put(podA, Pod, value))
	must(t, os.WriteFile(pods+"lost+found \xff", nil, 0o600))
	must(t, os.MkdirAll(pods+strings.Repeat("Z", 64)+"/sub", 0o700))
	must(t, os.WriteFile(pods+podB, []byte("a file in the place of a pod"), 0o600))
	must(t, os.WriteFile(pods+podA+"/notes.txt", nil, 0o600))
	podC := strings.Repeat("c", 64)
	must(t, os.Mkdir(pods+podC, 0o700))
	must(t, os.Chown(pods+podC, 1234, 1234))
	entries, quarantined, err := s.Load()
	must(t, err)
	if len(entries) != 1 || len(quarantined) != 5 {
		t.Fatalf("%d entries, quarantined %+v", len(entries), quarantined)
	}
	if got := names(t, pods); !slices.Equal(got, []string{podA}) {
		t.Errorf("left in pods: %q", got)
	}
	if got := names(t, s.path+"/quarantine"); len(got) != 5 {
		t.Errorf("in quarantine: %q", got)
	}
	if got := s.mustLoad(t); len(got) != 1 {
		t.Errorf("second Load: %q", got)
	}
}

func TestOpenPodDirectoryIsClosed(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	must(t, s.Put(podA, Pod, value))
	dir := s.path + "/pods/" + podA
	must(t, os.Chmod(dir, 0o777))
	s.mustLoad(t)
	info, err := os.Stat(dir)
	must(t, err)
	if info.Mode().Perm() != 0o700 || !strings.Contains(s.log.String(), "wrong mode") {
		t.Errorf("mode %v, log %s", info.Mode(), s.log)
	}
}

func TestCrashLeftovers(t *testing.T) {
	dir := t.TempDir() + "/state"
	before := open(t, dir)
	must(t, before.Put(podA, Pod, value))
	must(t, before.Put(podA, Pod, value))
	// A crash between write and rename, and one between mkdir and create.
	_, fd, err := before.openAside(podA, ctr1)
	must(t, err)
	must(t, writeAndClose(fd, []byte("half")))
	must(t, before.makePodDir(podB))

	after := open(t, dir)
	if got := after.mustLoad(t); len(got) != 1 {
		t.Errorf("loaded %q", got)
	}
	if got := names(t, dir+"/pods"); !slices.Equal(got, []string{podA}) {
		t.Errorf("in pods: %q", got)
	}
	if got := names(t, dir+"/pods/"+podA); !slices.Equal(got, []string{Pod}) {
		t.Errorf("in the pod's directory: %q", got)
	}
	if strings.Contains(after.log.String(), "quarantine") {
		t.Errorf("leftovers of a crash are no reason to alarm: %s", after.log)
	}
}

// TestVersionBeforeStandsIn: a power cut tore the record that was written last, not the one before it.
func TestVersionBeforeStandsIn(t *testing.T) {
	for _, test := range unusable {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, t.TempDir()+"/state")
			must(t, s.Put(podA, Pod, payload{Number: 0}))
			must(t, s.Put(podA, ctr2, payload{Number: 2}))
			for n := range 4 {
				must(t, s.Put(podA, ctr1, payload{Number: 10 + n}))
			}
			test.spoil(t, s, s.path+"/pods/"+podA+"/"+ctr1)
			later := open(t, s.path)
			if got, want := later.mustLoad(t), []string{"a/pod:0", "a/container-1:12", "a/container-2:2"}; !slices.Equal(got, want) {
				t.Errorf("Load %q, want %q", got, want)
			}
			for _, want := range []string{test.reason, "took the version before"} {
				if !strings.Contains(later.log.String(), want) {
					t.Errorf("log %s, want %q", later.log, want)
				}
			}
			if got := names(t, s.path+"/pods/"+podA); len(got) != 3 {
				t.Errorf("files of the pod: %q", got)
			}
			must(t, later.Put(podA, ctr1, payload{Number: 20}))
			if got := later.mustLoad(t); !slices.Contains(got, "a/container-1:20") {
				t.Errorf("after Put %q", got)
			}
		})
	}
}

// TestDeletedStaysDeleted: podlet died between the record's removal and that of the version before it.
func TestDeletedStaysDeleted(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	must(t, s.Put(podA, Pod, value))
	for range 2 {
		must(t, s.Put(podA, ctr1, value))
	}
	must(t, s.unlink(podA+"/"+ctr1))
	later := open(t, s.path)
	if got, want := later.mustLoad(t), []string{"a/pod:1"}; !slices.Equal(got, want) {
		t.Errorf("Load %q, want %q", got, want)
	}
	if got := names(t, s.path+"/pods/"+podA); !slices.Equal(got, []string{Pod}) {
		t.Errorf("files of the pod: %q", got)
	}
}

func TestOtherBoot(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	must(t, s.Put(podA, Pod, value))
	s.boot = someBoot
	must(t, s.Put(podA, ctr1, value))
	now, err := BootID()
	must(t, err)
	s.boot = now
	entries, _, err := s.Load()
	must(t, err)
	if len(entries) != 2 || !entries[0].SameBoot || entries[0].Boot != s.Boot() || entries[1].SameBoot || entries[1].Boot != someBoot {
		t.Errorf("entries %+v", entries)
	}
}

// TestShortageQuarantinesNothing: no fd left is no fault of the records.
func TestShortageQuarantinesNothing(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	must(t, s.Put(podA, Pod, value))
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	free, err := unix.Dup(0)
	must(t, err)
	unix.Close(free)
	// From "none may be opened" up, until a Load gets through: no step may lose the record.
	passed := false
	for allowed := 0; allowed < 8 && !passed; allowed++ {
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(free + allowed), Max: old.Max}))
		entries, quarantined, err := s.Load()
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
		if len(quarantined) > 0 {
			t.Fatalf("%d fds allowed: quarantined %+v", allowed, quarantined)
		}
		if err != nil {
			continue
		}
		if len(entries) != 1 || allowed == 0 {
			t.Fatalf("%d fds allowed: %d entries", allowed, len(entries))
		}
		passed = true
	}
	if !passed {
		t.Error("Load never got through")
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	s := open(t, t.TempDir()+"/state")
	must(t, os.WriteFile(s.path+"/quarantine/a person's note", nil, 0o600))
	var last Quarantined
	for range 3*quarantineKeeps + 5 {
		must(t, s.Put(podA, Pod, value))
		var err error
		last, err = s.Quarantine(podA, Pod, "no such state")
		must(t, err)
	}
	kept := names(t, s.path+"/quarantine")
	if len(kept) > 2*quarantineKeeps || !slices.Contains(kept, filepath.Base(last.File)) || !slices.Contains(kept, "a person's note") {
		t.Errorf("%d files kept, %q and the note should be among them", len(kept), last.File)
	}
	again := open(t, s.path)
	must(t, again.Put(podA, Pod, value))
	next, err := again.Quarantine(podA, Pod, "no such state")
	must(t, err)
	if slices.Contains(kept, filepath.Base(next.File)) {
		t.Errorf("%s was overwritten", next.File)
	}
	if n := len(names(t, s.path+"/quarantine")); n != quarantineKeeps+2 {
		t.Errorf("after the next start %d files, want %d, the new one and the note", n, quarantineKeeps)
	}
}
