package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// fileImported remembers, in the store's directory, what ImportDir imported.
const fileImported = "imported"

// importedFile is one archive of the import directory, as it was.
type importedFile struct {
	Name   string    `json:"name"`
	Size   int64     `json:"size"`
	Time   time.Time `json:"time"` // of its last change
	Images []Digest  `json:"images"`
}

type importedRecord struct {
	// Dir is the directory's absolute path.
	Dir   string         `json:"dir"`
	Files []importedFile `json:"files"`
}

// ImportDir imports every image archive in dir: the tar files in it, plain or compressed, and the OCI image layouts that are directories of their own; names that
// begin with a dot are left out. What has the size and time of last change that it had when it was imported, and whose images are all there, is not
// read again. The images are pinned ([Image.Pinned]) for as long as the store is open. An archive that can't be imported is told to failed and keeps
// none of the others. A dir that isn't there is no error.
//
// The directory and what is in it must belong to podlet's user and be writable by nobody else: who can put an archive there gives any name to any image.
func (s *Store) ImportDir(ctx context.Context, dir string, failed func(file string, err error)) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("import directory: %w", err)
	}
	fi, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = onlyOurs(dir, fi)
	}
	if err != nil {
		return fmt.Errorf("import directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("import directory: %w", err)
	}
	var before importedRecord
	if err := readRecord(s.root, fileImported, &before); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("what was imported from the import directory is not known: all of it is read again", "err", err)
	}
	if before.Dir != dir {
		before.Files = nil
	}
	now := importedRecord{Dir: dir}
	for _, e := range entries {
		if e.Name()[0] == '.' {
			continue
		}
		f, err := s.importFile(ctx, filepath.Join(dir, e.Name()), before.Files)
		if ctx.Err() != nil {
			return fmt.Errorf("import directory %s: %w", dir, context.Cause(ctx))
		}
		if err != nil {
			failed(filepath.Join(dir, e.Name()), err)
			continue
		}
		now.Files = append(now.Files, f)
		s.pinImported(f.Images)
		if err := writeRecord(s.root, fileImported, s.newTmp(), &now); err != nil {
			return fmt.Errorf("remember what was imported from %s: %w", dir, err)
		}
	}
	return nil
}

// importFile imports one archive unless it was imported as it is.
func (s *Store) importFile(ctx context.Context, path string, before []importedFile) (importedFile, error) {
	f := importedFile{Name: filepath.Base(path)}
	// A link is followed: its target's size and time count.
	fi, err := os.Stat(path)
	if err == nil {
		err = onlyOurs(path, fi)
	}
	if err != nil {
		return f, err
	}
	f.Size, f.Time = fi.Size(), fi.ModTime().UTC()
	if fi.IsDir() {
		// A layout changes by its index.
		index := filepath.Join(path, "index.json")
		if fi, err = os.Stat(index); err == nil {
			// It says which names the images get; all else is held to its digests.
			err = onlyOurs(index, fi)
		}
		if err != nil {
			return f, err
		}
		f.Size, f.Time = fi.Size(), fi.ModTime().UTC()
	}
	i := slices.IndexFunc(before, func(o importedFile) bool { return o.Name == f.Name && o.Size == f.Size && o.Time.Equal(f.Time) })
	if i >= 0 && s.hasAll(before[i].Images) {
		return before[i], nil
	}
	s.log.Info("importing images", "file", path)
	images, err := s.Import(ctx, path, ImportOptions{})
	if err != nil {
		return f, err
	}
	for _, img := range images {
		s.log.Info("imported image", "file", path, "image", img.ID, "tags", img.Tags)
		f.Images = append(f.Images, img.ID)
	}
	return f, nil
}

// onlyOurs refuses what another user than podlet's could have written.
func onlyOurs(path string, fi fs.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() || fi.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s must belong to user %d and be writable by nobody else (it has mode %#o): others could have put it there", path, os.Geteuid(), fi.Mode().Perm())
	}
	return nil
}

func (s *Store) hasAll(ids []Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if i := s.mu.images[id]; i == nil || i.Removed {
			return false
		}
	}
	return true
}

func (s *Store) pinImported(ids []Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.mu.imported[id] = true
	}
}
