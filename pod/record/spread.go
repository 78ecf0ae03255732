package record

import (
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// topDir is FS_TOPDIR_FL of linux/fs.h: chattr(1)'s T.
const topDir = 0x20000

// Spread tells the file system that what lies in the directories made in dir has nothing to do with each other, so that ext4 gives each its
// place elsewhere on the disk.
//
// Else it looks for a free inode in the block group of the directory above, from the group's start, and passes over each one deleted within
// the last minute or five (recently_deleted in fs/ext4/ialloc.c): where pods come and go, every file is made slower by all that went
// before. At 100 pods a second that was 40 % of all CPU time. The price is that the bitmaps of more groups are read, once each: on a disk
// of 250 GB of some hundred. Other file systems have no such flag and need none.
func Spread(dir *os.File, logger *slog.Logger) {
	fd := int(dir.Fd())
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err == nil && flags&topDir == 0 {
		err = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|topDir)
	}
	if err != nil {
		logger.Debug("the file system has no flag to spread directories", "path", dir.Name(), "error", err)
	}
}
