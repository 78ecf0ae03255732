package cgroup

import (
	"errors"
	"fmt"
	"strings"
)

// DefaultParent is the parent that an empty cgroup parent stands for.
const DefaultParent = "/podlet"

// Bounds on a path. The kernel's own are NAME_MAX for a component and PATH_MAX
// (which /proc/PID/cgroup must hold as well) for the whole.
const (
	maxComponent = 255
	maxPath      = 2048
	maxDepth     = 64
)

// ErrPath is wrapped by every error about a malformed cgroup path or name.
var ErrPath = errors.New("malformed cgroup path")

// Path is a checked cgroup path, the same in every hierarchy. The zero value is
// the root.
type Path struct {
	rel string // without the leading slash; "" is the root
}

// ParsePath checks s, a cgroup parent as in CRI's LinuxPodSandboxConfig: an
// absolute path whose components consist of [A-Za-z0-9_.:-] and are never "."
// or "..". "" stands for [DefaultParent]. Anything else is an error that wraps
// [ErrPath]; s is never repaired.
func ParsePath(s string) (Path, error) {
	if s == "" {
		s = DefaultParent
	}
	if s == "/" {
		return Path{}, nil
	}
	if len(s) > maxPath {
		return Path{}, fmt.Errorf("%w: %.64q… has %d bytes, at most %d are allowed", ErrPath, s, len(s), maxPath)
	}
	rel, absolute := strings.CutPrefix(s, "/")
	if !absolute {
		return Path{}, fmt.Errorf("%w: %q is not absolute (the systemd form slice:prefix:name is not a path)", ErrPath, s)
	}
	components := strings.Split(rel, "/")
	if len(components) > maxDepth {
		return Path{}, fmt.Errorf("%w: %.64q… is %d levels deep, at most %d are allowed", ErrPath, s, len(components), maxDepth)
	}
	for _, c := range components {
		if err := checkComponent(c); err != nil {
			return Path{}, fmt.Errorf("%w: %q: %s", ErrPath, s, err)
		}
	}
	return Path{rel: rel}, nil
}

// Child is the path of name below p. name is one component under the rules of
// [ParsePath].
func (p Path) Child(name string) (Path, error) {
	if err := checkComponent(name); err != nil {
		return Path{}, fmt.Errorf("%w: %q: %s", ErrPath, name, err)
	}
	if p.rel == "" {
		return Path{rel: name}, nil
	}
	if len(p.rel)+1+len(name) >= maxPath || p.depth() >= maxDepth {
		return Path{}, fmt.Errorf("%w: %.64q… below %.64q… is too long or too deep", ErrPath, name, p)
	}
	return Path{rel: p.rel + "/" + name}, nil
}

// String is the absolute form, which ParsePath reads back.
func (p Path) String() string { return "/" + p.rel }

// Parent is the path one level up; that of the root is the root.
func (p Path) Parent() Path {
	i := strings.LastIndexByte(p.rel, '/')
	return Path{rel: p.rel[:max(i, 0)]}
}

// IsRoot says that p is the root of the hierarchies.
func (p Path) IsRoot() bool { return p.rel == "" }

func (p Path) base() string { return p.rel[strings.LastIndexByte(p.rel, '/')+1:] }

func (p Path) depth() int {
	if p.rel == "" {
		return 0
	}
	return strings.Count(p.rel, "/") + 1
}

// ancestor is the path of p's first n components.
func (p Path) ancestor(n int) Path {
	for p.depth() > n {
		p = p.Parent()
	}
	return p
}

func checkComponent(c string) error {
	switch {
	case c == "":
		return errors.New("a component is empty")
	case c == "." || c == "..":
		return fmt.Errorf("component %q is not a name", c)
	case len(c) > maxComponent:
		return fmt.Errorf("component %.32q… has %d bytes, at most %d are allowed", c, len(c), maxComponent)
	}
	for i := range len(c) {
		if !nameByte(c[i]) {
			return fmt.Errorf("component %q: byte %q is not one of A-Z a-z 0-9 _ . : -", c, c[i])
		}
	}
	return nil
}

func nameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("_.:-", b) >= 0
}
