package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestExplainPrintsAllTapes: those of a pod's user namespace and of its shared PID namespace too, in the order in which they are played.
func TestExplainPrintsAllTapes(t *testing.T) {
	const (
		name  = "metadata: {name: web, namespace: shop, uid: u}\n"
		ids   = "[{host_id: 100000, container_id: 0, length: 65536}]"
		users = "userns_options: {mode: 0, uids: " + ids + ", gids: " + ids + "}"
	)
	dir := t.TempDir()
	write := func(file, text string) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	app := write("app.yaml", "metadata: {name: app}\nimage: {image: app}\ncommand: [/app]\n")
	for _, c := range []struct {
		options string // of the sandbox's namespaces
		want    []string
	}{
		{"pid: 1", []string{"pod shop/web", "container shop/web/app"}},
		{"pid: 0", []string{"pod shop/web", "init of pod shop/web", "container shop/web/app"}},
		{"pid: 0, " + users, []string{"user namespace", "pod shop/web", "init of pod shop/web", "container shop/web/app"}},
	} {
		pod := write("pod.yaml", name+"linux: {security_context: {namespace_options: {"+c.options+"}}}\n")
		for _, files := range [][]string{{pod}, {pod, app}} {
			want := c.want
			if len(files) == 1 {
				want = want[:len(want)-1]
			}
			cmd := root()
			var out bytes.Buffer
			cmd.SetOut(&out)
			cmd.SetArgs(append([]string{"explain"}, files...))
			if err := cmd.Execute(); err != nil {
				t.Fatalf("%s: %v", c.options, err)
			}
			if got := titles(out.String()); !slices.Equal(got, want) {
				t.Errorf("%s: tapes %q, want %q", c.options, got, want)
			}
		}
	}
}

// titles are what the tapes' first lines begin with. There is an empty line between two tapes.
func titles(text string) (all []string) {
	for _, t := range strings.Split(text, "\n\n") {
		title, _, _ := strings.Cut(t, ": ")
		all = append(all, title)
	}
	return all
}
