package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// FindingKind says what sort of thing Check found.
type FindingKind string

const (
	// Damaged: something isn't what it was when it was verified, or is missing.
	Damaged FindingKind = "damaged"
	// Orphan: nobody needs it, and it takes room.
	Orphan FindingKind = "orphan"
	// Note: worth knowing, and nothing wrong.
	Note FindingKind = "note"
)

// Finding is one thing that Check has to say.
type Finding struct {
	Kind FindingKind
	// What is the layer, the image, or the path in the store's directory that it is about.
	What string
	// Problem says what is wrong with it. It may hold names of files in an image, quoted.
	Problem string
	// Images are the images that can't be relied upon because of it, by a name or their id.
	Images []string `json:",omitempty"`
	// Mended: with CheckOptions.Repair, it is so no more. Kept says why it was not.
	Mended bool
	Kept   string `json:",omitempty"`

	layer Digest // what to throw away, zero for nothing
	image string // the directory in images, of an image that can't be used
	path  string // of an orphan
}

// CheckOptions says how thoroughly Check looks, and what it does about it.
type CheckOptions struct {
	// Deep reads every file of every layer and holds it to the layer's diffID. Else only what a look at each file tells is held to the layer's headers:
	// names, types, modes, owners, sizes, targets of links.
	Deep bool
	// Repair throws away what is damaged, so that it is pulled or imported again, and sweeps what is an orphan. A layer that a container uses is kept.
	Repair bool
	// Wait, if set, gives a reason to repair nothing now, "" for none. Only the function Check asks for it, before a repair: a closed store doesn't know which of its layers are
	// mounted, and pods outlive the podlet that served them.
	Wait func() string
	// Progress, if set, is told which of how many layers is looked at, from the calling goroutine.
	Progress func(layer, layers int)
}

// CheckReport is what Check saw.
type CheckReport struct {
	Images, Layers int
	// Files are the files, directories and the like that were looked at.
	Files int64
	// Findings are ordered by kind and name.
	Findings []Finding
}

// Wrong counts the findings that are no mere notes and were not mended.
func (r *CheckReport) Wrong() int {
	n := 0
	for _, f := range r.Findings {
		if f.Kind != Note && !f.Mended {
			n++
		}
	}
	return n
}

// Check looks for damage and for things that nobody needs in the store below root, which no podlet may have open (ErrLocked; see [Store.Check]).
// Unlike Open it changes nothing, unless Repair is asked for.
func Check(ctx context.Context, root string, o CheckOptions) (*CheckReport, error) {
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("check image store: %w", err)
	}
	return checkClosed(ctx, root, boot, o)
}

func checkClosed(ctx context.Context, root, boot string, o CheckOptions) (*CheckReport, error) {
	report, err := lookAtClosed(ctx, root, boot, o)
	if err != nil || !o.Repair || report.Wrong() == 0 {
		return report, err
	}
	if o.Wait != nil {
		if why := o.Wait(); why != "" {
			report.keepAll(why)
			return report, nil
		}
	}
	if err := repairClosed(root, boot, report); err != nil {
		return nil, err
	}
	after, err := lookAtClosed(ctx, root, boot, CheckOptions{Deep: o.Deep, Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	report.mended(after)
	return report, nil
}

func lookAtClosed(ctx context.Context, root, boot string, o CheckOptions) (*CheckReport, error) {
	if _, err := os.Stat(root); err != nil {
		return nil, fmt.Errorf("check image store: %w", err)
	}
	s, err := openLocked(root)
	if err != nil {
		return nil, fmt.Errorf("check image store: %w", err)
	}
	defer s.unlock()
	s.boot = boot
	c := checker{s: s, ctx: ctx, o: o}
	report, err := c.run(nil)
	if err != nil {
		return nil, fmt.Errorf("check image store %s: %w", s.path, err)
	}
	return report, nil
}

// repairClosed throws the damaged layers away; an Open does all else.
func repairClosed(root, boot string, r *CheckReport) error {
	s, err := openLocked(root)
	if err != nil {
		return fmt.Errorf("repair image store: %w", err)
	}
	for _, f := range r.Findings {
		if f.layer.IsZero() {
			continue
		}
		// What is left of it lies in tmp, which Open empties.
		if _, err := s.discard(layerDir(f.layer)); err != nil {
			s.unlock()
			return fmt.Errorf("repair image store: remove layer %s: %w", f.layer, err)
		}
	}
	s.unlock()
	if s, err = open(root, boot); err != nil {
		return err
	}
	<-s.swept
	return s.Close()
}

// keepAll says of all that is wrong why it was not mended.
func (r *CheckReport) keepAll(why string) {
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Kind != Note {
			f.Kept = why
		}
	}
}

// mended compares a report with the one after the repair.
func (r *CheckReport) mended(after *CheckReport) {
	for i := range r.Findings {
		f := &r.Findings[i]
		still := func(a Finding) bool { return a.Kind == f.Kind && a.What == f.What }
		f.Mended = f.Kind != Note && f.Kept == "" && !slices.ContainsFunc(after.Findings, still)
	}
	known := func(a Finding) bool {
		return slices.ContainsFunc(r.Findings, func(f Finding) bool { return a.What == f.What })
	}
	for _, a := range after.Findings {
		if !known(a) {
			r.Findings = append(r.Findings, a)
		}
	}
	r.sort()
}

func (r *CheckReport) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.What, b.What))
	})
}

