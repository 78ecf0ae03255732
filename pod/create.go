package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"podlet/internal/image"
	"podlet/internal/logfile"
	"podlet/internal/mount"
	"podlet/pod/record"
	"podlet/pod/spec"
)

// CreateContainer checks all that can be checked before a start, and makes the container's writable layer and record.
func (r *Runtime) CreateContainer(ctx context.Context, podID string, s *spec.Container) (string, error) {
	p, err := r.pod(ctx, podID)
	if err != nil {
		return "", err
	}
	key := fmt.Sprintf("container %s %q %d", p.id, s.Name, s.Attempt)
	id, err := r.flights.do(ctx, key, func() (string, error) { return p.create(ctx, s) })
	if err != nil {
		return "", fmt.Errorf("create container %s/%s: %w", p.name(), s.Name, err)
	}
	return id, nil
}

func (p *Pod) create(ctx context.Context, s *spec.Container) (_ string, err error) {
	if err := p.admits(s); err != nil {
		return "", err
	}
	want := *s
	want.Mounts = slices.Clone(s.Mounts)
	c := p.newContainer(newID(), &want)
	img, err := p.rt.images.Hold(s.Image, c.id)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", s.Image, err)
	}
	var back undo
	defer func() { back.unless(&err) }()
	back.add(func(context.Context) error { c.releaseImages(); return nil })
	if err := c.findVolumeImages(); err != nil {
		return "", err
	}

	want.ImageID = img.ID.String()
	if len(img.Digests) > 0 {
		want.ImageRef = img.Digests[0]
	}
	c.rec = containerRecord{Spec: &want, Image: imageConfig(&img.Config), State: Created, Created: time.Now()}
	if err := c.resolve(&img); err != nil {
		return "", err
	}
	if _, err := spec.ImageVolumes(&want, c.rec.Image, &p.rt.machine); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	back.add(func(context.Context) error { return os.RemoveAll(p.rt.layerDir(c.id)) })
	if err := p.makeLayer(c.id, img.LayerDirs()); err != nil {
		return "", fmt.Errorf("writable layer: %w", err)
	}
	back.add(func(context.Context) error { return p.rt.records.Delete(p.id, record.Container(c.id)) })
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return c.id, p.enlist(c)
}

// enlist adds the container to the pod, unless the pod has ended or the name was taken meanwhile.
func (p *Pod) enlist(c *Container) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.rec.State != PodReady {
		return fmt.Errorf("the pod is not ready: %w", ErrState)
	}
	for _, other := range p.mu.containers {
		if other.rec.State != removed && other.rec.Spec.Name == c.spec.Name && other.rec.Spec.Attempt == c.spec.Attempt {
			return fmt.Errorf("its attempt %d is there already as %s: %w", c.spec.Attempt, other.id, ErrExists)
		}
	}
	if err := c.saveLocked(func(*containerRecord) {}); err != nil {
		return err
	}
	p.mu.containers[c.id] = c
	p.tellLocked(c.id, EventCreated)
	p.rt.mu.Lock()
	p.rt.mu.containers[c.id] = c
	p.rt.mu.Unlock()
	return nil
}

// admits checks a container against its pod and the machine.
func (p *Pod) admits(s *spec.Container) error {
	if st := p.status.Load(); st.State != PodReady {
		return fmt.Errorf("the pod is not ready: %w", ErrState)
	}
	if s.LogPath != "" && p.spec.LogDirectory != "" {
		if err := logfile.Check(p.spec.LogDirectory, s.LogPath); err != nil {
			return err
		}
	}
	if s.Privileged && p.spec.UserNS != nil {
		return fmt.Errorf("a privileged container in a pod with a user namespace: %w", ErrInvalid)
	}
	if err := p.admitsPID(s); err != nil {
		return err
	}
	for _, m := range s.Mounts {
		if m.Image != "" {
			continue
		}
		if _, err := os.Stat(m.Source); err != nil {
			return fmt.Errorf("mount on %s: %w: source %v", m.Target, ErrInvalid, err)
		}
	}
	for _, d := range s.Devices {
		if _, err := mount.HostDevices(d.HostPath, d.ContainerPath); err != nil {
			return fmt.Errorf("device for %s: %w: %w", d.ContainerPath, ErrInvalid, err)
		}
	}
	return p.rt.cgroups.Check(&s.Resources)
}

func (p *Pod) admitsPID(s *spec.Container) error {
	switch s.PID {
	case spec.PIDPod:
		if !p.spec.SharedPID {
			return fmt.Errorf("the container wants the pod's PID namespace, and the sandbox was made without a shared one: %w", ErrInvalid)
		}
	case spec.PIDNode:
		if !p.spec.HostPID {
			return fmt.Errorf("the container wants the node's PID namespace, and its sandbox doesn't have it: %w", ErrInvalid)
		}
	case spec.PIDTarget:
		p.mu.Lock()
		target := p.mu.containers[s.PIDTarget]
		p.mu.Unlock()
		if target == nil {
			return fmt.Errorf("target container %.100q of the PID namespace: %w in this pod", s.PIDTarget, ErrNotFound)
		}
	}
	return nil
}

// resolve computes the container's process from what was read of its image.
func (c *Container) resolve(img *image.Image) error {
	id, err := c.identity(img)
	if err != nil {
		return err
	}
	process, missing, err := spec.NewProcess(c.pod.spec, c.spec, c.rec.Image, id, &c.pod.rt.machine)
	if err != nil {
		return errors.Join(ErrInvalid, err)
	}
	if len(missing) > 0 {
		c.pod.rt.log.Warn("podlet can't give capabilities that it doesn't have itself", "container", c.name(), "missing", missing)
	}
	c.process, c.rec.Process = process, process
	return nil
}
