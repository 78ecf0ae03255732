package cgroup

import (
	"fmt"
	"strings"
)

// DeviceRule allows or denies access to devices (OCI runtime-spec,
// "Allowed Device list").
type DeviceRule struct {
	Allow        bool
	Type         byte   // 'c', 'b', or 'a' for both
	Major, Minor int64  // -1 is any
	Access       string // of r, w, m (mknod)
}

// maxDeviceRules bounds the rules of one container; each is some six
// instructions.
const maxDeviceRules = 1024

const (
	accessMknod = 1 << iota // as in linux/bpf.h, BPF_DEVCG_ACC_*
	accessRead
	accessWrite
	accessAll = accessMknod | accessRead | accessWrite
)

func (r DeviceRule) String() string {
	verb, major, minor := "deny", "*", "*"
	if r.Allow {
		verb = "allow"
	}
	if r.Major != -1 {
		major = fmt.Sprint(r.Major)
	}
	if r.Minor != -1 {
		minor = fmt.Sprint(r.Minor)
	}
	return fmt.Sprintf("%s %c %s:%s %s", verb, r.Type, major, minor, r.Access)
}

// everything says that the rule matches every device and access.
func (r DeviceRule) everything() bool {
	return r.Type == 'a' && r.Major == -1 && r.Minor == -1 && r.access() == accessAll
}

func (r DeviceRule) access() int32 {
	bits := int32(0)
	for i, c := range "mrw" {
		if strings.ContainsRune(r.Access, c) {
			bits |= 1 << i
		}
	}
	return bits
}

func checkDevices(rules []DeviceRule) error {
	if len(rules) > maxDeviceRules {
		return fmt.Errorf("%w: %d device rules, at most %d are allowed", ErrInvalid, len(rules), maxDeviceRules)
	}
	for _, r := range rules {
		if r.Type != 'a' && r.Type != 'b' && r.Type != 'c' {
			return fmt.Errorf("%w: device rule %q: type %q is not a, b or c", ErrInvalid, r, r.Type)
		}
		if r.Access == "" || len(r.Access) > 3 || strings.Trim(r.Access, "rwm") != "" {
			return fmt.Errorf("%w: device rule %q: access is not of r, w and m", ErrInvalid, r)
		}
		// The kernel's dev_t has 12 and 20 bits.
		if r.Major < -1 || r.Major >= 1<<12 || r.Minor < -1 || r.Minor >= 1<<20 {
			return fmt.Errorf("%w: device rule %q: major wants -1 to 4095, minor -1 to 1048575", ErrInvalid, r)
		}
	}
	return nil
}

// setDevices puts rules, which plan has checked, in force.
func (g *Group) setDevices(rules []DeviceRule) error {
	var err error
	switch {
	case g.h.noProgram == nil:
		err = g.setProgram(rules)
	case g.h.by["devices"] != nil:
		err = g.setDevicesV1(rules)
	default:
		err = fmt.Errorf("%w: %w", ErrUnsupported, g.h.noProgram)
	}
	if err != nil {
		return fmt.Errorf("set device rules: %w", err)
	}
	return nil
}
