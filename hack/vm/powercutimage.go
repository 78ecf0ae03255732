package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"podlet/hack/testimages/testimage"
	"podlet/hack/tree"
)

// makeCutImage writes an image of three layers into dir/layout: large files, many small ones, and one of every kind; and what GNU tar makes of each into dir/trees, by diffID.
func makeCutImage(ctx context.Context, dir string) error {
	odd, err := os.MkdirTemp(dir, "odd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(odd)
	if err := tree.Make(odd); err != nil {
		return fmt.Errorf("make files of every kind: %w", err)
	}
	large, err := filesBelow("/usr", "bin", 64<<10, 1<<30, 10_000, 20<<20)
	if err != nil {
		return err
	}
	small, err := filesBelow("/usr", "share", 0, 16<<10, 2000, 1<<30)
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "trees"), 0o755); err != nil {
		return err
	}
	image := testimage.Image{Names: []string{"cut/image:v1"}}
	for _, from := range []struct {
		dir   string
		names []string
	}{{"/usr", large}, {"/usr", small}, {odd, []string{"."}}} {
		args := []string{"-c", "--format=posix", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", from.dir}
		if len(from.names) > 1 {
			args = append(args, "--no-recursion")
		}
		args = append(args, "--null", "--files-from=-")
		pack := exec.CommandContext(ctx, "tar", args...)
		pack.Stdin = strings.NewReader(strings.Join(from.names, "\x00"))
		layer, err := output(pack)
		if err != nil {
			return err
		}
		image.Layers = append(image.Layers, testimage.Layer{Tar: layer, Compression: testimage.Gzip})
		if err := describeLayer(ctx, layer, dir); err != nil {
			return err
		}
	}
	return image.WriteLayout(filepath.Join(dir, "layout"))
}

// describeLayer has GNU tar unpack the layer and writes what came of it.
func describeLayer(ctx context.Context, layer []byte, dir string) error {
	root, err := os.MkdirTemp(dir, "unpacked-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	if err := os.Chmod(root, 0o755); err != nil {
		return err
	}
	unpack := exec.CommandContext(ctx, "tar", "-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", root)
	unpack.Stdin = strings.NewReader(string(layer))
	if _, err := output(unpack); err != nil {
		return err
	}
	text, err := tree.Describe(root)
	if err != nil {
		return err
	}
	diffID := strings.TrimPrefix(testimage.Digest(layer), "sha256:")
	return os.WriteFile(filepath.Join(dir, "trees", diffID), []byte(text), 0o644)
}

// filesBelow gives the directories below root/sub and the regular files whose size is in bounds, up to so many of them or so many bytes, as names below root.
func filesBelow(root, sub string, least, most int64, files int, bytes int64) (names []string, err error) {
	err = fs.WalkDir(os.DirFS(root), sub, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			names = append(names, path)
			return nil
		}
		if !info.Mode().IsRegular() || info.Size() < least || info.Size() > most {
			return nil
		}
		names, files, bytes = append(names, path), files-1, bytes-info.Size()
		if files <= 0 || bytes <= 0 {
			return fs.SkipAll
		}
		return nil
	})
	return names, err
}
