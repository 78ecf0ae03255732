package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"podlet/internal/mount"
)

// ImportOptions says how an archive is imported.
type ImportOptions struct {
	// Name names the image of an archive that holds one, instead of what the archive says, or completes tags that the archive has without a name. "": the archive's own names.
	Name string
	// Progress, if set, is told how far a layer is, by one goroutine at a time.
	Progress func(LayerProgress)
}

// Import imports the images at path for this node's platform: an OCI image layout (directory or tar) or a docker-archive (the tar of "docker save"), the tars plain or
// compressed with gzip or zstd. Images that are there already only gain the names. Of an archive that is malformed, or whose digests don't fit, nothing is imported
// and the error is ErrInvalid; of an archive of several images, those before the bad one stay.
func (s *Store) Import(ctx context.Context, path string, o ImportOptions) ([]Image, error) {
	a, err := s.openArchive(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", path, err)
	}
	defer a.Close()
	images, err := s.importArchive(ctx, a, o)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", path, err)
	}
	return images, nil
}

// ImportReader is Import for a tar that comes from r. It is kept on the store's disk while it is imported.
func (s *Store) ImportReader(ctx context.Context, r io.Reader, o ImportOptions) ([]Image, error) {
	a, err := s.spoolArchive(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	defer a.Close()
	images, err := s.importArchive(ctx, a, o)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return images, nil
}

func (s *Store) importArchive(ctx context.Context, a archive, o ImportOptions) ([]Image, error) {
	if o.Name != "" {
		if _, err := NormalizeName(o.Name); err != nil {
			return nil, err
		}
	}
	all, err := readArchive(a, o.Name)
	if err != nil {
		return nil, err
	}
	if err := nameFound(all, o.Name); err != nil {
		return nil, err
	}
	var images []Image
	for _, f := range all {
		img, err := s.importOne(ctx, a, f, o)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", f.names[0], err)
		}
		images = append(images, img)
	}
	return images, nil
}

func readArchive(a archive, base string) ([]*found, error) {
	r, _, err := a.open("index.json")
	if errors.Is(err, fs.ErrNotExist) {
		all, err := readDockerArchive(a)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, invalid("neither an OCI image layout (index.json) nor a docker-archive (manifest.json): %w", err)
		}
		return all, err
	}
	if err != nil {
		return nil, err
	}
	r.Close()
	return readLayout(a, base)
}

// nameFound gives each image a name.
func nameFound(all []*found, name string) error {
	if name != "" && len(all) == 1 {
		full, err := NormalizeName(name)
		if err != nil {
			return err
		}
		all[0].names = []string{full}
	}
	for _, f := range all {
		if name != "" && len(all) > 1 && !f.under(name) {
			return invalid("%d images in the archive, with names of their own: %s can be the name of one alone", len(all), quote(name))
		}
		if len(f.names) == 0 {
			return invalid("image %s has no name in the archive: give one", digestOf(f.config))
		}
		if slices.ContainsFunc(f.names, hasDigest) {
			return invalid("image name %s: want a tag, a digest can't be given", f.names[0])
		}
	}
	return nil
}

// under reports whether all names are tags of name's repository.
func (f *found) under(name string) bool {
	for _, n := range f.names {
		_, tag, _ := strings.Cut(n[strings.LastIndexByte(n, '/')+1:], ":")
		if full, err := withTag(name, tag); err != nil || full != n {
			return false
		}
	}
	return true
}

func (s *Store) importOne(ctx context.Context, a archive, f *found, o ImportOptions) (Image, error) {
	config, err := parseConfig(f.config)
	if err != nil {
		return Image{}, err
	}
	if len(config.diffIDs) != len(f.layers) {
		return Image{}, invalid("%d layers in the manifest, %d in the config", len(f.layers), len(config.diffIDs))
	}
	p := platform{OS: config.OS, Architecture: config.Architecture}
	if p.rank() == 0 {
		return Image{}, invalid("it is for %s, this node is %s", quote(p.String()), &hostPlatform)
	}
	pins := s.Pins()
	defer pins.Release()
	var sizes []int64
	for _, l := range f.layers {
		sizes = append(sizes, l.size)
	}
	progress := oneAtATime(o.Progress)
	err = s.eachLayer(ctx, layersAtATime, sizes, func(ctx context.Context, i int) error {
		return s.EnsureLayer(ctx, pins, f.layers[i].source(a, config.diffIDs[i], progress))
	})
	if err != nil {
		return Image{}, err
	}
	return s.AddImage(ctx, f.config, f.names, f.target)
}

// source is where the layer's bytes come from.
func (l *foundLayer) source(a archive, diffID Digest, progress func(LayerProgress)) LayerSource {
	return LayerSource{
		DiffID: diffID, Blob: l.blob, Size: l.size, Progress: progress,
		Open: func(context.Context) (io.ReadCloser, error) {
			r, size, err := a.open(l.file)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, invalid("not in the archive: %w", err)
			}
			if err == nil && l.size >= 0 && size != l.size {
				r.Close()
				return nil, invalid("%d bytes: its descriptor says %d", size, l.size)
			}
			return r, err
		},
	}
}

// oneAtATime makes a function for several goroutines of one that is for one; nil stays nil.
func oneAtATime(progress func(LayerProgress)) func(LayerProgress) {
	if progress == nil {
		return nil
	}
	var mu sync.Mutex
	return func(p LayerProgress) {
		mu.Lock()
		defer mu.Unlock()
		progress(p)
	}
}

