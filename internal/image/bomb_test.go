package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
)

// block makes a tar header by hand: Go's writer makes no wrong ones.
func block(name string, typeflag byte, size int64) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00", size))
	copy(b[136:], "00000000000\x00")
	b[156] = typeflag
	copy(b[257:], "ustar\x0000")
	return sealed(b)
}

func sealed(b []byte) []byte {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// repeat gives head, then part again and again.
func repeat(head, part []byte) io.Reader {
	rest := part
	return io.MultiReader(bytes.NewReader(head), readerFunc(func(p []byte) (int, error) {
		n := copy(p, rest)
		if rest = rest[n:]; len(rest) == 0 {
			rest = part
		}
		return n, nil
	}))
}

// heapGrowth runs f and gives the most that the heap was above its start, as far as seen by the system's figures.
func heapGrowth(f func()) uint64 {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if after.Sys < before.Sys {
		return 0
	}
	return after.Sys - before.Sys
}

// TestHeaderBombs: endless sparse maps and extended headers (CVE-2026-32288, CVE-2025-58183) end at a bound of memory.
func TestHeaderBombs(t *testing.T) {
	// Old GNU sparse: the header says that a block of 21 entries follows, and so does every block.
	old := block("sparse", 'S', 0)
	copy(old[257:], "ustar  \x00")
	copy(old[386:], "00000000000\x0000000000000\x00")
	old[482] = 1
	copy(old[483:], "77777777777\x00")
	sealed(old)
	more := make([]byte, 512)
	more[504] = 1

	// pax 1.0 sparse: the map is text at the beginning of the content.
	records := paxRecord("GNU.sparse.major", "1") + paxRecord("GNU.sparse.minor", "0") + paxRecord("GNU.sparse.name", "sparse") + paxRecord("GNU.sparse.realsize", "4611686018427387904")
	pax := append(block("pax", 'x', int64(len(records))), padded(records)...)
	pax = append(pax, block("sparse", '0', 7<<30)...)
	pax = append(pax, "100000000\n"...)
	pax1 := repeat(pax, []byte("1\n"))

	// Extended headers without an entry.
	long := paxRecord("comment", strings.Repeat("x", 400))
	again := append(block("pax", 'x', int64(len(long))), padded(long)...)

	for name, r := range map[string]io.Reader{
		"old gnu sparse":  repeat(old, more),
		"pax sparse":      pax1,
		"pax headers":     repeat(nil, again),
		"gnu long names":  repeat(nil, append(block("././@LongLink", 'L', 400), padded(strings.Repeat("x", 400))...)),
		"huge pax header": io.MultiReader(bytes.NewReader(block("pax", 'x', 7<<30)), repeat(nil, []byte("x"))),
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			grown := heapGrowth(func() { _, _, err = unpackTo(t, r) })
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%v", err)
			}
			if grown > 64<<20 {
				t.Errorf("%d MiB of memory", grown>>20)
			}
			t.Log(err, grown>>10, "KiB")
		})
	}
}

func paxRecord(key, value string) string {
	for n := len(key) + len(value) + 3; ; n++ {
		if s := fmt.Sprintf("%d %s=%s\n", n, key, value); len(s) == n {
			return s
		}
	}
}

func padded(s string) []byte {
	b := []byte(s)
	return append(b, make([]byte, (512-len(b)%512)%512)...)
}

