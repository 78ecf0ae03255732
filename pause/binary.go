package pause

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const binaryName = "podlet-pause"

// openBinary makes the embedded binary a file to execute, which nobody can change: not a container that gets hold of
// /proc/PID/exe either (CVE-2019-5736). It is a sealed memfd or, where vm.memfd_noexec=2 forbids executing those, a file
// on a detached read-only tmpfs.
func openBinary() (*os.File, error) {
	f, err := binaryMemfd()
	if errors.Is(err, unix.EACCES) {
		return binaryTmpfs()
	}
	return f, err
}

// Runs says whether the process executes a pause's or nursery's program, or what calls itself so.
func Runs(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	name := strings.TrimPrefix(strings.TrimSuffix(filepath.Base(exe), " (deleted)"), "memfd:")
	return err == nil && name == binaryName
}

func binaryMemfd() (*os.File, error) {
	f, err := newMemfd(binaryName, unix.MFD_EXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd for %s: %w", binaryName, err)
	}
	if err := fillMemfd(f, []byte(pauseBinary)); err != nil {
		f.Close()
		return nil, fmt.Errorf("memfd for %s: %w", binaryName, err)
	}
	return f, nil
}

// newMemfd makes an empty memfd to be sealed. exec is MFD_EXEC or MFD_NOEXEC_SEAL, which kernels before 6.3 don't know
// and have no use for.
func newMemfd(name string, exec int) (*os.File, error) {
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|exec)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// fillMemfd writes content to f and seals it for good.
func fillMemfd(f *os.File, content []byte) error {
	if _, err := f.Write(content); err != nil {
		return err
	}
	fd, err := fdOf(f)
	if err != nil {
		return err
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	runtime.KeepAlive(f)
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

func binaryTmpfs() (*os.File, error) {
	mnt, err := detachedTmpfs()
	if err != nil {
		return nil, fmt.Errorf("tmpfs for %s: %w", binaryName, err)
	}
	defer unix.Close(mnt)
	if err := writeBinaryAt(mnt); err != nil {
		return nil, fmt.Errorf("tmpfs for %s: %w", binaryName, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(mnt, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return nil, fmt.Errorf("tmpfs for %s: mount_setattr read-only: %w", binaryName, err)
	}
	fd, err := unix.Openat(mnt, binaryName, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("tmpfs for %s: open: %w", binaryName, err)
	}
	return os.NewFile(uintptr(fd), binaryName), nil
}

func detachedTmpfs() (mnt int, err error) {
	ctx, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(ctx)
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, fmt.Errorf("fsconfig create: %w", err)
	}
	mnt, err = unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return -1, fmt.Errorf("fsmount: %w", err)
	}
	return mnt, nil
}

func writeBinaryAt(mnt int) error {
	// A process forked meanwhile would hold the file open for writing until its execve: ours would be ETXTBSY.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Openat(mnt, binaryName, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o500)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	f := os.NewFile(uintptr(fd), binaryName)
	_, err = io.WriteString(f, pauseBinary)
	return errors.Join(err, f.Close())
}

// fdOf is f's number, without the change to blocking mode that f.Fd makes. It is good as long as f is not closed.
func fdOf(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	number := -1
	if raw.Control(func(fd uintptr) { number = int(fd) }) != nil { // for one reason only, whose error is internal to os
		return -1, fmt.Errorf("%s: %w", f.Name(), os.ErrClosed)
	}
	return number, nil
}

// procFD is the path by which this process reaches name in the directory that fd is open on.
func procFD(fd int, name string) string {
	return filepath.Join("/proc/self/fd", strconv.Itoa(fd), name)
}
