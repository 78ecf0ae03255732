package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"podlet/internal/image"
)

// images is the image store, as podlet's commands use it: opened by themselves, or by the podlet that serves and has it locked. What tells how far it is does so from
// one goroutine at a time.
type images interface {
	Import(ctx context.Context, path, name string, report func(image.LayerProgress)) ([]image.Image, error)
	ImportReader(ctx context.Context, r io.Reader, name string, report func(image.LayerProgress)) ([]image.Image, error)
	Export(ctx context.Context, r exportRequest, report func(image.LayerProgress)) (exported, error)
	// ExportTo writes the tar to w; r's path is not looked at.
	ExportTo(ctx context.Context, w io.Writer, r exportRequest) error
	List(ctx context.Context) ([]image.Image, error)
	Inspect(ctx context.Context, ref string) (image.Details, error)
	// Remove gives the image that was removed.
	Remove(ctx context.Context, ref string) (image.Image, error)
	Prune(ctx context.Context, untaggedOnly bool) (image.Pruned, error)
	Close() error
}

// exportRequest says what is exported where to: an absolute path, or one relative to the working directory.
type exportRequest struct {
	Path        string
	Refs        []string
	Compression image.Compression
}

// openOrMake opens the store below o.Root, or speaks to the podlet that has it. Where there is none, it makes one.
func openOrMake(o *options) (images, error) {
	store, err := image.Open(o.imagesDir())
	if errors.Is(err, image.ErrLocked) {
		return servedImages{newJobClient(o.State)}, nil
	}
	if err != nil {
		return nil, err
	}
	return ownImages{store}, nil
}

// openExisting is openOrMake for what brings no image: it makes nothing.
func openExisting(o *options) (images, error) {
	there, err := o.haveImages()
	if err != nil {
		return nil, err
	}
	if !there {
		return noImages{}, nil
	}
	return openOrMake(o)
}

type ownImages struct{ store *image.Store }

func (s ownImages) Import(ctx context.Context, path, name string, report func(image.LayerProgress)) ([]image.Image, error) {
	return s.store.Import(ctx, path, image.ImportOptions{Name: name, Progress: report})
}

func (s ownImages) ImportReader(ctx context.Context, r io.Reader, name string, report func(image.LayerProgress)) ([]image.Image, error) {
	return s.store.ImportReader(ctx, r, image.ImportOptions{Name: name, Progress: report})
}

func (s ownImages) Export(ctx context.Context, r exportRequest, report func(image.LayerProgress)) (exported, error) {
	return export(ctx, s.store, r, report)
}

func (s ownImages) ExportTo(ctx context.Context, w io.Writer, r exportRequest) error {
	return s.store.ExportTar(ctx, w, r.Refs, image.ExportOptions{Compression: r.Compression})
}

// export writes the images to where the request says. A tar appears at its name when it is whole.
func export(ctx context.Context, s *image.Store, r exportRequest, report func(image.LayerProgress)) (exported, error) {
	options := image.ExportOptions{Compression: r.Compression, Progress: report}
	if isLayoutDir(r.Path) {
		return exported{Path: r.Path}, s.ExportDir(ctx, r.Path, r.Refs, options)
	}
	f, err := os.CreateTemp(filepath.Dir(r.Path), "."+filepath.Base(r.Path)+".")
	if err != nil {
		return exported{}, err
	}
	defer f.Close()
	err = s.ExportTar(ctx, f, r.Refs, options)
	if err == nil {
		err = f.Chmod(0o644)
	}
	var size int64
	if err == nil {
		size, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil {
		err = os.Rename(f.Name(), r.Path)
	}
	if err != nil {
		os.Remove(f.Name())
		return exported{}, err
	}
	return exported{Path: r.Path, Bytes: size}, nil
}

func (s ownImages) List(context.Context) ([]image.Image, error) { return s.store.List(), nil }

func (s ownImages) Inspect(_ context.Context, ref string) (image.Details, error) {
	return s.store.Inspect(ref)
}

func (s ownImages) Remove(_ context.Context, ref string) (image.Image, error) {
	return removeImage(s.store, ref)
}

func removeImage(s *image.Store, ref string) (image.Image, error) {
	img, err := s.Get(ref)
	if err != nil {
		return image.Image{}, err
	}
	return img, s.Remove(img.ID.String())
}

func (s ownImages) Prune(_ context.Context, untaggedOnly bool) (image.Pruned, error) {
	return s.store.Prune(untaggedOnly)
}

func (s ownImages) Close() error { return s.store.Close() }

// checkImages checks the store below o.Root, or has the podlet that serves do it. A store is not opened for it: to open one mends some of what is to be found.
func checkImages(ctx context.Context, o *options, r checkRequest, report func(checkProgress)) (*image.CheckReport, error) {
	if there, err := o.haveImages(); err != nil || !there {
		return &image.CheckReport{}, err
	}
	own := checkOptions(r, report)
	own.Wait = func() string { return podsLeft(o.Root) }
	found, err := image.Check(ctx, o.imagesDir(), own)
	if !errors.Is(err, image.ErrLocked) {
		return found, err
	}
	served := servedImages{newJobClient(o.State)}
	defer served.Close()
	return served.Check(ctx, r, report)
}

// podsLeft says why a store that nobody serves must stay as it is: containers whose podlet was stopped run on with their images' layers mounted.
func podsLeft(root string) string {
	left, err := os.ReadDir(filepath.Join(root, "containers"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "it is not known what containers use: " + err.Error()
	}
	if len(left) == 0 {
		return ""
	}
	return "there are containers, and no podlet that knows what they use: start one, and repair then"
}

func checkOptions(r checkRequest, report func(checkProgress)) image.CheckOptions {
	return image.CheckOptions{Deep: r.Deep, Repair: r.Repair, Progress: func(layer, layers int) { report(checkProgress{layer, layers}) }}
}
