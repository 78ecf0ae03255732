package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The images of the pull rows are made of this machine's /usr, so that names, sizes and what compresses are a real tree's.
const (
	pullImageBytes = 500 << 20 // of many-layers
	pullLayerBytes = 20 << 20  // of files in one of its layers, which ends after the file that goes beyond
	pullLargest    = 10 << 20  // larger files are left out of it: a layer is a tree and not a file

	bigLayerBytes = 2e9       // of files in big-layer
	bigLayerLeast = 256 << 10 // smaller files are left out of it

	smallFiles     = 100_000  // files in small-files
	smallFilesMost = 16 << 10 // larger ones are left out of it
)

// pullRoots are the directories below /usr that the layers of many-layers are taken from, in turns: programs and libraries, headers and documents, which
// are few large and many small files.
var pullRoots = []string{"bin", "include", "lib", "libexec", "share"}

// manyLayers has 500 MB in layers of 20 MB. Its v2 is an image of the same layers but for the uppermost, which another one takes the place of.
func manyLayers() (*pullImage, error) {
	return cachedImage("many-layers", func(i *pullImage) error {
		pieces, err := piecesOfUsr()
		if err != nil {
			return err
		}
		var layers []pullLayer
		for _, p := range pieces {
			l, err := i.layer(int64(len(p.names)), packUsr(p.names))
			if err != nil {
				return err
			}
			layers = append(layers, l)
		}
		if err := i.tag("v1", layers); err != nil {
			return err
		}
		last := pieces[len(pieces)-1].names
		half, err := i.layer(int64(len(last)/2), packUsr(last[:len(last)/2]))
		if err != nil {
			return err
		}
		return i.tag("v2", append(layers[:len(layers)-1:len(layers)-1], half))
	})
}

// bigLayer has one layer of 2 GB: the large files of /usr, as often as it takes.
func bigLayer() (*pullImage, error) {
	return cachedImage("big-layer", func(i *pullImage) error {
		return i.oneLayer(bigLayerLeast, 1<<40, func(_, bytes int64) bool { return bytes >= bigLayerBytes })
	})
}

// smallFilesLayer has one layer of 100,000 small files in their directories.
func smallFilesLayer() (*pullImage, error) {
	return cachedImage("small-files", func(i *pullImage) error {
		return i.oneLayer(0, smallFilesMost, func(files, _ int64) bool { return files >= smallFiles })
	})
}

// packUsr packs files of /usr with GNU tar.
func packUsr(names []string) func(io.Writer) error {
	return func(w io.Writer) error {
		tar := exec.Command("tar", "--create", "--directory=/usr", "--no-recursion", "--null", "--files-from=-")
		tar.Stdin, tar.Stdout, tar.Stderr = strings.NewReader(strings.Join(names, "\x00")), w, os.Stderr
		if err := tar.Run(); err != nil {
			return fmt.Errorf("tar: %w", err)
		}
		return nil
	}
}

// oneLayer makes the image of one layer: the files of /usr with so many bytes, with their directories, below "0", and then, while it isn't enough, below "1", "2" ….
func (i *pullImage) oneLayer(least, most int64, enough func(files, bytes int64) bool) error {
	var entries int64
	l, err := i.layer(0, func(w io.Writer) (err error) {
		entries, err = packCopies(w, least, most, enough)
		return err
	})
	if err != nil {
		return err
	}
	l.entries = entries
	return i.tag("v1", []pullLayer{l})
}

func packCopies(w io.Writer, least, most int64, enough func(files, bytes int64) bool) (entries int64, err error) {
	to := tar.NewWriter(w)
	var files, bytes int64
	for n := 0; !enough(files, bytes); n++ {
		before := files
		err := filepath.WalkDir("/usr", func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			regular := info.Mode().IsRegular()
			if !info.IsDir() && (!regular || info.Size() < least || info.Size() > most) {
				return nil
			}
			h, err := tar.FileInfoHeader(info, "")
			if err != nil {
				return err
			}
			h.Name = strconv.Itoa(n) + strings.TrimPrefix(path, "/usr")
			if info.IsDir() {
				h.Name += "/"
			}
			if err := to.WriteHeader(h); err != nil {
				return err
			}
			entries++
			if !regular {
				return nil
			}
			files, bytes = files+1, bytes+info.Size()
			if err := copyFileTo(to, path); err != nil {
				return err
			}
			if enough(files, bytes) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		if files == before {
			return 0, fmt.Errorf("/usr has no file of %d to %d bytes", least, most)
		}
	}
	return entries, to.Close()
}

func copyFileTo(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// piece is what one layer is made of: names below /usr, each directory before what is in it.
type piece struct {
	names []string
	bytes int64 // of the files
}

// piecesOfUsr cuts the roots' trees into pieces of about pullLayerBytes and takes one of each root in turns, until there are pullImageBytes.
func piecesOfUsr() (pieces []piece, err error) {
	var queues [][]piece
	for _, root := range pullRoots {
		queue, err := piecesOf(root)
		if err != nil {
			return nil, err
		}
		queues = append(queues, queue)
	}
	for bytes := int64(0); bytes < pullImageBytes; {
		queues = slices.DeleteFunc(queues, func(q []piece) bool { return len(q) == 0 })
		if len(queues) == 0 {
			return nil, fmt.Errorf("/usr has too few files for %d MB", pullImageBytes>>20)
		}
		for i, q := range queues {
			if bytes < pullImageBytes {
				pieces, bytes = append(pieces, q[0]), bytes+q[0].bytes
				queues[i] = q[1:]
			}
		}
	}
	return pieces, nil
}

// piecesOf walks one root, for as many pieces as a whole image takes at most.
func piecesOf(root string) (pieces []piece, err error) {
	var p piece
	err = fs.WalkDir(os.DirFS("/usr"), root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			if info.Size() > pullLargest {
				return nil
			}
			p.bytes += info.Size()
		}
		p.names = append(p.names, path)
		if p.bytes < pullLayerBytes {
			return nil
		}
		pieces, p = append(pieces, p), piece{}
		if len(pieces)*pullLayerBytes >= pullImageBytes {
			return fs.SkipAll
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return pieces, err
}
