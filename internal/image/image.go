package image

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	fileConfig = "config.json"
	filePasswd = "passwd"
	fileGroup  = "group"
)

// imageRecord is what the disk knows of an image, beside the config's own bytes.
type imageRecord struct {
	ID Digest `json:"id"`
	// Tags are full names with a tag ("docker.io/library/busybox:latest"), RepoDigests with a digest. An image may have none.
	Tags        []string `json:"tags"`
	RepoDigests []string `json:"repoDigests"`
	// Layers are diffIDs, the lowest first.
	Layers []Digest `json:"layers"`
	// ConfigBytes is the config's size.
	ConfigBytes int64          `json:"configBytes"`
	Passwd      userFileRecord `json:"passwd"`
	Group       userFileRecord `json:"group"`
	Imported    time.Time      `json:"imported"`
	// Named is when Tags last grew; see settleNames.
	Named time.Time `json:"named"`
	// Removed: the image was removed while a container used it. Nobody sees it any more; its layers stay until its last holder goes.
	Removed bool `json:"removed,omitempty"`
}

// userFileRecord says what import found at /etc/passwd or /etc/group. Digest is that of the copy in the store, zero where the image has no such file.
type userFileRecord struct {
	Digest  Digest `json:"digest,omitzero"`
	Problem string `json:"problem,omitempty"`
}

// imageState is a complete image. It is never changed but by replacing it in Store.mu.images, with Store.commit held.
type imageState struct {
	imageRecord
	config Config
}

func imageDir(id Digest) string { return path.Join(dirImages, id.Hex()) }

func (i *imageState) dir() string { return imageDir(i.ID) }

// Image is what the store says of an image. It is a copy; its slices and maps are shared and must not be changed.
type Image struct {
	// ID is the digest of the image's config, what CRI calls the image's id on the node.
	ID Digest
	// Tags are CRI's repo_tags, Digests its repo_digests.
	Tags, Digests []string
	// Size is what the unpacked layers and the config take on the disk, in bytes; never 0. Layers shared with other images count in each.
	Size     int64
	Config   Config
	Imported time.Time
	// Pinned: the image shouldn't be collected; see [Store.SetPinned] and [Store.ImportDir].
	Pinned bool
	// InUse: some holder has it; see [Store.Hold].
	InUse bool

	layerDirs []string
}

// LayerDirs gives the directories of the image's layers on the host, absolute, the topmost first: what overlayfs wants as lowerdir.
// A layer that the image has twice stands once, since overlayfs refuses one directory twice: what it shows lies in its topmost place.
func (i Image) LayerDirs() []string { return slices.Clone(i.layerDirs) }

// viewLocked makes an Image of an imageState.
func (s *Store) viewLocked(i *imageState) Image {
	v := Image{ID: i.ID, Tags: i.Tags, Digests: i.RepoDigests, Config: i.config, Imported: i.Imported, Size: i.ConfigBytes}
	counted := map[Digest]bool{}
	for _, id := range i.Layers {
		if !counted[id] {
			counted[id] = true
			v.Size += s.mu.layers[id].Bytes
		}
	}
	v.layerDirs = s.layerDirsLocked(i.Layers)
	v.Pinned = s.mu.imported[i.ID] || s.mu.pinned.Has(&v)
	v.InUse = s.inUseLocked(i.ID)
	return v
}

func (s *Store) layerDirsLocked(layers []Digest) []string {
	var dirs []string
	seen := map[Digest]bool{}
	for _, id := range slices.Backward(layers) {
		if seen[id] {
			continue
		}
		seen[id] = true
		dirs = append(dirs, filepath.Join(s.path, layerDir(id), dirDiff))
		if s.mu.layers[id].OpaqueRoot {
			break
		}
	}
	return dirs
}

// List gives all images, ordered by id.
func (s *Store) List() []Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Image
	for _, i := range s.mu.images {
		if !i.Removed {
			all = append(all, s.viewLocked(i))
		}
	}
	slices.SortFunc(all, byID)
	return all
}

func byID(a, b Image) int { return cmp.Compare(a.ID.s, b.ID.s) }

