package network

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"first", "second", ""} {
		must(t, Replace(path, []byte(text)))
		got, err := os.ReadFile(path)
		must(t, err)
		info, err := os.Stat(path)
		must(t, err)
		if string(got) != text || info.Mode() != 0o600 {
			t.Errorf("%q, mode %v; want %q for root alone", got, info.Mode(), text)
		}
	}
	// A directory that is not empty is in the way.
	taken := filepath.Join(dir, "taken")
	must(t, os.MkdirAll(filepath.Join(taken, "below"), 0o700))
	if err := Replace(taken, []byte("text")); err == nil {
		t.Error("a directory was replaced")
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 2 {
		t.Errorf("left: %v", entries)
	}
}
