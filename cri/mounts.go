package cri

import (
	"errors"
	"path"
	"path/filepath"
	"slices"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/mount"
	"podlet/pod/spec"
)

// procTargets are the entries of /proc that something may be mounted over (lxcfs does); everything else there is the kernel's word.
var procTargets = []string{
	"/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/slabinfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
}

func mounts(list []*cri.Mount) ([]spec.Mount, error) {
	var out []spec.Mount
	for _, m := range list {
		v, err := oneMount(m)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(other spec.Mount) bool { return other.Target == v.Target }) {
			return nil, invalid("two mounts on %s", v.Target)
		}
		out = append(out, v)
	}
	return out, nil
}

func oneMount(m *cri.Mount) (spec.Mount, error) {
	v := spec.Mount{Source: m.HostPath, ReadOnly: m.Readonly, RecursiveReadOnly: m.RecursiveReadOnly}
	// selinux_relabel is set by kubelets on every volume; without SELinux there is no label to change.
	if m.ContainerPath == "" || strings.ContainsRune(m.ContainerPath+m.HostPath, 0) {
		return v, invalid("mount of %q on %q", m.HostPath, m.ContainerPath)
	}
	if err := imageVolume(m, &v); err != nil {
		return v, err
	}
	if v.Image == "" && !path.IsAbs(m.HostPath) {
		return v, invalid("mount on %s: host_path %q is not absolute", m.ContainerPath, m.HostPath)
	}
	v.Target = path.Join("/", m.ContainerPath)
	if err := mountOptions(m.MountOptions, &v); err != nil {
		return v, err
	}
	if v.Target == "/" || v.Target == "/proc" {
		return v, invalid("mount on %s", v.Target)
	}
	if strings.HasPrefix(v.Target, "/proc/") && !slices.Contains(procTargets, v.Target) {
		return v, invalid("mount on %s: only %s may be mounted over", v.Target, strings.Join(procTargets, ", "))
	}
	switch m.Propagation {
	case cri.MountPropagation_PROPAGATION_PRIVATE:
		v.Propagation = mount.Private
	case cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER:
		v.Propagation = mount.HostToContainer
	case cri.MountPropagation_PROPAGATION_BIDIRECTIONAL:
		v.Propagation = mount.Bidirectional
	default:
		return v, invalid("propagation %v of the mount on %s", m.Propagation, v.Target)
	}
	if v.RecursiveReadOnly && (!v.ReadOnly || v.Propagation != mount.Private) {
		return v, invalid("recursive_read_only of the mount on %s wants readonly and private propagation (KEP-3857)", v.Target)
	}
	if (len(m.UidMappings) > 0) != (len(m.GidMappings) > 0) {
		return v, invalid("mount on %s has mappings for only one of uids and gids", v.Target)
	}
	if len(m.UidMappings) > 0 {
		v.IDMap = &spec.IDMap{UIDs: mappings(m.UidMappings), GIDs: mappings(m.GidMappings)}
		return v, errors.Join(checkMappings("uid", v.IDMap.UIDs), checkMappings("gid", v.IDMap.GIDs))
	}
	return v, nil
}

// mountOptions reads the options that a pod can ask for (KEP-5855). A kubelet sends no others.
func mountOptions(options []string, v *spec.Mount) error {
	for _, o := range options {
		switch o {
		case "noexec":
			v.NoExec = true
		case "nosuid":
			v.NoSuid = true
		case "nodev":
			v.NoDev = true
		default:
			return unsupported("mount_options %.100q of the mount on %s (what is: noexec, nosuid, nodev)", o, v.Target)
		}
	}
	return nil
}

// imageVolume reads the part of a mount that says that its source is an image (KEP-4639).
func imageVolume(m *cri.Mount, v *spec.Mount) error {
	v.Image, v.UserImage, v.ImageSubPath = m.Image.GetImage(), m.Image.GetUserSpecifiedImage(), m.ImageSubPath
	if v.Image == "" {
		if v.ImageSubPath != "" {
			return invalid("mount on %s: image_sub_path %q without an image", m.ContainerPath, v.ImageSubPath)
		}
		return nil
	}
	if m.HostPath != "" {
		return invalid("mount on %s: both an image and the host_path %q", m.ContainerPath, m.HostPath)
	}
	if !m.Readonly || m.Propagation == cri.MountPropagation_PROPAGATION_BIDIRECTIONAL {
		return invalid("mount of image %s on %s: an image volume is read-only and propagates nothing (KEP-4639)", v.Image, m.ContainerPath)
	}
	if v.ImageSubPath != "" && (!filepath.IsLocal(v.ImageSubPath) || strings.ContainsRune(v.ImageSubPath, 0)) {
		return invalid("mount of image %s on %s: image_sub_path %q is not a path inside of it", v.Image, m.ContainerPath, v.ImageSubPath)
	}
	return nil
}

func devices(list []*cri.Device) ([]spec.Device, error) {
	var out []spec.Device
	for _, d := range list {
		if !path.IsAbs(d.HostPath) || !path.IsAbs(d.ContainerPath) {
			return nil, invalid("device %q for %q: want absolute paths", d.HostPath, d.ContainerPath)
		}
		access := d.Permissions
		if access == "" {
			access = "rwm"
		}
		if strings.Trim(access, "rwm") != "" {
			return nil, invalid("permissions %q of device %s: want some of rwm", d.Permissions, d.HostPath)
		}
		out = append(out, spec.Device{HostPath: d.HostPath, ContainerPath: path.Clean(d.ContainerPath), Access: access})
	}
	return out, nil
}
