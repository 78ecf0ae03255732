package image

import (
	"fmt"
	"io"
	"os"
)

// cpioWriter writes the one archive format that the kernel unpacks as an initramfs: "newc", of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
// An entry is a header of 6 + 13 x 8 characters, the name with its NUL and the contents, each padded to 4 bytes. The first error stays, and end returns it.
type cpioWriter struct {
	w     io.Writer
	inode int
	err   error
}

func (c *cpioWriter) dir(name string) { c.entry(name, 0o040755, nil) }

func (c *cpioWriter) file(name string, permissions int, contents []byte) {
	c.entry(name, 0o100000|permissions, contents)
}

func (c *cpioWriter) copied(name string, permissions int, from string) error {
	contents, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	c.file(name, permissions, contents)
	return c.err
}

func (c *cpioWriter) end() error {
	c.entry("TRAILER!!!", 0, nil)
	return c.err
}

func (c *cpioWriter) entry(name string, mode int, contents []byte) {
	c.inode++
	const links = 1
	// Inode, mode, uid, gid, links, mtime, size, device and rdev as two numbers each, name size, checksum.
	c.write(fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.inode, mode, 0, 0, links, 0, len(contents), 0, 0, 0, 0, len(name)+1, 0))
	const header = 110
	c.write([]byte(name + "\x00"))
	c.pad(header + len(name) + 1)
	c.write(contents)
	c.pad(len(contents))
}

func (c *cpioWriter) pad(written int) { c.write(make([]byte, (4-written%4)%4)) }

func (c *cpioWriter) write(p []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(p)
	}
}
