package testimage

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
app:x:1000:1000:app:/home/app:/bin/sh
other:x:1001:100:other:/home/other:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
`

const group = `root:x:0:
daemon:x:1:
www-data:x:33:
users:x:100:
app:x:1000:
extra:x:2000:app
media:x:3000:www-data,app,other
nobody:x:65534:
`

func makeBusybox() (Image, error) {
	layers, err := busyboxLayers()
	return Image{
		Names:  []string{BusyboxName},
		Layers: layers,
		Config: Config{Cmd: []string{"sh"}, Env: []string{"PATH=/bin:/usr/bin:/sbin:/usr/sbin"}},
	}, err
}

// busyboxLayers gives two layers: the system, and a few files on top, compressed in different ways.
func busyboxLayers() ([]Layer, error) {
	path, err := busyboxBinary()
	if err != nil {
		return nil, err
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out, err := exec.Command(path, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --list: %w", path, err)
	}
	t := NewTree()
	for _, dir := range []string{"bin", "dev", "etc", "home", "proc", "run", "sbin", "sys", "usr", "usr/bin", "usr/sbin", "var", "var/log", "var/www"} {
		t.Dir(dir, 0o755)
	}
	t.Dir("root", 0o700).Dir("tmp", 0o1777).Dir("var/tmp", 0o1777)
	t.Symlink("var/run", "../run").Symlink("usr/bin/env", "../../bin/env")
	t.Add(tar.Header{Typeflag: tar.TypeDir, Name: "home/app/", Mode: 0o755, Uid: 1000, Gid: 1000}, nil)
	t.File("etc/passwd", 0o644, passwd).File("etc/group", 0o644, group)
	t.File("bin/busybox", 0o755, string(binary))
	applets := strings.Fields(string(out))
	slices.Sort(applets)
	for _, applet := range applets {
		if applet != "busybox" {
			t.Link("bin/"+applet, "bin/busybox")
		}
	}
	system, err := t.Layer(Gzip)
	if err != nil {
		return nil, err
	}
	top, err := NewTree().Dir("etc", 0o755).File("etc/image", 0o644, "a test image of podlet\n").Layer(Zstd)
	return []Layer{system, top}, err
}

// busyboxBinary finds a static busybox: the machine's own, or Debian's package, which needs not be installed.
func busyboxBinary() (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	kept := filepath.Join(cache, "busybox-static", "bin", "busybox")
	for _, path := range []string{kept, "/bin/busybox", "/usr/bin/busybox"} {
		if isStatic(path) {
			return path, nil
		}
	}
	err = locked(cache, func() error {
		if isStatic(kept) {
			return nil
		}
		return fetchBusybox(cache)
	})
	if err != nil {
		return "", fmt.Errorf("no static busybox: %w\ninstall it: apt-get update && apt-get install busybox-static", err)
	}
	return kept, nil
}

func fetchBusybox(cache string) error {
	tmp, err := os.MkdirTemp(cache, "deb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	download := func() error { return run(tmp, "apt-get", "download", "-qq", "busybox-static") }
	if download() != nil {
		// A fresh machine has no package lists yet.
		if err := run(tmp, "apt-get", "update", "-qq"); err != nil {
			return err
		}
		if err := download(); err != nil {
			return err
		}
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download busybox-static left %d packages", len(debs))
	}
	if err := run(tmp, "dpkg-deb", "-x", debs[0], "busybox-static"); err != nil {
		return err
	}
	return os.Rename(filepath.Join(tmp, "busybox-static"), filepath.Join(cache, "busybox-static"))
}

func run(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out.Bytes())
	}
	return nil
}

// isStatic: an ELF file without a program interpreter.
func isStatic(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}
