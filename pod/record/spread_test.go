package record

import (
	"log/slog"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPodsAreSpread(t *testing.T) {
	store, err := Open(t.TempDir()+"/state", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(store.pods.Fd()), &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type != unix.EXT4_SUPER_MAGIC {
		t.Skipf("the test's directory is not on ext4 (type %#x)", fs.Type)
	}
	flags, err := unix.IoctlGetInt(int(store.pods.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&topDir == 0 {
		t.Errorf("flags of the directory of pods: %#x, %v; want %#x among them", flags, err, topDir)
	}
}

// A file system without the flag is no reason to say anything but in passing.
func TestSpreadElsewhere(t *testing.T) {
	proc, err := os.Open("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	Spread(proc, slog.New(slog.DiscardHandler))
}
