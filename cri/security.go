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
func profiles(sc *cri.LinuxContainerSecurityContext, m *spec.Machine) error {
	if err := noSELinux(sc.GetSelinuxOptions()); err != nil {
		return err
	}
	if sc.GetPrivileged() {
		return nil // privileged containers are not confined (CRI LinuxContainerSecurityContext.privileged)
	}
	if p := sc.GetSeccomp(); p != nil {
		if err := unconfined("seccomp", p); err != nil {
			return err
		}
	} else if old := sc.GetSeccompProfilePath(); old != "" && old != "unconfined" { //nolint:staticcheck // an old client's field must not be ignored
		return unsupported("seccomp profile %q", old)
	}
	if p := sc.GetApparmor(); p != nil {
		if p.ProfileType == cri.SecurityProfile_RuntimeDefault && !m.AppArmor {
			return nil // as with other runtimes, the default profile of a kernel without AppArmor is none
		}
		return unconfined("AppArmor", p)
	}
	if old := sc.GetApparmorProfile(); old != "" && old != "unconfined" && (m.AppArmor || old != "runtime/default") { //nolint:staticcheck // as above
		return unsupported("AppArmor profile %q", old)
	}
	return nil
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