// checker is one look at a store's directory.
type checker struct {
	s      *Store
	ctx    context.Context
	o      CheckOptions
	report CheckReport
	// of is which images list a layer, by their names.
	of map[Digest][]string
}

// inUse is what an open store has at the moment of a check.
type inUse struct {
	// names are what its directories held, by directory, at one moment at which the disk and its tables agreed.
	names map[string][]string
	// needed are layers that imports under way need, and images that were removed before their records were read.
	needed map[Digest]bool
	// own: a name in tmp that the process itself made and hasn't failed to remove.
	own func(name string) bool
	// images are those that it has, by directory, with their layers.
	images map[string][]Digest
	// unseen are images that were removed and that nobody holds.
	unseen map[Digest]bool
}

// run looks at all. live is nil for a store that nobody has open.
func (c *checker) run(live *inUse) (*CheckReport, error) {
	if live == nil {
		names, err := c.s.survey()
		if err != nil {
			return nil, err
		}
		live = &inUse{names: names, own: func(string) bool { return false }}
	}
	c.report.Findings = []Finding{} // an empty list in JSON, not null
	layers := c.layers(live.names[dirLayers])
	images := c.images(live, layers)
	c.findOrphans(live, layers, images)
	if err := c.trees(layers); err != nil {
		return nil, err
	}
	c.report.Images, c.report.Layers = len(images), len(layers)
	c.report.sort()
	return &c.report, nil
}

// survey lists the store's directories.
func (s *Store) survey() (map[string][]string, error) {
	names := map[string][]string{}
	for _, dir := range []string{".", dirLayers, dirImages, dirTmp, dirQuarantine} {
		list, err := s.names(dir)
		if err != nil {
			return nil, err
		}
		slices.Sort(list)
		names[dir] = list
	}
	return names, nil
}

func (c *checker) found(f Finding) { c.report.Findings = append(c.report.Findings, f) }

// layers reads the layers' records.
func (c *checker) layers(names []string) map[Digest]*layerState {
	layers := map[Digest]*layerState{}
	for _, name := range names {
		l, err := c.s.loadLayer(name)
		if err == nil {
			layers[l.DiffID] = l
			continue
		}
		f := Finding{Kind: Damaged, What: name, Problem: err.Error(), path: name}
		if id, bad := digestFromHex(path.Base(name)); bad == nil {
			f.What, f.layer, f.path = "layer "+id.String(), id, ""
		}
		c.found(f)
	}
	return layers
}