// AddImage makes an image of layers that are there (and pinned by the caller), or gives one that is there more names. config is the image's config; names are names with a tag, of which other images lose
// those they had; manifest, unless zero, is the digest of the manifest or index that the names lead to.
func (s *Store) AddImage(ctx context.Context, config []byte, names []string, manifest Digest) (Image, error) {
	parsed, err := parseConfig(config)
	if err != nil {
		return Image{}, err
	}
	fresh := &imageState{config: parsed, imageRecord: imageRecord{
		ID: digestOf(config), Layers: parsed.diffIDs, ConfigBytes: int64(len(config)), Imported: time.Now().UTC(), Named: time.Now().UTC(),
	}}
	for _, n := range names {
		full, err := NormalizeName(n)
		if err != nil {
			return Image{}, err
		}
		fresh.Tags = appendNew(fresh.Tags, full)
		if !manifest.IsZero() {
			digested, err := withDigest(full, manifest)
			if err != nil {
				return Image{}, err
			}
			fresh.RepoDigests = appendNew(fresh.RepoDigests, digested)
		}
	}
	s.mu.Lock()
	missing := s.missingLayer(fresh)
	s.mu.Unlock()
	if !missing.IsZero() {
		return Image{}, fmt.Errorf("layer %s is not in the store", missing)
	}
	defer s.wakeSync()
	if err := s.settleLayers(fresh.Layers); err != nil {
		return Image{}, err
	}
	users, err := s.readUsers(fresh.Layers)
	if err != nil {
		return Image{}, err
	}
	if ctx.Err() != nil {
		return Image{}, context.Cause(ctx)
	}
	return s.commitImage(fresh, config, users)
}

// readUsers reads the image's users from its layers as a container would see them: through an overlay mount of its own, gone when this returns.
func (s *Store) readUsers(layers []Digest) (*Users, error) {
	s.mu.Lock()
	dirs := s.layerDirsLocked(layers)
	s.mu.Unlock()
	root, err := s.mounter.Overlay(mount.OverlayConfig{Lower: dirs, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("mount the image to read its users: %w", err)
	}
	defer root.Close()
	var u Users
	if u.passwd, err = readUserFile(root, "/etc/passwd"); err != nil {
		return nil, err
	}
	if u.group, err = readUserFile(root, "/etc/group"); err != nil {
		return nil, err
	}
	return &u, nil
}

// commitImage makes the image visible: its files first, then its directory by a rename, then the names' loss at other images.
func (s *Store) commitImage(fresh *imageState, config []byte, users *Users) (Image, error) {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.Lock()
	old := s.mu.images[fresh.ID]
	s.mu.Unlock()
	if old == nil {
		if err := s.writeImage(fresh, config, users); err != nil {
			return Image{}, fmt.Errorf("write image %s: %w", fresh.ID, err)
		}
	} else {
		more := *old
		more.Tags, more.RepoDigests = slices.Clone(old.Tags), slices.Clone(old.RepoDigests)
		for _, n := range fresh.Tags {
			more.Tags = appendNew(more.Tags, n)
		}
		for _, n := range fresh.RepoDigests {
			more.RepoDigests = appendNew(more.RepoDigests, n)
		}
		more.Named, more.Removed = fresh.Named, false
		if err := s.saveRecord(&more); err != nil {
			return Image{}, err
		}
		fresh = &more
	}
	s.step("image in place")
	s.mu.Lock()
	s.mu.images[fresh.ID] = fresh
	s.mu.Unlock()
	s.takeNames(fresh)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.viewLocked(fresh), nil
}

func (s *Store) writeImage(i *imageState, config []byte, users *Users) (err error) {
	tmp := s.newTmp()
	defer func() {
		if err != nil {
			s.removeAll([]string{tmp})
		}
	}()
	if err := s.root.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	if err := writeFile(s.root, path.Join(tmp, fileConfig), config); err != nil {
		return err
	}
	if i.Passwd, err = s.writeUserCopy(path.Join(tmp, filePasswd), &users.passwd); err != nil {
		return err
	}
	if i.Group, err = s.writeUserCopy(path.Join(tmp, fileGroup), &users.group); err != nil {
		return err
	}
	data, err := encodeRecord(&i.imageRecord)
	if err != nil {
		return err
	}
	if err := writeFile(s.root, path.Join(tmp, fileRecord), data); err != nil {
		return err
	}
	s.step("image recorded")
	// Debris that discard couldn't move: no image the store knows has this name.
	if err := s.root.RemoveAll(i.dir()); err != nil {
		return err
	}
	return s.root.Rename(tmp, i.dir())
}

func (s *Store) writeUserCopy(name string, f *userFile) (userFileRecord, error) {
	if f.data == nil {
		return userFileRecord{Problem: f.problem}, nil
	}
	return userFileRecord{Digest: digestOf(f.data)}, writeFile(s.root, name, f.data)
}

// takeNames takes i's names from all other images.
func (s *Store) takeNames(i *imageState) {
	s.mu.Lock()
	var losers []*imageState
	for _, other := range s.mu.images {
		if other.ID != i.ID && slices.ContainsFunc(other.Tags, func(n string) bool { return slices.Contains(i.Tags, n) }) {
			fewer := *other
			fewer.Tags = slices.DeleteFunc(slices.Clone(other.Tags), func(n string) bool { return slices.Contains(i.Tags, n) })
			s.mu.images[other.ID] = &fewer
			losers = append(losers, &fewer)
		}
	}
	s.mu.Unlock()
	for _, l := range losers {
		s.step("name lost")
		// Should this fail, the next Open settles it: i was named later.
		if err := s.saveRecord(l); err != nil {
			s.log.Warn("an image that lost a name could not be told", "image", l.ID, "err", err)
		}
	}
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
