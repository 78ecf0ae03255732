// Package tree tells what a file tree is, file by file, so that two trees can be compared, and makes one with every kind of file there is.
//
// Not told are inode numbers, access and change times, and of the root but its mode: its name is what it was unpacked to.
package tree

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Describe gives a line for each file, in lexical order of their names: name, type and mode, owner, modification time, then content, target or device number, and all
// extended attributes. A file with several names tells the first of them in place of its content.
func Describe(root string) (string, error) {
	var lines []string
	first := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		line, err := describe(path, name, first)
		if err != nil {
			return fmt.Errorf("describe %q: %w", path, err)
		}
		lines = append(lines, line)
		return nil
	})
	return strings.Join(lines, "\n") + "\n", err
}

func describe(path, name string, first map[uint64]string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", err
	}
	line := fmt.Sprintf("%q %o", name, st.Mode)
	if name != "." {
		line += fmt.Sprintf(" %d:%d %d.%09d", st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
	}
	kind := st.Mode & unix.S_IFMT
	if of, again := first[st.Ino]; again && kind != unix.S_IFDIR {
		return line + fmt.Sprintf(" = %q", of), nil
	}
	first[st.Ino] = name
	switch kind {
	case unix.S_IFREG:
		sum, err := sumOf(path)
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" %d %x", st.Size, sum)
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" -> %q", target)
	case unix.S_IFCHR, unix.S_IFBLK:
		line += fmt.Sprintf(" %d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
	}
	xattrs, err := xattrsOf(path)
	return line + xattrs, err
}

func sumOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return h.Sum(nil), err
}

func xattrsOf(path string) (string, error) {
	buf := make([]byte, 64<<10) // XATTR_LIST_MAX, XATTR_SIZE_MAX
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	names := strings.Split(strings.Trim(string(buf[:n]), "\x00"), "\x00")
	slices.Sort(names)
	var text strings.Builder
	for _, name := range names {
		if name == "" {
			continue
		}
		n, err := unix.Lgetxattr(path, name, buf)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(&text, " %s=%q", name, buf[:n])
	}
	return text.String(), nil
}

// Differ gives the lines that only one of two descriptions has, at most some of them; "" where they are the same.
func Differ(nameA, a, nameB, b string) string {
	if a == b {
		return ""
	}
	linesA, linesB := strings.Split(a, "\n"), strings.Split(b, "\n")
	inA, inB := map[string]bool{}, map[string]bool{}
	for _, l := range linesA {
		inA[l] = true
	}
	for _, l := range linesB {
		inB[l] = true
	}
	var text strings.Builder
	count := 0
	only := func(who string, lines []string, other map[string]bool) {
		for _, l := range lines {
			if other[l] {
				continue
			}
			if count++; count <= 20 {
				fmt.Fprintf(&text, "only %s: %s\n", who, l)
			}
		}
	}
	only(nameA, linesA, inB)
	only(nameB, linesB, inA)
	if count == 0 {
		return "the same lines in another order\n"
	}
	if count > 20 {
		fmt.Fprintf(&text, "and %d lines more\n", count-20)
	}
	return text.String()
}
