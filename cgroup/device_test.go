package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	allowNull = DeviceRule{Allow: true, Type: 'c', Major: 1, Minor: 3, Access: "rwm"}
	allowZero = DeviceRule{Allow: true, Type: 'c', Major: 1, Minor: 5, Access: "rwm"}
	allowAny  = DeviceRule{Allow: true, Type: 'a', Major: -1, Minor: -1, Access: "rwm"}
	denyAny   = DeviceRule{Type: 'a', Major: -1, Minor: -1, Access: "rwm"}
)

func needDevices(t testing.TB, h *Hierarchy) {
	t.Helper()
	need(t, h, "devices")
}

// opens says which of the devices a process in a group with the rules can open
// to read and write.
func opens(t *testing.T, h *Hierarchy, rules []DeviceRule, devices ...string) string {
	t.Helper()
	g := create(t, h, path(t, "devices", strings.ReplaceAll(t.Name(), "/", "-")), &Resources{Devices: rules})
	defer g.Kill(t.Context())
	c := start(t, g, "open "+strings.Join(devices, " "))
	var can []string
	for range devices {
		if name, yes := strings.CutSuffix(c.line(t), " true"); yes {
			can = append(can, strings.TrimPrefix(name, "/dev/"))
		}
	}
	return strings.Join(can, " ")
}

func TestDevices(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		needDevices(t, h)
		program := h.noProgram == nil
		for i, c := range []struct {
			rules   []DeviceRule
			want    string
			program bool // more than the v1 controller can say
		}{
			{nil, "null zero full", false},
			{[]DeviceRule{}, "", false},
			{[]DeviceRule{allowAny}, "null zero full", false},
			{[]DeviceRule{allowNull, allowZero}, "null zero", false},
			{[]DeviceRule{denyAny, allowNull}, "null", false},
			{[]DeviceRule{allowNull, denyAny}, "", false},
			{[]DeviceRule{allowNull, allowZero, {Type: 'c', Major: 1, Minor: 3, Access: "rwm"}}, "zero", false},
			{[]DeviceRule{{Allow: true, Type: 'c', Major: 1, Minor: -1, Access: "rw"}}, "null zero full", false},
			{[]DeviceRule{{Allow: true, Type: 'a', Major: 1, Minor: 7, Access: "rw"}}, "full", false},
			{[]DeviceRule{{Allow: true, Type: 'b', Major: 1, Minor: 3, Access: "rwm"}}, "", false},
			{[]DeviceRule{{Allow: true, Type: 'c', Major: 1, Minor: 3, Access: "r"}}, "", false},
			{[]DeviceRule{{Allow: true, Type: 'c', Major: 1, Minor: 3, Access: "r"}, {Allow: true, Type: 'c', Major: 1, Minor: 3, Access: "w"}}, "null", false},
			{[]DeviceRule{allowNull, {Type: 'c', Major: 1, Minor: 3, Access: "w"}}, "", false},
			{[]DeviceRule{allowAny, {Type: 'c', Major: 1, Minor: 3, Access: "w"}}, "zero full", true},
			{[]DeviceRule{{Allow: true, Type: 'c', Major: 1, Minor: -1, Access: "rw"}, {Type: 'c', Major: 1, Minor: 5, Access: "m"}}, "null zero full", false},
			{[]DeviceRule{{Allow: true, Type: 'c', Major: 1, Minor: -1, Access: "rw"}, {Type: 'c', Major: 1, Minor: 5, Access: "r"}}, "null full", true},
			{[]DeviceRule{{Allow: true, Type: 'c', Major: -1, Minor: 7, Access: "rwm"}}, "full", false},
		} {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				if c.program && !program {
					if _, err := h.Create(t.Context(), path(t, "x"), &Resources{Devices: c.rules}); !errors.Is(err, ErrUnsupported) {
						t.Errorf("%v on the v1 controller: %v", c.rules, err)
					}
					return
				}
				if got := opens(t, h, c.rules, "/dev/null", "/dev/zero", "/dev/full"); got != c.want {
					t.Errorf("%v: can open %q, want %q", c.rules, got, c.want)
				}
			})
		}
	})
}

// Updates neither add programs nor block a device that both lists allow.
func TestDeviceUpdates(t *testing.T) {
	layouts(t, func(t *testing.T, h *Hierarchy) {
		needDevices(t, h)
		g := create(t, h, path(t, "devupdate"), &Resources{Devices: []DeviceRule{allowNull}})
		c := start(t, g, "open /dev/null")
		if line := c.line(t); line != "/dev/null true" {
			t.Fatal(line)
		}
		lists := [][]DeviceRule{{allowNull, allowZero}, {allowZero, allowNull}, {allowNull}, {allowNull, {Allow: true, Type: 'b', Major: 7, Minor: -1, Access: "r"}}}
		for i := range 1000 {
			if err := g.Update(t.Context(), &Resources{Devices: lists[i%len(lists)]}); err != nil {
				t.Fatal(err)
			}
		}
		// Another podlet, with programs of its own, finds what is attached.
		other := openLike(t, h)
		again, err := other.Load(g.path)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		before := programIDs(t, h, g)
		if err := again.Update(t.Context(), &Resources{Devices: lists[999%len(lists)]}); err != nil {
			t.Error(err)
		}
		if after := programIDs(t, h, g); fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("the same rules made program %v of %v", after, before)
		}
		if err := again.Update(t.Context(), &Resources{Devices: lists[0]}); err != nil {
			t.Error(err)
		}
		if after := programIDs(t, h, g); h.noProgram == nil && (len(after) != 1 || after[0] == before[0]) {
			t.Errorf("other rules made programs %v of %v", after, before)
		}
		if err := g.Kill(t.Context()); err != nil {
			t.Error(err)
		}
		if line, _ := c.out.ReadString('\n'); line != "" {
			t.Errorf("during the updates: %s", line)
		}
	})
}