// images reads the images' records and all their files.
func (c *checker) images(live *inUse, layers map[Digest]*layerState) map[Digest]*imageState {
	images := map[Digest]*imageState{}
	c.of = map[Digest][]string{}
	for _, name := range live.names[dirImages] {
		i, err := c.s.loadImage(name)
		if err != nil {
			if live.unseen != nil && c.s.gone(name) {
				for _, l := range live.images[name] {
					live.needed[l] = true
				}
				continue // removed while this looked
			}
			c.found(Finding{Kind: Damaged, What: "image " + path.Base(name), Problem: err.Error(), Images: []string{path.Base(name)}, image: name})
			continue
		}
		images[i.ID] = i
		label := i.label()
		for _, l := range i.Layers {
			if !slices.Contains(c.of[l], label) {
				c.of[l] = append(c.of[l], label)
			}
		}
	}
	for name := range live.images {
		if !slices.Contains(live.names[dirImages], name) {
			c.found(Finding{Kind: Damaged, What: "image " + path.Base(name), Problem: "its files are missing", Images: []string{path.Base(name)}, image: name})
		}
	}
	for _, i := range images {
		for _, l := range i.Layers {
			if layers[l] == nil {
				c.found(Finding{Kind: Damaged, What: "image " + i.ID.String(), Problem: "its layer " + l.String() + " is missing or damaged", Images: []string{i.label()}, layer: l})
				break
			}
		}
	}
	return images
}

// label is what a person calls the image.
func (i *imageState) label() string {
	if len(i.Tags) > 0 {
		return i.Tags[0]
	}
	return i.ID.String()
}

// findOrphans names what is there and needed by nobody.
func (c *checker) findOrphans(live *inUse, layers map[Digest]*layerState, images map[Digest]*imageState) {
	for id := range layers {
		if len(c.of[id]) == 0 && !live.needed[id] {
			c.found(Finding{Kind: Orphan, What: "layer " + id.String(), Problem: "no image has it", path: layerDir(id)})
		}
	}
	for id := range live.unseen {
		if i := images[id]; i != nil {
			c.found(Finding{Kind: Orphan, What: "image " + id.String(), Problem: "it was removed, and nothing holds it", path: i.dir()})
		}
	}
	for _, name := range live.names[dirTmp] {
		if !live.own(name) {
			c.found(Finding{Kind: Orphan, What: name, Problem: "left by something that was cut short; the next start of podlet sweeps it", path: name})
		}
	}
	for _, name := range live.names[dirQuarantine] {
		c.found(Finding{Kind: Note, What: name, Problem: "the record of an image that could not be read, kept for you to look at; delete it when you have"})
	}
	for _, name := range live.names["."] {
		if !knownName(name) {
			c.found(Finding{Kind: Note, What: name, Problem: "not podlet's"})
		}
	}
}

// knownName: what may lie in the store's directory.
func knownName(name string) bool {
	known := []string{"lock", dirLayers, dirImages, dirTmp, dirQuarantine, fileImported, "lost+found"}
	return slices.Contains(known, name) || strings.HasPrefix(name, ".mount-probe-")
}

// trees looks at what the layers hold.
func (c *checker) trees(layers map[Digest]*layerState) error {
	ids := slices.SortedFunc(maps.Keys(layers), func(a, b Digest) int { return cmp.Compare(a.s, b.s) })
	for n, id := range ids {
		if c.o.Progress != nil {
			c.o.Progress(n+1, len(ids))
		}
		t := treeCheck{s: c.s, l: &layers[id].layerRecord, deep: c.o.Deep}
		err := t.run(c.ctx)
		c.report.Files += t.files
		var damaged *damageError
		switch {
		case c.ctx.Err() != nil:
			return context.Cause(c.ctx)
		case errors.As(err, &damaged):
			c.found(Finding{Kind: Damaged, What: "layer " + id.String(), Problem: err.Error(), Images: c.of[id], layer: id})
		case err != nil && c.s.gone(layerDir(id)):
			// Removed while this looked.
		case err != nil:
			return fmt.Errorf("layer %s: %w", id, err)
		}
		if layers[id].Headers == 0 {
			c.found(Finding{Kind: Note, What: "layer " + id.String(), Problem: "only the number of its files can be checked: " + noHeaders(&layers[id].layerRecord).Error()})
		}
	}
	return nil
}

// gone: nothing is at name any more.
func (s *Store) gone(name string) bool {
	_, err := s.root.Lstat(name)
	return err != nil
}
