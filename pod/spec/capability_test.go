package spec

import (
	"errors"
	"slices"
	"testing"
)

// full is a machine on which podlet may give away everything.
var full = &Machine{LastCapability: 40, Capabilities: 1<<41 - 1, MaxOpenFiles: 1 << 20}

func set(t *testing.T, names ...string) (bits uint64) {
	t.Helper()
	for _, name := range names {
		bit, err := CapabilityBit(name)
		if err != nil {
			t.Fatal(err)
		}
		bits |= bit
	}
	return bits
}

func TestCapabilitySets(t *testing.T) {
	standard := set(t, defaultCapabilities...)
	all := uint64(1<<41 - 1)
	admin, raw, bind := set(t, "SYS_ADMIN"), set(t, "NET_RAW"), set(t, "NET_BIND_SERVICE")
	for _, c := range []struct {
		name              string
		caps              Capabilities
		bounding, ambient uint64
	}{
		{"default", Capabilities{}, standard, 0},
		{"add", Capabilities{Add: []string{"SYS_ADMIN"}}, standard | admin, 0},
		{"add with its prefix, in small letters", Capabilities{Add: []string{"cap_sys_admin"}}, standard | admin, 0},
		{"drop", Capabilities{Drop: []string{"NET_RAW"}}, standard &^ raw, 0},
		{"drop one that isn't there", Capabilities{Drop: []string{"SYS_ADMIN"}}, standard, 0},
		{"drop wins over add", Capabilities{Add: []string{"SYS_ADMIN"}, Drop: []string{"SYS_ADMIN"}}, standard, 0},
		{"drop all", Capabilities{Drop: []string{"ALL"}}, 0, 0},
		{"drop all, add one", Capabilities{Add: []string{"NET_BIND_SERVICE"}, Drop: []string{"all"}}, bind, 0},
		{"add all", Capabilities{Add: []string{"ALL"}}, all, 0},
		{"add all, drop one", Capabilities{Add: []string{"ALL"}, Drop: []string{"SYS_ADMIN"}}, all &^ admin, 0},
		{"add all, drop all", Capabilities{Add: []string{"ALL"}, Drop: []string{"ALL"}}, 0, 0},
		{"ambient", Capabilities{Drop: []string{"ALL"}, Ambient: []string{"NET_BIND_SERVICE"}}, bind, bind},
	} {
		got, missing, err := c.caps.Sets(false, full)
		if err != nil || len(missing) > 0 || got.Bounding != c.bounding || got.Ambient != c.ambient {
			t.Errorf("%s: %x and %x, want %x and %x; missing %q, %v", c.name, got.Bounding, got.Ambient, c.bounding, c.ambient, missing, err)
		}
	}
}

func TestCapabilitiesOfThePrivileged(t *testing.T) {
	less := *full
	less.Capabilities &^= set(t, "SYS_RESOURCE")
	c := Capabilities{Add: []string{"SYS_RESOURCE"}, Drop: []string{"ALL"}}
	got, missing, err := c.Sets(true, &less)
	if err != nil || got.Bounding != less.Capabilities || len(missing) > 0 {
		t.Errorf("privileged: %x, %q, %v; want all that podlet has, %x", got.Bounding, missing, err, less.Capabilities)
	}
}

// TestMissingCapabilities: what podlet hasn't it can't give. Only what was asked for by name is worth a word.
func TestMissingCapabilities(t *testing.T) {
	less := *full
	less.Capabilities &^= set(t, "SYS_RESOURCE", "MKNOD")
	c := Capabilities{Add: []string{"SYS_RESOURCE"}}
	got, missing, err := c.Sets(false, &less)
	if err != nil || !slices.Equal(missing, []string{"CAP_SYS_RESOURCE"}) || got.Bounding&set(t, "SYS_RESOURCE", "MKNOD") != 0 {
		t.Errorf("%x, %q, %v", got.Bounding, missing, err)
	}
	c = Capabilities{Add: []string{"ALL"}}
	if _, missing, _ := c.Sets(false, &less); len(missing) > 0 {
		t.Errorf("ALL complains of %q", missing)
	}
}

func TestUnknownCapability(t *testing.T) {
	for _, c := range []Capabilities{{Add: []string{"SYS_NONE"}}, {Drop: []string{""}}, {Ambient: []string{"CAP_"}}, {Add: []string{"ALL "}}} {
		if got, _, err := c.Sets(false, full); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %+v, %v; want ErrInvalid", c, got, err)
		}
	}
}

// TestOldKernel: a kernel that doesn't know a capability has none of it to give, and none to drop.
func TestOldKernel(t *testing.T) {
	old := &Machine{LastCapability: 37, Capabilities: 1<<38 - 1}
	c := Capabilities{Add: []string{"ALL", "BPF"}}
	got, _, err := c.Sets(false, old)
	if err != nil || got.Bounding != 1<<38-1 {
		t.Errorf("%x, %v", got.Bounding, err)
	}
}

func TestCapabilityName(t *testing.T) {
	for i, name := range capabilityNames {
		bit, err := CapabilityBit(CapabilityName(i))
		if err != nil || bit != 1<<i || CapabilityName(i) != "CAP_"+name {
			t.Errorf("capability %d is %q and back %x, %v", i, CapabilityName(i), bit, err)
		}
	}
	if got := CapabilityName(60); got != "CAP_60" {
		t.Errorf("CapabilityName(60) = %q", got)
	}
}
