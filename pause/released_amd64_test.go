package pause

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// released are the pauses of which a node may still have some running; testdata/pause-vN-amd64.gz is one of each protocol version, and never changes.
// A new one: gzip -9n <made-by-make/pause-amd64 >testdata/pause-vN-amd64.gz
var released = []uint32{1, 2, 3}

// TestReleasedPauses: pods outlive podlet's updates, so this client must get on with every pause there ever was.
func TestReleasedPauses(t *testing.T) {
	for _, version := range released {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			name := fmt.Sprintf("testdata/pause-v%d-amd64.gz", version)
			packed, err := os.ReadFile(name)
			if err != nil {
				t.Fatalf("%v: the released pauses are part of the repository", err)
			}
			z, err := gzip.NewReader(bytes.NewReader(packed))
			must(t, err)
			old, err := io.ReadAll(z)
			must(t, err)
			f, err := newMemfd("old-pause", unix.MFD_EXEC)
			must(t, err)
			defer f.Close()
			must(t, fillMemfd(f, old))
			conversation(t, Options{Binary: f}, version)
		})
	}
}
