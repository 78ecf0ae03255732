package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// rig is a Network whose plugins are scripts: they write down how they were called and do what the test has put there for them.
type rig struct {
	t *testing.T
	*Network
	dir string
	cfg Config
	log *buffer
}

// buffer is a log that several goroutines write.
type buffer struct {
	sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.Write(p)
}

func (b *buffer) String() string {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.String()
}

// script is the plugin. Its name is the plugin's, DIR the rig's work directory.
const script = `#!/bin/sh
dir=DIR name=${0##*/}
call=$name-$CNI_COMMAND
cat >$dir/input-$call
env >$dir/env-$call
echo "$name $CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS" >>$dir/calls
[ ! -e $dir/do-$call ] || . $dir/do-$call
[ $CNI_COMMAND != ADD ] || cat $dir/result
`

const oneAddress = `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mac":"0a:00:00:00:00:01","sandbox":"/x"}],"ips":[{"address":"10.1.2.3/24","gateway":"10.1.2.1","interface":0}]}`

// newRig has the plugins named, and a configuration of them if version isn't empty.
func newRig(t *testing.T, version string, plugins ...string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), log: &buffer{}}
	r.cfg = Config{
		ConfDir: r.dir + "/conf", BinDirs: []string{r.dir + "/bin"}, Dir: r.dir + "/state", Timeout: 20 * time.Second,
		Log:         slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		statusEvery: 20 * time.Millisecond, queueLeast: 10 * time.Millisecond,
	}
	for _, d := range []string{"conf", "bin", "work"} {
		must(t, os.MkdirAll(filepath.Join(r.dir, d), 0o755))
	}
	for _, p := range plugins {
		r.install(p)
	}
	r.write("work/result", oneAddress)
	if version != "" {
		r.configure("10-test.conflist", conflist(version, plugins...))
	}
	t.Cleanup(func() {
		if r.Network != nil {
			must(t, r.Close())
		}
		if t.Failed() {
			t.Logf("log:\n%s\ncalls:\n%s", r.log, strings.Join(r.calls(), "\n"))
		}
	})
	return r
}

// open is a podlet's start: which pods there are is known then.
func (r *rig) open(pods ...string) *rig {
	r.t.Helper()
	n, err := Open(r.cfg)
	must(r.t, err)
	n.Recover(pods)
	r.Network = n
	return r
}

// again is podlet's end and another one's start.
func (r *rig) again(pods ...string) {
	r.t.Helper()
	must(r.t, r.Close())
	r.open(pods...)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// write puts a file in place by rename.
func (r *rig) write(name, text string) {
	r.t.Helper()
	must(r.t, os.WriteFile(r.path("new"), []byte(text), 0o755))
	must(r.t, os.Rename(r.path("new"), r.path(name)))
}

func (r *rig) remove(name string) {
	r.t.Helper()
	must(r.t, os.RemoveAll(r.path(name)))
}

func (r *rig) read(name string) string {
	r.t.Helper()
	text, err := os.ReadFile(r.path(name))
	must(r.t, err)
	return string(text)
}

func (r *rig) install(plugin string) {
	r.write("bin/"+plugin, strings.Replace(script, "DIR", r.path("work"), 1))
}

func (r *rig) configure(file, text string) { r.write("conf/"+file, text) }

// does makes a plugin do something more at a verb.
func (r *rig) does(plugin, verb, what string) {
	r.write("work/do-"+plugin+"-"+verb, what+"\n")
}

// mended takes that back.
func (r *rig) mended(plugin, verb string) { r.remove("work/do-" + plugin + "-" + verb) }

// calls are the plugins' calls so far, as "plugin VERB pod netns".
func (r *rig) calls() []string {
	text, _ := os.ReadFile(r.path("work/calls"))
	return slices.Collect(strings.Lines(string(text)))
}

// called counts calls that begin so.
func (r *rig) called(prefix string) int {
	count := 0
	for _, c := range r.calls() {
		if strings.HasPrefix(c, prefix) {
			count++
		}
	}
	return count
}

// records are the pods that have one.
func (r *rig) records() []string {
	r.t.Helper()
	entries, err := os.ReadDir(r.path("state/attachments"))
	must(r.t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// input is what a plugin was given.
func (r *rig) input(plugin, verb string) map[string]any {
	r.t.Helper()
	var v map[string]any
	must(r.t, json.Unmarshal([]byte(r.read("work/input-"+plugin+"-"+verb)), &v))
	return v
}

func (r *rig) soon(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within a minute: %s", what)
		}
	}
}

func brief(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// conflist has one plugin for each name, all with every capability.
func conflist(version string, plugins ...string) string {
	var list []string
	for _, p := range plugins {
		list = append(list, fmt.Sprintf(`{"type":%q,"own":{"key":1},"capabilities":{"portMappings":true,"bandwidth":true,"dns":true,"ipRanges":true,"mac":true}}`, p))
	}
	return fmt.Sprintf(`{"cniVersion":%q,"name":"net","plugins":[%s]}`, version, strings.Join(list, ","))
}

// here is a namespace that is there.
const here = "/proc/self/ns/net"

func pod(id string) Pod {
	return Pod{ID: id, Namespace: "ns", Name: "name-" + id, UID: "uid-" + id, NetNS: here}
}

func (r *rig) add(id string) *Result {
	r.t.Helper()
	result, err := r.Add(brief(r.t), pod(id))
	must(r.t, err)
	return result
}

// fails checks an error and that it names all that.
func fails(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}
