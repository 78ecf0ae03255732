package registry

import (
	"fmt"
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	var s secrets
	s.add("part", "part-and-whole", "abc", "")
	for text, want := range map[string]string{
		"a part-and-whole, a part, abc":         "a [hidden], a [hidden], abc",
		`Get "https://h/p?sig=x y": EOF`:        `Get "https://h/p?…": EOF`,
		"see https://h/p?sig=x and http://h/#f": "see https://h/p?… and http://h/?…",
		"http://user:word@h/p":                  "http://h/p",
		"line\nbreak\x1b[2J\x7f\u009b2J":        "line break [2J  2J",
	} {
		if got := s.clean(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := s.cleanShort(strings.Repeat("ä", 1000)); len(got) > 600 || !strings.HasSuffix(got, "ä…") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

// TestManySecrets: however many a server brings, those of the pull stay hidden, and so do the latest.
func TestManySecrets(t *testing.T) {
	var s secrets
	s.add("MARKER-password")
	for n := range 5 * mostRecent {
		s.addRecent(fmt.Sprintf("signature-%d-", n), fmt.Sprintf("signature-%d-", n))
	}
	last := fmt.Sprintf("signature-%d-", 5*mostRecent-1)
	if got := s.clean("MARKER-password " + last); got != "[hidden] [hidden]" {
		t.Error(got)
	}
	if n := len(s.all()); n != mostRecent+1 {
		t.Errorf("%d secrets are kept", n)
	}
}
