package spec

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"

	"podlet/internal/mount"
)

func TestNewProcess(t *testing.T) {
	s := &Sandbox{Name: "web", Hostname: "web"}
	c := &Container{Command: []string{"server"}, WorkingDir: "/srv", NoNewPrivs: true, OOMScoreAdj: 900, Capabilities: Capabilities{Drop: []string{"ALL"}}}
	id := &Identity{UID: 1000, GID: 100, Groups: []uint32{100, 7}, Home: "/home/app"}
	m := &Machine{LastCapability: 40, Capabilities: 1<<41 - 1, MaxOpenFiles: 20000}
	p, missing, err := NewProcess(s, c, &Image{Env: []string{"PATH=/bin:/sbin"}}, id, m)
	if err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	want := &Process{
		Args: []string{"server"}, Env: []string{"PATH=/bin:/sbin", "HOSTNAME=web", "HOME=/home/app"}, Programs: []string{"/bin/server", "/sbin/server"},
		Cwd: "/srv", UID: 1000, GID: 100, Groups: []uint32{100, 7}, NoNewPrivs: true, OOMScoreAdj: 900, OpenFilesSoft: 1024, OpenFilesHard: 20000,
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("\n got %+v\nwant %+v", p, want)
	}
	for _, bad := range []*Container{{}, {Command: []string{"x"}, Capabilities: Capabilities{Add: []string{"NONE"}}}} {
		if p, _, err := NewProcess(s, bad, &Image{}, id, m); err == nil {
			t.Errorf("%+v makes %+v", bad, p)
		}
	}
}

func TestExec(t *testing.T) {
	p := &Process{Args: []string{"/app"}, Env: []string{"PATH=/bin", "A=1"}, Programs: []string{"/app"}, UID: 5, TTY: true}
	e := p.Exec([]string{"ls", "-l"}, false)
	if !slices.Equal(e.Args, []string{"ls", "-l"}) || !slices.Equal(e.Programs, []string{"/bin/ls"}) || e.TTY || e.UID != 5 || !slices.Equal(e.Env, p.Env) {
		t.Errorf("exec: %+v", e)
	}
	if e := p.Exec([]string{"sh"}, true); !e.TTY || !slices.Equal(e.Env, []string{"PATH=/bin", "A=1", "TERM=xterm"}) {
		t.Errorf("exec with a terminal: %+v", e)
	}
	if !slices.Equal(p.Env, []string{"PATH=/bin", "A=1"}) || !slices.Equal(p.Args, []string{"/app"}) {
		t.Errorf("the container's own process was changed: %+v", p)
	}
	p.Env = append(p.Env, "TERM=vt100")
	if e := p.Exec([]string{"sh"}, true); !slices.Equal(e.Env, p.Env) {
		t.Errorf("TERM is set twice: %q", e.Env)
	}
}

// TestRecordsKeepSpecs: what stands on disk is read back as it was, nil and empty lists told apart.
func TestRecordsKeepSpecs(t *testing.T) {
	uid := int64(7)
	ids := []mount.IDMapping{{ContainerID: 0, HostID: 65536, Length: 65536}}
	for _, v := range []any{
		&Sandbox{Name: "a", Labels: map[string]string{"k": "v"}, UserNS: &IDMap{UIDs: ids, GIDs: ids}, DNS: DNS{Servers: []string{"1.1.1.1"}}},
		&Container{Name: "a", User: User{UID: &uid}, MaskedPaths: []string{}, Mounts: []Mount{{Source: "/a", Target: "/b", IDMap: &IDMap{UIDs: ids}}}},
		&Process{Args: []string{"a"}, Caps: CapabilitySets{Bounding: 1<<63 | 1}, OpenFilesHard: ^uint64(0)},
		&Image{Entrypoint: []string{"/x"}, Env: []string{"A=\x00\xff"[:3]}},
	} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		back := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := json.Unmarshal(text, back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(v, back) {
			t.Errorf("%s\n got %+v\nwant %+v", text, back, v)
		}
	}
}

// TestNoCommandSaysWhatIsMissing, since it is the first thing a user of a bare image meets.
func TestNoCommandSaysWhatIsMissing(t *testing.T) {
	_, _, err := NewProcess(&Sandbox{}, &Container{}, &Image{}, &Identity{}, full)
	if !errors.Is(err, ErrNoCommand) {
		t.Errorf("%v, want ErrNoCommand", err)
	}
}
