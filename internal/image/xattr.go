package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	paxXattr   = "SCHILY.xattr."
	defaultACL = "system.posix_acl_default"
)

// xattrSetter is setxattr(2), for /proc/self/fd/N, or lsetxattr(2), for one name below that.
type xattrSetter func(path, name string, value []byte, flags int) error

// setXattrs sets the entry's extended attributes on path. A directory's default ACL goes to *late if that is set: what is unpacked into the directory
// would inherit it.
//
// Refused is what overlayfs would read as its own (trusted.*, user.overlay.*): a layer must not steer lookups. What belongs to the machine and not to the image (labels
// of LSMs, integrity) is left out.
func setXattrs(set xattrSetter, path string, h *tar.Header, late *[]byte) error {
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok {
			continue
		}
		value := []byte(h.PAXRecords[key])
		switch {
		case isOverlayXattr(name):
			return invalid("extended attribute %s: not a layer's to set", quote(name))
		case name == defaultACL && late != nil:
			*late = value
			continue
		case !layerXattr(name):
			continue
		}
		err := setXattr(set, path, name, value, h.Typeflag)
		if err != nil {
			return fmt.Errorf("extended attribute %s: %w", quote(name), err)
		}
	}
	return nil
}

// isOverlayXattr: overlayfs, or another privileged reader, takes it for its own.
func isOverlayXattr(name string) bool {
	return strings.HasPrefix(name, "trusted.") || strings.HasPrefix(name, "user.overlay.")
}

// layerXattr says which attributes are an image's own affair.
func layerXattr(name string) bool {
	return name == "security.capability" || strings.HasPrefix(name, "system.posix_acl_") || strings.HasPrefix(name, "user.") && !isOverlayXattr(name)
}

func setXattr(set xattrSetter, path, name string, value []byte, typeflag byte) error {
	err := set(path, name, value, 0)
	switch {
	case err == nil:
		return nil
	// user.* is for files and directories alone (xattr(7)); an image made elsewhere may say otherwise.
	case errors.Is(err, unix.EPERM) && strings.HasPrefix(name, "user.") && typeflag != tar.TypeReg && typeflag != tar.TypeDir:
		return nil
	case errors.Is(err, unix.ENOTSUP) && name != "security.capability":
		return nil
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ERANGE) || errors.Is(err, unix.E2BIG):
		return invalid("value of %d bytes: %w", len(value), err)
	}
	return err
}
