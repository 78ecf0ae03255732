package logfile

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

func TestReopenMakesNoDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, place := range []struct{ dir, path string }{{dir + "/absent", "0.log"}, {dir, "absent/0.log"}} {
		if _, err := Reopen(place.dir, place.path); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInvalid) {
			t.Errorf("Reopen(%q, %q): %v", place.dir, place.path, err)
		}
	}
	if got := tree(t, dir); len(got) != 1 {
		t.Errorf("made: %q", got)
	}
}

// TestWithdraw: what Reopen made and nobody used goes; everything else that stands there stays.
func TestWithdraw(t *testing.T) {
	for _, test := range []struct {
		name string
		// before and between prepare path before it is opened and before it is withdrawn.
		before, between func(t *testing.T, path string, f *Reopened)
		want            string // its content afterwards, "absent" where it is gone
	}{
		{"made", nil, nil, "absent"},
		{"there before", func(t *testing.T, path string, _ *Reopened) { must(t, os.WriteFile(path, nil, 0o600)) }, nil, ""},
		{"written to", nil, func(t *testing.T, _ string, f *Reopened) {
			_, err := f.WriteString("line\n")
			must(t, err)
		}, "line\n"},
		{"the rotated file is back", nil, func(t *testing.T, path string, _ *Reopened) {
			must(t, os.WriteFile(path+".1", []byte("old\n"), 0o600))
			must(t, os.Rename(path+".1", path))
		}, "old\n"},
		{"gone", nil, func(t *testing.T, path string, _ *Reopened) { must(t, os.Remove(path)) }, "absent"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := dir + "/0.log"
			if test.before != nil {
				test.before(t, path, nil)
			}
			f, err := Reopen(dir, "0.log")
			must(t, err)
			defer f.Close()
			if test.between != nil {
				test.between(t, path, f)
			}
			must(t, f.Withdraw())
			text, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				text, err = []byte("absent"), nil
			}
			must(t, err)
			if string(text) != test.want {
				t.Errorf("afterwards %q, want %q", text, test.want)
			}
		})
	}
}
