package tree

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Make fills the directory root with a file of every kind, with owners, set-ID bits, times, attributes and names that are seldom seen. It needs root.
func Make(root string) error {
	at := func(name string) string { return filepath.Join(root, name) }
	var failed error
	must := func(err error) {
		if failed == nil {
			failed = err
		}
	}
	file := func(name string, mode os.FileMode, content []byte) { must(os.WriteFile(at(name), content, mode)) }
	deep := "a/b/" + strings.Repeat("long-name-", 12) + "/" + strings.Repeat("again-", 20)
	must(os.MkdirAll(at(deep), 0o755))
	file(deep+"/file", 0o644, []byte("deep"))
	must(os.MkdirAll(at("a/"+strings.Repeat("n", 255)), 0o755))

	file("a/suid", 0o755, bytes.Repeat([]byte("0123456789"), 100_000))
	must(os.Chown(at("a/suid"), 12, 34))
	must(unix.Chmod(at("a/suid"), 0o4751))
	must(unix.Setxattr(at("a/suid"), "user.x", []byte("y\x00z"), 0))
	must(os.Link(at("a/suid"), at("a/twin")))
	file("a/sgid", 0o755, nil)
	must(unix.Chmod(at("a/sgid"), 0o2755))
	file("ping", 0o755, []byte("has a capability"))
	must(unix.Setxattr(at("ping"), "security.capability", fileCapability(unix.CAP_NET_RAW), 0))

	must(os.Symlink("../"+strings.Repeat("t", 150), at("a/link")))
	must(os.Lchown(at("a/link"), 77, 88))
	must(os.Link(at("a/link"), at("a/link-twin")))
	must(unix.Mkfifo(at("fifo"), 0o620))
	must(unix.Mknod(at("char"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
	must(unix.Mknod(at("block"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 300))))
	file("empty", 0o000, nil)
	file("näme with\nnewline", 0o644, []byte("odd"))
	file("bytes\xff\xfe", 0o644, []byte("not UTF-8"))
	must(os.Mkdir(at("sticky"), 0o755))
	must(unix.Chmod(at("sticky"), 0o1777))
	must(os.Mkdir(at("shared"), 0o755))
	must(os.Chown(at("shared"), 65534, 65534))
	must(unix.Chmod(at("shared"), 0o2775))
	must(os.Mkdir(at("acl"), 0o755))
	must(unix.Setxattr(at("acl"), "system.posix_acl_default", acl(5), 0))
	must(unix.Setxattr(at("acl"), "user.on.a.directory", []byte("1"), 0))

	f, err := os.Create(at("sparse"))
	must(err)
	if err == nil {
		_, err = f.WriteAt([]byte("middle"), 3<<20)
		must(err)
		must(f.Truncate(9 << 20))
		must(f.Close())
	}
	if failed != nil {
		return failed
	}
	old := []unix.Timespec{{Sec: 1_500_000_000, Nsec: 123_456_789}, {Sec: 1_500_000_000, Nsec: 123_456_789}}
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, old, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// fileCapability is the attribute of a file whose program gets one capability (linux/capability.h, struct vfs_cap_data, version 2).
func fileCapability(cap uint) []byte {
	const version2, effective = 0x02000000, 1
	var b []byte
	for _, word := range []uint32{version2 | effective, 1 << cap, 0, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	return b
}

// acl is the attribute of an ACL that gives the owner everything, the group these bits and others everything (linux/posix_acl_xattr.h).
func acl(group uint16) []byte {
	b := []byte{2, 0, 0, 0}
	const userObj, groupObj, other, nobody = 1, 4, 0x20, 0xffffffff
	for _, entry := range [][2]uint16{{userObj, 7}, {groupObj, group}, {other, 7}} {
		b = binary.LittleEndian.AppendUint16(b, entry[0])
		b = binary.LittleEndian.AppendUint16(b, entry[1])
		b = binary.LittleEndian.AppendUint32(b, nobody)
	}
	return b
}
