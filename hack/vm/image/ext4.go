package image

import (
	"context"
	"fmt"
	"os"
)

// Ext4 makes the raw disk image file of size bytes (sparse), with an ext4 file system over the whole of it that holds a copy of the tree below dir; an empty dir makes it empty.
func Ext4(ctx context.Context, file string, size int64, label, dir string) error {
	disk, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = disk.Truncate(size)
	disk.Close()
	if err != nil {
		return fmt.Errorf("make a disk of %d bytes at %s: %w", size, file, err)
	}
	// Everything is initialised here, where zeroes cost nothing, and not by the guest's kernel while the tests run.
	args := []string{"-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", label, "-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"}
	if dir != "" {
		args = append(args, "-d", dir)
	}
	if _, err := run(command(ctx, "mke2fs", append(args, file)...)); err != nil {
		os.Remove(file)
		return fmt.Errorf("make an ext4 disk: %w", err)
	}
	return nil
}
