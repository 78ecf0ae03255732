package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// merged are the top-level directories that are links into /usr; packages of Debian 12 still ship files below the old names.
var merged = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

// unpack lays archives over each other below root.
func unpack(ctx context.Context, root string, archives []string) error {
	for _, name := range merged {
		if err := os.MkdirAll(filepath.Join(root, "usr", name), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil {
			return err
		}
	}
	for _, archive := range archives {
		if err := unpackOne(ctx, root, archive); err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(archive), err)
		}
	}
	return nil
}

func unpackOne(ctx context.Context, root, archive string) error {
	from := command(ctx, "dpkg-deb", "--fsys-tarfile", archive)
	// Nobody reads these in the guest, and they are two thirds of the files.
	to := command(ctx, "tar", "-x", "-C", root, "--keep-directory-symlink", "--numeric-owner", "--same-owner", "--same-permissions",
		"--exclude=./usr/share/doc", "--exclude=./usr/share/man", "--exclude=./usr/share/locale", "--exclude=./usr/share/info", "--exclude=./usr/share/lintian")
	pipe, err := from.StdoutPipe()
	if err != nil {
		return err
	}
	to.Stdin = pipe
	if err := from.Start(); err != nil {
		return err
	}
	_, err = run(to)
	// With tar dead, dpkg-deb ends by SIGPIPE as its only reader goes.
	pipe.Close()
	return errors.Join(err, from.Wait())
}

// configure writes what the packages' maintainer scripts would have, as far as the guest wants it.
func configure(ctx context.Context, root string) error {
	for _, copied := range [][2]string{
		{"usr/share/base-passwd/passwd.master", "etc/passwd"},
		{"usr/share/base-passwd/group.master", "etc/group"},
		{"usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf"},
	} {
		text, err := os.ReadFile(filepath.Join(root, copied[0]))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, copied[1]), text, 0o644); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"etc/hostname":    "podlet-vm\n",
		"etc/hosts":       "127.0.0.1 localhost podlet-vm\n::1 localhost\n",
		"etc/resolv.conf": "",
		"etc/machine-id":  strings.Repeat("0f", 16) + "\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"etc/mtab":    "../proc/self/mounts",
		"usr/bin/awk": "mawk",
		// CNI's portmap plugin runs them by these names.
		"usr/sbin/iptables":  "iptables-nft",
		"usr/sbin/ip6tables": "ip6tables-nft",
		"var/run":            "/run",
		"var/lock":           "/run/lock",
	} {
		path := filepath.Join(root, name)
		// base-files has empty directories for some, which its script replaces.
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Symlink(target, path); err != nil {
			return err
		}
	}
	for _, dir := range []struct {
		name string
		mode os.FileMode
	}{
		{"dev", 0o755}, {"proc", 0o755}, {"sys", 0o755}, {"run", 0o755}, {"mnt", 0o755}, {"media", 0o755},
		{"home", 0o755}, {"opt", 0o755}, {"srv", 0o755}, {"usr/local/bin", 0o755}, {"root", 0o700},
		{"tmp", 0o777 | os.ModeSticky}, {"var/tmp", 0o777 | os.ModeSticky},
	} {
		path := filepath.Join(root, dir.name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(path, dir.mode); err != nil {
			return err
		}
	}
	text, err := sources.ReadFile("guest-init")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "usr/sbin/init"), text, 0o755); err != nil {
		return err
	}
	return within(ctx, root, "/sbin/ldconfig")
}

// within runs a program of root with root as its root directory: the host may have none of its own. It needs no mounts there.
func within(ctx context.Context, root string, args ...string) error {
	cmd := command(ctx, args[0], args[1:]...)
	cmd.Err = nil // LookPath looked on the host
	cmd.Path, cmd.Dir = args[0], "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	_, err := run(cmd)
	return err
}
