package image

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// sources are this package's own: what makes the disks is part of what they are made from.
//
//go:embed *.go guest-init initramfs-init
var sources embed.FS

// Key names what Ensure makes: a hash of this package's sources (the scripts and lists of packages with them) and of the Debian release that they come from.
//
// The packages' versions are no part of it, so that a security update doesn't cost every developer a rebuild on the spot; delete the cache directory to get newer ones. Which ones it has stands in its file "packages".
func Key() (string, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	return keyOf(sources, codename(string(release)))
}

func keyOf(sources fs.FS, release string) (string, error) {
	hash := sha256.New()
	fmt.Fprintf(hash, "%d %s", len(release), release)
	err := fs.WalkDir(sources, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(sources, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(hash, "%d %s%d ", len(path), path, len(text))
		hash.Write(text)
		return nil
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)[:8]), nil
}

// codename finds the release's name in the text of /etc/os-release; empty where there is none, as on Debian unstable.
func codename(release string) string {
	for line := range strings.Lines(release) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}
