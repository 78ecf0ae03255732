package cri

import (
	"errors"
	"path"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/logfile"
	"podlet/pod/spec"
)

// ContainerSpec checks a ContainerConfig and gives what it asks for in a pod of s.
func ContainerSpec(s *spec.Sandbox, c *cri.ContainerConfig, m *spec.Machine) (*spec.Container, error) {
	if c.GetMetadata().GetName() == "" {
		return nil, invalid("the container's metadata lacks a name")
	}
	if c.GetImage().GetImage() == "" {
		return nil, invalid("the container %s names no image", c.Metadata.Name)
	}
	if len(c.CDIDevices) > 0 {
		return nil, unsupported("CDI devices")
	}
	if c.StdinOnce && !c.Stdin {
		return nil, invalid("stdin_once without stdin")
	}
	out := &spec.Container{
		Name: c.Metadata.Name, Attempt: c.Metadata.Attempt, Labels: c.Labels, Annotations: c.Annotations,
		Image: c.Image.Image, UserImage: c.Image.UserSpecifiedImage,
		Command: c.Command, Args: c.Args, WorkingDir: c.WorkingDir,
		TTY: c.Tty, Stdin: c.Stdin, StdinOnce: c.StdinOnce,
		LogPath: c.LogPath,
	}
	if c.LogPath != "" && s.LogDirectory != "" {
		if err := logfile.Check(s.LogDirectory, c.LogPath); err != nil {
			return nil, err
		}
	}
	var err error
	if out.StopSignal, err = stopSignal(c.StopSignal); err != nil {
		return nil, err
	}
	if err := processStrings(c, out); err != nil {
		return nil, err
	}
	if out.Mounts, err = mounts(c.Mounts); err != nil {
		return nil, err
	}
	if out.Devices, err = devices(c.Devices); err != nil {
		return nil, err
	}
	return out, containerLinux(s, out, c.GetLinux(), m)
}

// noNUL refuses what could not become a C string whole.
func noNUL(field string, list ...string) error {
	for _, text := range list {
		if strings.ContainsRune(text, 0) {
			return invalid("%s with a NUL: %.100q", field, text)
		}
	}
	return nil
}

// processStrings reads what becomes the program's arguments and environment.
func processStrings(c *cri.ContainerConfig, out *spec.Container) error {
	if err := errors.Join(noNUL("command", c.Command...), noNUL("args", c.Args...), noNUL("working_dir", c.WorkingDir)); err != nil {
		return err
	}
	for _, kv := range c.Envs {
		name, value := kv.GetKey(), string(kv.GetValue())
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return invalid("environment variable %.100q: want a name without '=', and no NUL", name)
		}
		out.Env = append(out.Env, spec.Var{Name: name, Value: value})
	}
	return nil
}

func containerLinux(s *spec.Sandbox, out *spec.Container, l *cri.LinuxContainerConfig, m *spec.Machine) error {
	limits, err := resources(l.GetResources())
	if err != nil {
		return err
	}
	if limits != nil {
		out.Resources = *limits
		out.OOMScoreAdj = int(l.Resources.OomScoreAdj)
	}
	sc := l.GetSecurityContext()
	out.Privileged, out.ReadOnlyRoot, out.NoNewPrivs = sc.GetPrivileged(), sc.GetReadonlyRootfs(), sc.GetNoNewPrivs()
	if out.Privileged && !s.Privileged {
		return invalid("a privileged container in a sandbox that is not privileged")
	}
	if err := sameAsSandbox(s, sc.GetNamespaceOptions()); err != nil {
		return err
	}
	out.PID, out.PIDTarget, err = containerPID(sc.GetNamespaceOptions())
	if err != nil {
		return err
	}
	if sc.GetNamespaceOptions() == nil {
		out.PID = sandboxPID(s)
	}
	if out.User, err = user(sc); err != nil {
		return err
	}
	if out.Capabilities, err = capabilities(sc.GetCapabilities()); err != nil {
		return err
	}
	if sc != nil {
		out.MaskedPaths, out.ReadOnlyPaths = sc.MaskedPaths, sc.ReadonlyPaths
	}
	for _, p := range append(append([]string{}, out.MaskedPaths...), out.ReadOnlyPaths...) {
		if !path.IsAbs(p) || path.Clean(p) != p || p == "/" || strings.ContainsRune(p, 0) {
			return invalid("masked or read-only path %q: want an absolute, clean one", p)
		}
	}
	return profiles(out, sc, m)
}

// sandboxPID is the mode of a container whose config says nothing.
func sandboxPID(s *spec.Sandbox) spec.PIDMode {
	switch {
	case s.HostPID:
		return spec.PIDNode
	case s.SharedPID:
		return spec.PIDPod
	default:
		return spec.PIDContainer
	}
}
