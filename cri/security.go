package cri

import (
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/pod/spec"
)

const maxID = 1<<31 - 1

// user reads who the container's process shall be.
func user(sc *cri.LinuxContainerSecurityContext) (spec.User, error) {
	var u spec.User
	if sc == nil {
		return u, nil
	}
	if sc.RunAsUser != nil && sc.RunAsUsername != "" {
		return u, invalid("run_as_user and run_as_username are both given")
	}
	if sc.RunAsGroup != nil && sc.RunAsUser == nil && sc.RunAsUsername == "" {
		return u, invalid("run_as_group without run_as_user or run_as_username")
	}
	u.Name = sc.RunAsUsername
	for _, id := range []struct {
		from *cri.Int64Value
		to   **int64
	}{{sc.RunAsUser, &u.UID}, {sc.RunAsGroup, &u.GID}} {
		if id.from == nil {
			continue
		}
		if id.from.Value < 0 || id.from.Value > maxID {
			return u, invalid("user or group id %d: want 0 to %d", id.from.Value, maxID)
		}
		*id.to = &id.from.Value
	}
	for _, g := range sc.SupplementalGroups {
		if g < 0 || g > maxID {
			return u, invalid("supplemental group %d: want 0 to %d", g, maxID)
		}
	}
	u.Groups = sc.SupplementalGroups
	switch sc.SupplementalGroupsPolicy {
	case cri.SupplementalGroupsPolicy_Merge:
	case cri.SupplementalGroupsPolicy_Strict:
		u.Strict = true
	default:
		return u, invalid("supplemental_groups_policy %v", sc.SupplementalGroupsPolicy)
	}
	return u, nil
}

// capabilities checks the names; the sets are computed where the machine is known.
func capabilities(c *cri.Capability) (spec.Capabilities, error) {
	out := spec.Capabilities{Add: c.GetAddCapabilities(), Drop: c.GetDropCapabilities(), Ambient: c.GetAddAmbientCapabilities()}
	_, _, err := out.Sets(false, &spec.Machine{LastCapability: 63})
	return out, err
}

// profiles refuses the confinement that podlet can't give. What an unknown or absent one means is decided here and nowhere else.
func profiles(out *spec.Container, sc *cri.LinuxContainerSecurityContext, m *spec.Machine) error {
	if err := noSELinux(sc.GetSelinuxOptions()); err != nil {
		return err
	}
	if sc.GetPrivileged() {
		return nil // privileged containers are not confined (CRI LinuxContainerSecurityContext.privileged)
	}
	var err error
	if out.Seccomp, err = seccompProfile(sc); err != nil {
		return err
	}
	if p := sc.GetApparmor(); p != nil {
		if p.ProfileType == cri.SecurityProfile_RuntimeDefault && !m.AppArmor {
			return nil // as with other runtimes, the default profile of a kernel without AppArmor is none
		}
		return unconfined("AppArmor", p)
	}
	//lint:ignore SA1019 as with seccomp
	if old := sc.GetApparmorProfile(); old != "" && old != "unconfined" && (m.AppArmor || old != "runtime/default") {
		return unsupported("AppArmor profile %q", old)
	}
	return nil
}

// seccompProfile reads the profile, or the field that clients had for it before 2021.
func seccompProfile(sc *cri.LinuxContainerSecurityContext) (spec.SeccompProfile, error) {
	p := sc.GetSeccomp()
	switch {
	case p.GetProfileType() == cri.SecurityProfile_RuntimeDefault && p != nil:
		return spec.SeccompRuntimeDefault, nil
	case p != nil:
		return spec.SeccompUnconfined, unconfined("seccomp", p)
	}
	//lint:ignore SA1019 kubelets may still send it, and a field about security must not be ignored
	switch old := sc.GetSeccompProfilePath(); old {
	case "", "unconfined":
		return spec.SeccompUnconfined, nil
	case "runtime/default", "docker/default":
		return spec.SeccompRuntimeDefault, nil
	default:
		return "", unsupported("seccomp profile %q", old)
	}
}

func unconfined(kind string, p *cri.SecurityProfile) error {
	switch p.ProfileType {
	case cri.SecurityProfile_Unconfined:
		return nil
	case cri.SecurityProfile_RuntimeDefault:
		return unsupported("%s profile RuntimeDefault", kind)
	case cri.SecurityProfile_Localhost:
		if p.LocalhostRef == "" {
			return invalid("%s profile Localhost without localhost_ref", kind)
		}
		return unsupported("%s profile Localhost", kind)
	default:
		return invalid("%s profile type %v", kind, p.ProfileType)
	}
}
