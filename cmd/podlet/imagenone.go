package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"podlet/internal/image"
)

// haveImages says whether there is a store below o.Root. A root that isn't there is an error: most likely its name was mistyped.
func (o *options) haveImages() (bool, error) {
	if _, err := os.Stat(o.Root); errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("there are no images in %s (--root): there is no such directory", o.Root)
	}
	// Not by the names in it: one that something has been lost of is a store all the same. What else may be wrong with the directory whoever opens it tells.
	fi, err := os.Lstat(o.imagesDir())
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist), nil
	}
	if !fi.IsDir() {
		return true, nil
	}
	list, err := os.ReadDir(o.imagesDir())
	return err != nil || len(list) > 0, nil
}

// noImages is a store that isn't there. It is not for imports, which make one.
type noImages struct{ images }

func (noImages) List(context.Context) ([]image.Image, error) { return nil, nil }

func (noImages) Inspect(_ context.Context, ref string) (image.Details, error) {
	return image.Details{}, notThere(ref)
}

func (noImages) Export(_ context.Context, r exportRequest, _ func(image.LayerProgress)) (exported, error) {
	return exported{}, notThere(r.Refs[0])
}

func (noImages) ExportTo(_ context.Context, _ io.Writer, r exportRequest) error {
	return notThere(r.Refs[0])
}

func (noImages) Remove(_ context.Context, ref string) (image.Image, error) {
	return image.Image{}, notThere(ref)
}

func (noImages) Prune(context.Context, bool) (image.Pruned, error) { return image.Pruned{}, nil }

func (noImages) Close() error { return nil }

func notThere(ref string) error { return fmt.Errorf("image %s: %w", printable(ref), image.ErrNotFound) }
