package bridge

import (
	"net/netip"
	"strings"
	"testing"
)

// TestConfigCheck: all that is wrong with a configuration is told at once, and nothing needs to be there for that.
func TestConfigCheck(t *testing.T) {
	for _, c := range []struct {
		bridge, subnets, direct string
		mtu                     int
		says                    []string
	}{
		{"podlet0", "10.88.0.0/16 fd00:10:88::/64", "10.0.0.0/8", 0, nil},
		{"podlet0", "fd00:10:88::/64", "", 1280, nil},
		{"", "10.88.0.0/16", "", 0, []string{`name ""`}},
		{"a/b", "10.88.0.0/16", "", 0, []string{`name "a/b"`}},
		{"sixteen_letters_", "10.88.0.0/16", "", 0, []string{`name "sixteen_letters_"`}},
		{"podlet0", "", "", 0, []string{"no subnet"}},
		{"podlet0", "10.88.0.1/16", "", 0, []string{"10.88.0.1/16 has bits set"}},
		{"podlet0", "10.88.0.0/30", "", 0, []string{"10.88.0.0/30 is not within /8 and /29"}},
		{"podlet0", "fd00::/16", "", 0, []string{"fd00::/16 is not within /48 and /124"}},
		{"podlet0", "10.88.0.0/16 10.89.0.0/16", "", 0, []string{"one family"}},
		{"podlet0", "10.88.0.0/16", "", 68, []string{"MTU 68"}},
		{"a b", "10.88.0.1/16", "10.0.0.1/8", 68, []string{`name "a b"`, "MTU 68", "subnet 10.88.0.1/16", "destination 10.0.0.1/8"}},
	} {
		err := (&Config{Bridge: c.bridge, Subnets: parsed(c.subnets), NoMasquerade: parsed(c.direct), MTU: c.mtu}).Check()
		if (err == nil) != (c.says == nil) {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		for _, want := range c.says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v; want %q", c, err, want)
			}
		}
	}
}

func parsed(list string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, p := range strings.Fields(list) {
		prefixes = append(prefixes, netip.MustParsePrefix(p))
	}
	return prefixes
}
