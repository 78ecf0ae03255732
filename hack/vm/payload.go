package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"podlet/hack/vm/image"
)

// The payload disk as guest-init knows it: the agent, the checkout's path, its tree, which is bound to that path, and the test images, which PODLET_TESTIMAGES names there. Test binaries are beside them.
const (
	payloadAgent    = "agent"
	payloadCheckout = "checkout"
	payloadTree     = "tree"
	payloadImages   = "images"
	payloadTests    = "tests"
	guestPayload    = "/payload"

	agentPackage  = "podlet/hack/vm/agent"
	imagesPackage = "podlet/hack/testimages"
)

// payloadSpare is what the guest may write to the checkout.
const payloadSpare = 1 << 30

// payload is the tree below dir that becomes the payload disk.
type payload struct{ dir string }

// newPayload fills dir with the agent, the checkout and the test images, which the guest, without Go and a network, couldn't make.
func newPayload(ctx context.Context, c checkout, dir string) (payload, error) {
	p := payload{dir}
	if err := os.MkdirAll(filepath.Join(dir, payloadTests), 0o755); err != nil {
		return p, err
	}
	if _, err := output(c.command(ctx, "build", "-ldflags=-s -w", "-o", filepath.Join(dir, payloadAgent), agentPackage)); err != nil {
		return p, err
	}
	// By the host's own go: what runs here must be for here.
	if _, err := output(c.host(ctx, "run", imagesPackage, "-o", filepath.Join(dir, payloadImages))); err != nil {
		return p, fmt.Errorf("make the test images: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, payloadCheckout), []byte(c.top+"\n"), 0o644); err != nil {
		return p, err
	}
	if err := copyTree(filepath.Join(dir, payloadTree), c.top, c.leftOut); err != nil {
		return p, fmt.Errorf("copy the checkout: %w", err)
	}
	return p, nil
}

// leftOut tells what of the checkout the guest does without.
func (c checkout) leftOut(path string) bool {
	return path == filepath.Join(c.top, ".git") || path == c.cache() || path == filepath.Join(c.top, "build", "bench")
}

// disk makes the payload disk at file.
func (p payload) disk(ctx context.Context, file string) error {
	size, err := sizeOf(p.dir)
	if err != nil {
		return err
	}
	return image.Ext4(ctx, file, size+size/8+payloadSpare, "podlet-payload", p.dir)
}

// copyTree copies directories, regular files and links; sockets and the like of running programs mean nothing in the guest. A file that goes away meanwhile was nobody's source.
func copyTree(to, from string, leftOut func(path string) bool) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if leftOut(path) {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		err = copyEntry(filepath.Join(to, below), path, entry)
		if os.IsNotExist(err) {
			return nil
		}
		return err
	})
}

func copyEntry(to, from string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		// Ours to write into, whatever it was; a test that needs other modes makes its own.
		return os.MkdirAll(to, info.Mode().Perm()|0o700)
	case fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case 0:
		return copyFile(to, from, info)
	}
	return nil
}

func copyFile(to, from string, info fs.FileInfo) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	copied, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer copied.Close()
	if _, err := io.Copy(copied, source); err != nil {
		return err
	}
	if err := copied.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	return copied.Close()
}

// sizeOf is what a tree takes on a disk of 4 kB blocks.
func sizeOf(dir string) (int64, error) {
	var size int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		const block = 4096
		size += block // its inode, and its directory's entry
		if info.Mode().IsRegular() {
			size += (info.Size() + block - 1) / block * block
		}
		return nil
	})
	return size, err
}