func openLike(t *testing.T, h *Hierarchy) *Hierarchy {
	if h.Mode() == V1 {
		return openV1(t)
	}
	return open(t, top)
}

func programIDs(t *testing.T, h *Hierarchy, g *Group) []uint32 {
	t.Helper()
	if h.noProgram != nil {
		return nil
	}
	fd, err := h.v2.root.open(g.path.rel, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	defer dir(fd).close()
	ids, err := attachedPrograms(dir(fd))
	if err != nil || len(ids) != 1 {
		t.Fatalf("attached programs %v, %v", ids, err)
	}
	return ids
}

// The kernel writes nothing behind an attribute (SECURITY.md E16).
func TestBPFCanary(t *testing.T) {
	h := open(t, top)
	if h.noProgram != nil {
		t.Skipf("no device program can be loaded: %v", h.noProgram)
	}
	g := create(t, h, path(t, "canary"), &Resources{Devices: []DeviceRule{allowNull}})
	fd, err := h.v2.root.open(g.path.rel, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	defer dir(fd).close()
	var guarded struct {
		attr   bpfQuery
		canary [256]byte
	}
	for i := range guarded.canary {
		guarded.canary[i] = 0xa5
	}
	ids := make([]uint32, maxAttached)
	guarded.attr = bpfQuery{target: uint32(fd), attachType: unix.BPF_CGROUP_DEVICE, ids: unsafe.Pointer(&ids[0]), count: maxAttached}
	if _, err := bpf(unix.BPF_PROG_QUERY, &guarded.attr); err != nil || guarded.attr.count != 1 {
		t.Errorf("query: %d programs, %v", guarded.attr.count, err)
	}
	for i, b := range guarded.canary {
		if b != 0xa5 {
			t.Fatalf("byte %d behind the attribute is %#x", i, b)
		}
	}
	for name, size := range map[string]uintptr{
		"load": unsafe.Sizeof(bpfLoad{}), "attach": unsafe.Sizeof(bpfAttach{}), "query": unsafe.Sizeof(bpfQuery{}),
		"by id": unsafe.Sizeof(bpfByID{}), "info": unsafe.Sizeof(bpfInfo{}),
	} {
		if size != bpfAttrSize {
			t.Errorf("the attribute of %s has %d bytes", name, size)
		}
	}
}

// The verifier gives up when a signal comes in between: that is no failure, unless
// it never ends.
func TestLoadInterrupted(t *testing.T) {
	h := open(t, top)
	if h.noProgram != nil {
		t.Skipf("no device program can be loaded: %v", h.noProgram)
	}
	for _, on := range []bool{false, true} {
		p := path(t, "interrupted")
		rule := DeviceRule{Allow: true, Type: 'c', Major: 7, Minor: 7, Access: "r"}
		var g *Group
		hit, err := withFault(t, fault{on: on, only: unix.SYS_BPF, errno: unix.EAGAIN}, func() (err error) {
			g, err = h.Create(context.Background(), p, &Resources{Devices: []DeviceRule{rule}})
			return err
		})
		if !hit || errors.Is(err, unix.EAGAIN) != on || (err != nil) != on {
			t.Errorf("for ever %v: hit %v, %v", on, hit, err)
		}
		if err == nil {
			if err := errors.Join(g.Remove(t.Context()), h.RemoveMade(p.Parent(), g.Made())); err != nil {
				t.Error(err)
			}
			g.Close()
		}
		// The second time the program must not come from the cache.
		h = open(t, top)
	}
}

// Open doesn't take a moment's shortage for a kernel without device programs.
func TestOpenShortage(t *testing.T) {
	if h := open(t, top); h.noProgram != nil {
		t.Skipf("no device program can be loaded: %v", h.noProgram)
	}
	before := countFDs(t)
	hit, err := withFault(t, fault{only: unix.SYS_BPF, errno: unix.ENOMEM}, func() error {
		h, err := Open(top)
		if err == nil {
			h.Close()
		}
		return err
	})
	if !hit || !errors.Is(err, unix.ENOMEM) {
		t.Errorf("hit %v, %v", hit, err)
	}
	hit, err = withFault(t, fault{only: unix.SYS_BPF, errno: unix.EPERM}, func() error {
		h, err := Open(top)
		if err == nil {
			defer h.Close()
			if h.noProgram == nil {
				t.Error("a program was loaded without permission")
			}
		}
		return err
	})
	if !hit || err != nil {
		t.Errorf("hit %v, %v", hit, err)
	}
	if after := countFDs(t); after != before {
		t.Errorf("%d fds before, %d after", before, after)
	}
}