// Get finds an image by name ("busybox", "host/repo:tag", "repo@sha256:…"), by id ("sha256:…" or its digits) or by at least eight digits of an id that
// fit one image alone. A name wins over an id's beginning. The error is ErrNotFound, or ErrInvalid for what can't be a reference.
func (s *Store) Get(ref string) (Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.findLocked(ref)
	if err != nil {
		return Image{}, err
	}
	return s.viewLocked(i), nil
}

func (s *Store) findLocked(ref string) (*imageState, error) {
	hex, whole := idPrefix(ref)
	if whole {
		for id, i := range s.mu.images {
			if !i.Removed && id.Hex() == hex {
				return i, nil
			}
		}
		return nil, fmt.Errorf("image %s: %w", ref, ErrNotFound)
	}
	name, nameErr := NormalizeName(ref)
	if nameErr == nil {
		for _, i := range s.mu.images {
			if !i.Removed && (slices.Contains(i.Tags, name) || slices.Contains(i.RepoDigests, name)) {
				return i, nil
			}
		}
	}
	if hex == "" {
		if nameErr != nil {
			return nil, nameErr
		}
		return nil, fmt.Errorf("image %s: %w", name, ErrNotFound)
	}
	var found *imageState
	for id, i := range s.mu.images {
		if i.Removed || !strings.HasPrefix(id.Hex(), hex) {
			continue
		}
		if found != nil {
			return nil, invalid("image id %s is ambiguous: give more digits", quote(ref))
		}
		found = i
	}
	if found == nil {
		return nil, fmt.Errorf("image %s: %w", quote(ref), ErrNotFound)
	}
	return found, nil
}

// RawConfig gives the config's own bytes.
func (s *Store) RawConfig(id Digest) ([]byte, error) {
	data, err := readFile(s.root, path.Join(imageDir(id), fileConfig), maxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("image %s: %w", id, ErrNotFound)
	}
	if err == nil && !id.matches(data) {
		err = fmt.Errorf("config of image %s is damaged", id)
	}
	return data, err
}

// Users reads the image's own users and groups. It works for an image that was removed while in use as well.
func (s *Store) Users(id Digest) (*Users, error) {
	s.mu.Lock()
	i := s.mu.images[id]
	s.mu.Unlock()
	if i == nil {
		return nil, fmt.Errorf("image %s: %w", id, ErrNotFound)
	}
	passwd, err := s.readUserCopy(i.dir(), filePasswd, i.Passwd)
	if err != nil {
		return nil, err
	}
	group, err := s.readUserCopy(i.dir(), fileGroup, i.Group)
	if err != nil {
		return nil, err
	}
	return &Users{passwd: passwd, group: group}, nil
}

func (s *Store) readUserCopy(dir, name string, r userFileRecord) (userFile, error) {
	f := userFile{path: "/etc/" + name, problem: r.Problem}
	if r.Digest.IsZero() {
		return f, nil
	}
	data, err := readFile(s.root, path.Join(dir, name), maxUserFileBytes)
	if err != nil {
		return f, fmt.Errorf("the store's copy of %s: %w", f.path, err)
	}
	if !r.Digest.matches(data) {
		return f, fmt.Errorf("the store's copy of %s of image %s is damaged", f.path, path.Base(dir))
	}
	f.data = data
	return f, nil
}

// loadImage reads an image back and verifies all its files.
func (s *Store) loadImage(name string) (*imageState, error) {
	id, err := digestFromHex(path.Base(name))
	if err != nil {
		return nil, err
	}
	var i imageState
	if err := readRecord(s.root, path.Join(name, fileRecord), &i.imageRecord); err != nil {
		return nil, err
	}
	if i.ID != id {
		return nil, fmt.Errorf("its record is another image's: %s", i.ID)
	}
	raw, err := s.RawConfig(id)
	if err != nil {
		return nil, err
	}
	if i.config, err = parseConfig(raw); err != nil {
		return nil, err
	}
	if !slices.Equal(i.config.diffIDs, i.Layers) {
		return nil, errors.New("its record and its config list different layers")
	}
	for file, r := range map[string]userFileRecord{filePasswd: i.Passwd, fileGroup: i.Group} {
		if _, err := s.readUserCopy(name, file, r); err != nil {
			return nil, err
		}
	}
	return &i, nil
}
