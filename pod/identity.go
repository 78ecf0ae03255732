package pod

import (
	"fmt"

	"podlet/internal/image"
	"podlet/internal/mount"
	"podlet/pod/spec"
)

// identity resolves who the container's process is, against the image's own passwd and group files.
func (c *Container) identity(img *image.Image) (*spec.Identity, error) {
	u := c.spec.User
	users, err := c.pod.rt.images.Users(img.ID)
	if err != nil {
		return nil, fmt.Errorf("users of image %s: %w", c.spec.Image, err)
	}
	policy := image.GroupsMerge
	if u.Strict {
		policy = image.GroupsStrict
	}
	id, err := users.Resolve(image.UserRequest{
		ImageUser: img.Config.User, RunAsUser: u.UID, RunAsGroup: u.GID, RunAsUsername: u.Name, SupplementalGroups: u.Groups, Policy: policy,
	})
	if err != nil {
		return nil, fmt.Errorf("user: %w", err)
	}
	return &spec.Identity{UID: id.UID, GID: id.GID, Groups: id.Groups, Home: id.Home}, nil
}

func imageConfig(c *image.Config) *spec.Image {
	return &spec.Image{Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkingDir: c.WorkingDir, StopSignal: c.StopSignal, Volumes: c.Volumes}
}

// hostIdentity are the host's ids of the container's user.
func (c *Container) hostIdentity() (uid, gid int) {
	p := c.process
	if c.pod.spec.UserNS == nil {
		return int(p.UID), int(p.GID)
	}
	return mapped(c.pod.spec.UserNS.UIDs, p.UID), mapped(c.pod.spec.UserNS.GIDs, p.GID)
}

// mapped is the host's id of id, -1 (unchanged, for chown(2)) where it has none: the process can't become it, and says so.
func mapped(list []mount.IDMapping, id uint32) int {
	for _, m := range list {
		if id >= m.ContainerID && id-m.ContainerID < m.Length {
			return int(m.HostID + id - m.ContainerID)
		}
	}
	return -1
}
