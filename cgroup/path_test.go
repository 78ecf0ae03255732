package cgroup

import (
	"errors"
	"strings"
	"testing"
)

func TestParsePath(t *testing.T) {
	good := map[string]string{
		"":                             DefaultParent,
		"/":                            "/",
		"/kubepods/burstable/pod12-ab": "/kubepods/burstable/pod12-ab",
		"/kubepods.slice/kubepods-pod1.slice/cri:podlet:x_1.scope": "/kubepods.slice/kubepods-pod1.slice/cri:podlet:x_1.scope",
		"/...": "/...",
	}
	for in, want := range good {
		if p, err := ParsePath(in); err != nil || p.String() != want {
			t.Errorf("ParsePath(%q) = %v, %v", in, p, err)
		}
	}
	bad := []string{
		"/../x", "a/../../b", "/kubepods/x.slice/..", "/.", "/a/./b", "a", "kubepods.slice:cri:x", "/a/", "//", "/a//b",
		"/a b", "/a\x00", "/a\nb", "/ä", "/a*", strings.Repeat("/a", 1<<16), "/" + strings.Repeat("a", 256),
		strings.Repeat("/a", maxDepth+1), "/" + strings.Repeat("/a", 3),
	}
	for _, in := range bad {
		if p, err := ParsePath(in); !errors.Is(err, ErrPath) {
			t.Errorf("ParsePath(%.40q) = %v, %v", in, p, err)
		} else if len(err.Error()) > 5000 {
			t.Errorf("ParsePath(%.40q): the error has %d bytes", in, len(err.Error()))
		}
	}
}

func TestPathParts(t *testing.T) {
	root, err := ParsePath("/")
	if err != nil || !root.IsRoot() || root.depth() != 0 || root.Parent() != root {
		t.Errorf("root: %+v, %v", root, err)
	}
	a, err := root.Child("a")
	if err != nil || a.String() != "/a" || a.Parent() != root || a.base() != "a" || a.depth() != 1 {
		t.Errorf("/a: %+v, %v", a, err)
	}
	b, err := a.Child("b")
	if err != nil || b.String() != "/a/b" || b.Parent() != a || b.base() != "b" || b.depth() != 2 || b.ancestor(1) != a || b.ancestor(0) != root {
		t.Errorf("/a/b: %+v, %v", b, err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "a/../b", "/a"} {
		if p, err := b.Child(name); !errors.Is(err, ErrPath) {
			t.Errorf("Child(%q) = %v, %v", name, p, err)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("/a/../b")
	f.Add("/kubepods/pod1")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			return
		}
		if s != "" && p.String() != s {
			t.Errorf("ParsePath(%q) = %q", s, p)
		}
		for _, c := range strings.Split(p.rel, "/") {
			if c == "." || c == ".." || c == "" && !p.IsRoot() {
				t.Errorf("ParsePath(%q) has component %q", s, c)
			}
		}
	})
}
