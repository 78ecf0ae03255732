package image

import (
	"bufio"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// writeInitramfs makes the initramfs at file from busybox and modules of the unpacked root.
func writeInitramfs(file, root, version string) error {
	modules, err := modulePaths(root, version)
	if err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	buffered := bufio.NewWriter(out)
	archive := &cpioWriter{w: buffered}
	script, err := sources.ReadFile("initramfs-init")
	if err != nil {
		return err
	}
	archive.dir("bin")
	archive.dir("modules")
	archive.file("init", 0o755, script)
	if err := archive.copied("bin/busybox", 0o755, filepath.Join(root, "bin/busybox")); err != nil {
		return err
	}
	var order strings.Builder
	for _, module := range modules {
		if err := archive.copied("modules/"+path.Base(module), 0o644, filepath.Join(root, "usr/lib/modules", version, module)); err != nil {
			return err
		}
		order.WriteString(path.Base(module) + "\n")
	}
	archive.file("modules/order", 0o644, []byte(order.String()))
	if err := archive.end(); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return out.Close()
}
