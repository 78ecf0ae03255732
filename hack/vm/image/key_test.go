package image

import (
	"testing"
	"testing/fstest"
)

func TestKey(t *testing.T) {
	files := func(pairs ...string) fstest.MapFS {
		m := fstest.MapFS{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
		}
		return m
	}
	key := func(from fstest.MapFS, release string) string {
		k, err := keyOf(from, release)
		if err != nil || len(k) != 16 {
			t.Fatal(k, err)
		}
		return k
	}
	same := key(files("a.go", "text", "guest-init", "script"), "bookworm")
	if got := key(files("guest-init", "script", "a.go", "text", "a_test.go", "a test"), "bookworm"); got != same {
		t.Errorf("a test's file changed the key: %s, %s", got, same)
	}
	seen := map[string]string{same: "the first"}
	for what, other := range map[string]string{
		"another release":   key(files("a.go", "text", "guest-init", "script"), "trixie"),
		"another text":      key(files("a.go", "Text", "guest-init", "script"), "bookworm"),
		"another name":      key(files("b.go", "text", "guest-init", "script"), "bookworm"),
		"one file less":     key(files("a.go", "text"), "bookworm"),
		"a shifted border":  key(files("a.go", "tex", "guest-init", "tscript"), "bookworm"),
		"a moved character": key(files("a.got", "ext", "guest-init", "script"), "bookworm"),
	} {
		if before, ok := seen[other]; ok {
			t.Errorf("%s has the key of %s", what, before)
		}
		seen[other] = what
	}
}

// What the disks are made from is embedded, the scripts too.
func TestSources(t *testing.T) {
	for _, name := range []string{"packages.go", "root.go", "guest-init", "initramfs-init"} {
		if text, err := sources.ReadFile(name); err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
}

func TestCodename(t *testing.T) {
	for text, want := range map[string]string{
		"ID=debian\nVERSION_CODENAME=bookworm\n":   "bookworm",
		"VERSION_CODENAME=\"noble\"\nID=ubuntu":    "noble",
		"PRETTY_NAME=\"VERSION_CODENAME=x\"\n":     "",
		"UBUNTU_CODENAME=x\nOLD_VERSION_CODENAME=": "",
	} {
		if got := codename(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
