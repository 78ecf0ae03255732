package pod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"podlet/internal/mount"
)

// volumeHolder is who holds the image of a container's i-th mount: package image knows one image a holder.
func (c *Container) volumeHolder(i int) string { return c.id + "/" + strconv.Itoa(i) }

// findVolumeImages finds the images that the container's mounts name, notes their ids in its spec, holds them, and makes sure that
// what is to be mounted of them is there.
func (c *Container) findVolumeImages() error {
	for i := range c.spec.Mounts {
		v := &c.spec.Mounts[i]
		if v.Image == "" {
			continue
		}
		img, err := c.pod.rt.images.Hold(v.Image, c.volumeHolder(i))
		if err != nil {
			return fmt.Errorf("mount on %s: image %q: %w", v.Target, v.Image, err)
		}
		v.ImageID = img.ID.String()
		if v.ImageSubPath == "" {
			continue
		}
		m, _, err := c.imageVolume(i)
		if err != nil {
			return fmt.Errorf("mount of image %s on %s: %w", v.Image, v.Target, err)
		}
		m.Close()
	}
	return nil
}

// imageVolume mounts the tree, or the part of it, of the image that the i-th mount names. Its ids are those in the image: mapped as the mount
// says, else as the pod's are.
func (c *Container) imageVolume(i int) (m *os.File, isDir bool, err error) {
	v := c.spec.Mounts[i]
	img, err := c.pod.rt.images.Hold(v.ImageID, c.volumeHolder(i))
	if err != nil {
		return nil, false, fmt.Errorf("image %s: %w", v.Image, err)
	}
	ids := v.IDMap
	if ids == nil {
		ids = c.pod.spec.UserNS
	}
	userns, err := c.idMapping(ids)
	if err != nil {
		return nil, false, err
	}
	if userns != nil {
		defer userns.Close()
	}
	m, err = c.pod.rt.mounts.Overlay(mount.OverlayConfig{Lower: img.LayerDirs(), UserNS: userns, NoExec: v.NoExec, NoSuid: v.NoSuid, NoDev: v.NoDev})
	if err != nil || v.ImageSubPath == "" {
		return m, true, err
	}
	defer m.Close()
	sub, isDir, err := c.pod.rt.mounts.Sub(m, v.ImageSubPath)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return sub, isDir, err
}

// holdVolumeImages is what a new podlet does for a container it finds.
func (c *Container) holdVolumeImages() {
	for i, v := range c.spec.Mounts {
		if v.Image == "" {
			continue
		}
		if _, err := c.pod.rt.images.Hold(v.ImageID, c.volumeHolder(i)); err != nil {
			c.pod.rt.log.Warn("the image of a container's volume is lost", "container", c.name(), "image", v.Image, "error", err)
		}
	}
}

// releaseImages lets go of all images that the container holds.
func (c *Container) releaseImages() {
	c.pod.rt.images.Release(c.id)
	for i, v := range c.spec.Mounts {
		if v.Image != "" {
			c.pod.rt.images.Release(c.volumeHolder(i))
		}
	}
}
