package cri

import (
	"context"
	"fmt"
	"slices"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/mount"
	"podlet/pod"
	"podlet/pod/spec"
)

// ContainerStatus tells how a container is; verbose adds its pid, its namespaces and what it was made of.
func (s *Server) ContainerStatus(ctx context.Context, r *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	st, err := s.Pods.ContainerStatus(ctx, r.GetContainerId())
	if err != nil {
		return nil, err
	}
	answer := &cri.ContainerStatusResponse{Status: containerStatus(st)}
	if !r.GetVerbose() {
		return answer, nil
	}
	process, err := s.Pods.ContainerProcess(ctx, st.ID)
	if err != nil {
		return nil, err
	}
	lost, err := s.Pods.ContainerLogLoss(ctx, st.ID)
	if err != nil {
		return nil, err
	}
	answer.Info, err = info(struct {
		SandboxID string `json:"sandboxID"`
		*pod.ProcessInfo
		*pod.LogLoss
		Spec *spec.Container `json:"spec"`
	}{st.PodID, process, lost, withoutSecrets(st.Spec)})
	return answer, err
}

// withoutSecrets is a container's spec for people's eyes, and for the bug reports that they paste it into: without the values of the environment.
func withoutSecrets(c *spec.Container) *spec.Container {
	shown := *c
	shown.Env = slices.Clone(c.Env)
	for i := range shown.Env {
		shown.Env[i].Value = fmt.Sprintf("(%d bytes)", len(c.Env[i].Value))
	}
	return &shown
}

func containerStatus(st *pod.ContainerStatus) *cri.ContainerStatus {
	c := st.Spec
	groups := make([]int64, 0, len(st.Process.Groups))
	for _, g := range st.Process.Groups {
		groups = append(groups, int64(g))
	}
	return &cri.ContainerStatus{
		Id: st.ID, Metadata: &cri.ContainerMetadata{Name: c.Name, Attempt: c.Attempt}, State: containerState(st),
		CreatedAt: nano(st.Created), StartedAt: nano(st.Started), FinishedAt: nano(st.Finished),
		ExitCode: int32(st.ExitCode), Reason: st.Reason, Message: st.Message,
		Image: imageSpec(c), ImageRef: imageRef(c), ImageId: c.ImageID,
		Labels: c.Labels, Annotations: c.Annotations, Mounts: criMounts(c.Mounts), LogPath: st.LogPath,
		Resources: &cri.ContainerResources{Linux: resourcesOf(&c.Resources, c.OOMScoreAdj)},
		User: &cri.ContainerUser{Linux: &cri.LinuxContainerUser{
			Uid: int64(st.Process.UID), Gid: int64(st.Process.GID), SupplementalGroups: groups,
		}},
		StopSignal: criSignal(st.StopSignal),
	}
}

// imageRef is the digest reference of the image where it had one when the container was created, else its id.
func imageRef(c *spec.Container) string {
	if c.ImageRef == "" {
		return c.ImageID
	}
	return c.ImageRef
}

func imageSpec(c *spec.Container) *cri.ImageSpec {
	return &cri.ImageSpec{Image: c.Image, UserSpecifiedImage: c.UserImage}
}

// nano is a timestamp of the CRI; 0 is "not yet".
func nano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func containerState(st *pod.ContainerStatus) cri.ContainerState {
	switch {
	case st.Recovering && st.State != pod.Exited && st.State != pod.Created:
		return cri.ContainerState_CONTAINER_UNKNOWN
	case st.State == pod.Running:
		return cri.ContainerState_CONTAINER_RUNNING
	case st.State == pod.Exited:
		return cri.ContainerState_CONTAINER_EXITED
	default:
		return cri.ContainerState_CONTAINER_CREATED
	}
}

func criMounts(list []spec.Mount) []*cri.Mount {
	var out []*cri.Mount
	for _, m := range list {
		v := &cri.Mount{ContainerPath: m.Target, HostPath: m.Source, Readonly: m.ReadOnly, RecursiveReadOnly: m.RecursiveReadOnly}
		switch m.Propagation {
		case mount.HostToContainer:
			v.Propagation = cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
		case mount.Bidirectional:
			v.Propagation = cri.MountPropagation_PROPAGATION_BIDIRECTIONAL
		}
		for _, o := range []struct {
			on   bool
			name string
		}{{m.NoExec, "noexec"}, {m.NoSuid, "nosuid"}, {m.NoDev, "nodev"}} {
			if o.on {
				v.MountOptions = append(v.MountOptions, o.name)
			}
		}
		if m.Image != "" {
			v.Image, v.ImageSubPath = &cri.ImageSpec{Image: m.Image, UserSpecifiedImage: m.UserImage, ImageRef: m.ImageID}, m.ImageSubPath
		}
		out = append(out, v)
	}
	return out
}
