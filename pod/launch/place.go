package launch

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"podlet/pod/spec"
	"podlet/pod/tape"
)

// beneath is for what no link may lead to: entries of a file system that podlet itself has just mounted.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV

// place is a file system that podlet has just mounted and knows the inside of: what is mounted in it is opened from its fd, with no
// path of the image in between. Its fd is closed when nothing more is to be opened there.
type place struct {
	fd   tape.Fd
	left int
}

// addPlaces counts, before the first mount, what will be opened in each place.
func (b *builder) addPlaces() {
	b.places = map[string]*place{"/proc": {}}
	for _, a := range b.c.Attachments {
		switch a.Source {
		case spec.SourceDev, spec.SourceSysfs, spec.SourceCgroupRoot:
			b.places[a.Target] = &place{}
		}
	}
	count := func(p *place, _ string) {
		if p != nil {
			p.left++
		}
	}
	for _, a := range b.c.Attachments {
		if b.knows(a) {
			count(b.placeOf(a.Target))
		}
	}
	if b.console() {
		count(b.placeOf(pathConsole))
	}
	for _, path := range slices.Concat(b.c.ReadOnly, b.c.Masked) {
		count(b.entryOf(path))
	}
}

// knows: the mount point is of podlet's own making, or an entry of proc, which none can be made in.
func (b *builder) knows(a spec.Attachment) bool {
	return a.Source != spec.SourceVolume || underProc(a.Target)
}

// placeOf gives the place that path is directly in, and the rest of the path. There is none where a mount stands in between.
func (b *builder) placeOf(path string) (p *place, rel string) {
	top := ""
	for target := range b.places {
		if strings.HasPrefix(path, target+"/") && len(target) > len(top) {
			top = target
		}
	}
	if top == "" {
		return nil, ""
	}
	between := func(a spec.Attachment) bool {
		return len(a.Target) > len(top) && strings.HasPrefix(path, a.Target+"/")
	}
	if slices.ContainsFunc(b.c.Attachments, between) {
		return nil, ""
	}
	return b.places[top], path[len(top)+1:]
}

// entryOf is placeOf for a path that must be the place's own, and not something mounted on it.
func (b *builder) entryOf(path string) (p *place, rel string) {
	if slices.ContainsFunc(b.c.Attachments, func(a spec.Attachment) bool { return a.Target == path }) {
		return nil, ""
	}
	return b.placeOf(path)
}

// stand notes the fd of the file system that has just been mounted on target, or closes it.
func (b *builder) stand(target string, fd tape.Fd) {
	p := b.places[target]
	if p == nil || p.left == 0 {
		b.Close(fd, "")
		return
	}
	p.fd = fd
}

// leave closes the place's fd behind its last use.
func (b *builder) leave(p *place) {
	if p == nil {
		return
	}
	if p.left--; p.left == 0 {
		b.Close(p.fd, "")
	}
}
