package cni

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestConfigurations: the first file by name counts, a list or a single plugin; what is wrong with it is said, with its name.
func TestConfigurations(t *testing.T) {
	const single = `{"cniVersion":"0.4.0","name":"alone","type":"one"}`
	list := conflist("1.0.0", "one", "two")
	for _, c := range []struct {
		name  string
		files map[string]string
		// want is "file network version plugins", or words of the error.
		want, fails string
	}{
		{"none", nil, "", "no CNI configuration in"},
		{"others' files", map[string]string{"README": "x", "a.conflist.bak": "x", "dir.conf/x": "y"}, "", "no CNI configuration in"},
		{"a list", map[string]string{"10-a.conflist": list, "20-b.conflist": single}, "10-a.conflist net 1.0.0 one two", ""},
		{"the first by name", map[string]string{"10-b.conf": single, "9-a.conflist": list}, "10-b.conf alone 0.4.0 one", ""},
		{"a single plugin", map[string]string{"x.json": single}, "x.json alone 0.4.0 one", ""},
		{"a list named .conf", map[string]string{"x.conf": list}, "x.conf net 1.0.0 one two", ""},
		{"versions", map[string]string{"x.conflist": `{"cniVersions":["0.4.0","1.1.0","1.0.0","7.0.0"],"name":"net","plugins":[{"type":"one"}]}`}, "x.conflist net 1.1.0 one", ""},
		{"plugins beside it", map[string]string{
			"x.conflist": `{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"one"}]}`, "net/2.conf": `{"type":"two"}`, "net/1.conf": `{"type":"three"}`, "net/x": "x",
		}, "x.conflist net 1.1.0 one three two", ""},
		{"only those beside it", map[string]string{"x.conflist": `{"cniVersion":"1.1.0","name":"net"}`, "net/1.conf": `{"type":"two"}`}, "x.conflist net 1.1.0 two", ""},
		{"only those in it", map[string]string{
			"x.conflist": `{"cniVersion":"1.1.0","name":"net","loadOnlyInlinedPlugins":true,"plugins":[{"type":"one"}]}`, "net/1.conf": `x`,
		}, "x.conflist net 1.1.0 one", ""},
		{"wrong, before a right one", map[string]string{"10-a.conflist": "{", "20-b.conflist": list}, "", "10-a.conflist"},
		{"no JSON object", map[string]string{"x.conf": "[]"}, "", "x.conf"},
		{"no name", map[string]string{"x.conflist": `{"cniVersion":"1.0.0","plugins":[{"type":"one"}]}`}, "", "no name"},
		{"a path for a name", map[string]string{"x.conflist": `{"cniVersion":"1.0.0","name":"../x","plugins":[{"type":"one"}]}`}, "", "invalid characters found in network name"},
		{"no plugins", map[string]string{"x.conflist": `{"cniVersion":"1.0.0","name":"net"}`}, "", "no plugins"},
		{"no type", map[string]string{"x.conflist": `{"cniVersion":"1.0.0","name":"net","plugins":[{}]}`}, "", "type"},
		{"too new", map[string]string{"x.conflist": conflist("2.0.0", "one")}, "", `cniVersion "2.0.0" is none of`},
		{"versions that are too new", map[string]string{"x.conflist": `{"cniVersions":["1.2.0"],"name":"net","plugins":[{"type":"one"}]}`}, "", `cniVersions ["1.2.0"] has none of 0.1.0, `},
		{"those of a single plugin", map[string]string{"x.conf": `{"cniVersions":["1.2.0","2.0.0"],"name":"net","type":"one"}`}, "", `cniVersions ["1.2.0" "2.0.0"] has none of`},
		{"no versions", map[string]string{"x.conf": `{"cniVersions":[],"name":"net","type":"one"}`}, "x.conf net 0.1.0 one", ""},
		{"versions that are too new beside one", map[string]string{"x.conf": `{"cniVersion":"1.0.0","cniVersions":["1.2.0"],"name":"net","type":"one"}`}, "x.conf net 1.0.0 one", ""},
		{"empty", map[string]string{"x.conflist": ""}, "", "x.conflist"},
		{"wrong plugin beside it", map[string]string{"x.conflist": conflist("1.1.0", "one"), "net/1.conf": "{}"}, "", "net/1.conf"},
		{"large", map[string]string{"x.conflist": strings.Repeat(" ", maxConf+1) + list}, "", "larger than"},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		}
		n := &Network{cfg: Config{ConfDir: dir, BinDirs: []string{"/x"}, Dir: "/x"}}
		must(t, n.cfg.check())
		n.mu.conf, n.mu.wrong = readConf(dir)
		conf, err := n.ready()
		if c.fails != "" {
			fails(t, err, c.fails)
			if !errors.Is(err, ErrNotReady) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := conf.file + " " + conf.list.Name + " " + conf.list.CNIVersion
		for _, p := range conf.list.Plugins {
			got += " " + p.Network.Type
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		again, err := parseRecorded(conf.file, conf.text)
		if err != nil || !same(conf, again) || len(again.list.Plugins) != len(conf.list.Plugins) || again.list.CNIVersion != conf.list.CNIVersion {
			t.Errorf("%s: as a record has it: %+v, %v", c.name, again, err)
		}
	}
}

// TestWritableByAll: what everybody may write decides on nothing that root does (SECURITY E12's class).
func TestWritableByAll(t *testing.T) {
	for _, c := range []struct {
		name, path string
		mode       os.FileMode
	}{
		{"configuration", "conf/10-test.conflist", 0o666}, {"its directory", "conf", 0o777}, {"a sticky one", "conf", 0o777 | os.ModeSticky}, {"a plugin", "bin/one", 0o777},
		{"the plugins' directory", "bin", 0o777}, {"a plugin beside it", "conf/net/1.conf", 0o646}, {"their directory", "conf/net", 0o757},
	} {
		r := newRig(t, "1.1.0", "one")
		must(t, os.Mkdir(r.path("conf/net"), 0o755))
		r.write("conf/net/1.conf", `{"type":"one"}`)
		must(t, os.Chmod(r.path(c.path), c.mode))
		r.open()
		fails(t, r.Check(brief(t)), c.path, "chmod o-w")
		_, err := r.Add(brief(t), pod("p1"))
		fails(t, err, c.path, "chmod o-w")
		for _, call := range r.calls() {
			t.Errorf("%s: called %s", c.name, call)
		}
		must(t, os.Chmod(r.path(c.path), 0o755))
		// A mode is a change of the configuration, too, and of what the last DEL that failed wanted.
		r.soon("it is taken", func() bool { return r.Check(brief(t)) == nil })
		must(t, r.Leave(brief(t), "p1"))
	}
}

// TestFileIsNoTrap: a fifo, a directory or a link to nowhere in a configuration's place is an error, and nobody waits for it.
func TestFileIsNoTrap(t *testing.T) {
	r := newRig(t, "1.0.0", "one").open()
	for name, make := range map[string]func(path string) error{
		"fifo": func(path string) error { return unix.Mkfifo(path, 0o644) },
		"link": func(path string) error { return os.Symlink("/nowhere", path) },
	} {
		must(t, make(r.path("conf/00-"+name+".conflist")))
		r.soon(name+" is refused", func() bool {
			err := r.Check(brief(t))
			return err != nil && strings.Contains(err.Error(), "00-"+name+".conflist")
		})
		must(t, os.Remove(r.path("conf/00-"+name+".conflist")))
	}
	must(t, os.Mkdir(r.path("conf/00-dir.conflist"), 0o755))
	r.soon("a directory is none of it", func() bool { return r.Check(brief(t)) == nil })
}

// TestPluginNames: what is no name leads to no file elsewhere.
func TestPluginNames(t *testing.T) {
	for _, name := range []string{"../one", "/bin/true", "a/b", "..", "."} {
		r := newRig(t, "", "one")
		r.configure("x.conflist", fmt.Sprintf(`{"cniVersion":"1.0.0","name":"net","plugins":[{"type":%q}]}`, name))
		r.open()
		fails(t, r.Check(brief(t)), "no name of a plugin")
		_, err := r.Add(brief(t), pod("p1"))
		fails(t, err, "no name of a plugin")
	}
	r := newRig(t, "1.0.0", "one")
	must(t, os.Chmod(r.path("bin/one"), 0o644))
	r.open()
	fails(t, r.Check(brief(t)), "bin/one", "0644")
}

// TestWatch: what changes in the directory counts without a restart: files, the directory itself, and plugins beside a list.
func TestWatch(t *testing.T) {
	r := newRig(t, "", "one", "two")
	r.remove("conf")
	r.open()
	is := func(what string) {
		t.Helper()
		r.soon(what, func() bool {
			d := r.Describe()
			return strings.HasPrefix(fmt.Sprintf("%s %s %s", d.File, strings.Join(d.Plugins, " "), d.Error), what)
		})
	}
	is("  the pod network is not ready: there is no CNI configuration in " + r.path("conf"))
	if r.Configured() {
		t.Error("configured by nothing")
	}
	must(t, os.Mkdir(r.path("conf"), 0o755))
	// Written slowly, as cp does it: no moment of it is taken for the whole, and half of it is said to be wrong.
	f, err := os.Create(r.path("conf/20-b.conflist"))
	must(t, err)
	text := conflist("1.1.0", "one")
	_, err = f.WriteString(text[:30])
	must(t, err)
	r.soon("half of it is wrong", func() bool { return strings.Contains(r.Describe().Error, "20-b.conflist") })
	_, err = f.WriteString(text[30:])
	must(t, err)
	must(t, f.Close())
	is("20-b.conflist one ")
	if !r.Configured() {
		t.Error("not configured")
	}
	r.configure("10-a.conflist", conflist("1.0.0", "two"))
	is("10-a.conflist two ")
	must(t, os.Remove(r.path("conf/10-a.conflist")))
	is("20-b.conflist one ")
	must(t, os.Mkdir(r.path("conf/net"), 0o755))
	r.write("conf/net/1.conf", `{"type":"two"}`)
	is("20-b.conflist one two ")
	must(t, os.Rename(r.path("conf"), r.path("away")))
	is("  the pod network is not ready: there is no CNI")
	must(t, os.Mkdir(r.path("conf"), 0o755))
	r.configure("30-c.conflist", conflist("1.0.0", "two", "one"))
	is("30-c.conflist two one ")
	must(t, os.RemoveAll(r.path("conf")))
	is("  the pod network is not ready: there is no CNI")
	must(t, os.Rename(r.path("away"), r.path("conf")))
	is("20-b.conflist one two ")
	if !r.Configured() {
		t.Error("not configured")
	}
}

// TestWatchOfANewDirectory: a directory that took the place of another is watched, also where the file system gives it the other's number.
func TestWatchOfANewDirectory(t *testing.T) {
	dir := t.TempDir() + "/conf"
	w, err := newWatcher()
	must(t, err)
	defer w.close()
	must(t, os.Mkdir(dir, 0o755))
	w.aim(dir, "")
	must(t, os.Remove(dir))
	must(t, os.Mkdir(dir, 0o755))
	events := func() (n int) {
		for {
			got, err := unix.Read(w.raw, make([]byte, 4<<10))
			if err != nil {
				return n // none is left
			}
			n += got
		}
	}
	events()
	w.aim(dir, "")
	events()
	must(t, os.WriteFile(dir+"/10-a.conflist", nil, 0o644))
	if events() == 0 {
		t.Error("nobody hears of a file in it")
	}
}