// TestSparse: a hole is a hole on the disk, its end included; more of it than the bound is refused before anything is written.
func TestSparse(t *testing.T) {
	sparse := func(size int64) []byte {
		b := block("sparse", 'S', 512)
		copy(b[257:], "ustar  \x00")
		copy(b[386:], fmt.Sprintf("%011o\x00%011o\x00", 1<<20, 512)) // offset, length of the only data
		copy(b[483:], fmt.Sprintf("%011o\x00", size))
		if size >= 1<<33 {
			copy(b[483:], base256(size))
		}
		return append(append(sealed(b), bytes.Repeat([]byte("d"), 512)...), make([]byte, 1024)...)
	}
	root, size, err := unpackTo(t, bytes.NewReader(sparse(1<<30)))
	must(t, err)
	st := lstat(t, root+"/sparse")
	if st.Size != 1<<30 || st.Blocks*512 > 1<<20 {
		t.Errorf("%d bytes in %d blocks", st.Size, st.Blocks)
	}
	f, err := os.Open(root + "/sparse")
	must(t, err)
	defer f.Close()
	data := make([]byte, 1024)
	_, err = f.ReadAt(data, 1<<20)
	must(t, err)
	if !bytes.Equal(data, append(bytes.Repeat([]byte("d"), 512), make([]byte, 512)...)) {
		t.Error("content is wrong")
	}
	checkSize(t, root, size)

	if _, _, err := unpackTo(t, bytes.NewReader(sparse(maxSparseBytes+512))); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func base256(n int64) []byte {
	b := make([]byte, 12)
	for i := 11; i > 0; i-- {
		b[i] = byte(n)
		n >>= 8
	}
	b[0] = 0x80
	return b
}

// TestManyWhiteouts: opaque marks cost the same however many there are and however full their directory is (CVE-2026-95838).
func TestManyWhiteouts(t *testing.T) {
	const files, marks = 1000, 40_000
	var b bytes.Buffer
	for i := range files {
		b.Write(block(fmt.Sprintf("d/f%d", i), '0', 0))
	}
	mark := block("d/.wh..wh..opq", '0', 0)
	b.Write(bytes.Repeat(mark, marks))
	for i := range files {
		b.Write(block(fmt.Sprintf("e%d/.wh..wh..opq", i), '0', 0))
	}
	b.Write(make([]byte, 1024))
	root, size, err := unpackTo(t, &b)
	must(t, err)
	if size.entries != 2*files+marks {
		t.Errorf("%d entries", size.entries)
	}
	if size.inodes != 2*files+2 {
		t.Errorf("%d inodes", size.inodes)
	}
	for _, name := range []string{"d", "e0", fmt.Sprintf("e%d", files-1)} {
		if xattr(filepath.Join(root, name), opaqueXattr) != "y" {
			t.Errorf("%s is not opaque", name)
		}
	}
}

// TestDeepByLinks: links that lead down and down make nothing that can't be named, or removed again.
func TestDeepByLinks(t *testing.T) {
	tree := testimage.NewTree()
	at := ""
	deep := strings.Repeat(strings.Repeat("d", 200)+"/", 15)
	for i := range 6 {
		tree.Dir(strings.TrimSuffix(at+deep, "/"), 0o755)
		link := fmt.Sprintf("l%d", i)
		tree.Symlink(link, "/"+at+deep)
		at = link + "/"
	}
	root, _, err := unpackTo(t, bytes.NewReader(tarOf(t, tree)))
	if !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	must(t, os.RemoveAll(root))
}

// TestSetIDAndACLDontSpread: what a directory would hand down to new files must not reach the layer's.
func TestSetIDAndACLDontSpread(t *testing.T) {
	acl := "\x02\x00\x00\x00" + // version
		"\x01\x00\x07\x00\xff\xff\xff\xff" + "\x04\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x07\x00\xff\xff\xff\xff" // user, group, other
	tree := testimage.NewTree().
		Add(tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o2755, Gid: 50, PAXRecords: map[string]string{"SCHILY.xattr.system.posix_acl_default": acl}}, nil).
		File("d/f", 0o640, "").Dir("d/sub", 0o700).Dir("d/x/y", 0o755)
	root, _, err := unpackTo(t, bytes.NewReader(tarOf(t, tree)))
	must(t, err)
	for name, mode := range map[string]uint32{"d/f": unix.S_IFREG | 0o640, "d/sub": unix.S_IFDIR | 0o700, "d/x": unix.S_IFDIR | 0o755} {
		st := lstat(t, filepath.Join(root, name))
		if st.Mode != mode || st.Gid != 0 {
			t.Errorf("%s: %o, group %d", name, st.Mode, st.Gid)
		}
		if xattr(filepath.Join(root, name), "system.posix_acl_default")+xattr(filepath.Join(root, name), "system.posix_acl_access") != "" {
			t.Errorf("%s has an ACL", name)
		}
	}
	if xattr(root+"/d", "system.posix_acl_default") != acl {
		t.Error("d has lost its default ACL")
	}
}
