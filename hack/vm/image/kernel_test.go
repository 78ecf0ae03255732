package image

import (
	"slices"
	"strings"
	"testing"
)

const (
	testDep = `kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko
kernel/lib/crc16.ko:
kernel/fs/mbcache.ko:
kernel/fs/jbd2/jbd2.ko: kernel/fs/mbcache.ko
kernel/crypto/crc32c_generic.ko:
kernel/drivers/virtio/virtio_pci.ko.xz: kernel/drivers/virtio/virtio-ring.ko.xz
kernel/drivers/virtio/virtio-ring.ko.xz:
`
	testSoft = "# Soft dependencies extracted from modules themselves.\nsoftdep jbd2 post: nothing\nsoftdep ext4 pre: crc32c post: crc16\n"
)

func TestLoadOrder(t *testing.T) {
	order, err := loadOrder([]string{"virtio_pci", "virtio_blk", "ext4"}, testDep, "kernel/drivers/block/virtio_blk.ko\n", testSoft)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"kernel/drivers/virtio/virtio-ring.ko.xz",
		"kernel/drivers/virtio/virtio_pci.ko.xz",
		"kernel/crypto/crc32c_generic.ko",
		"kernel/lib/crc16.ko",
		"kernel/fs/mbcache.ko",
		"kernel/fs/jbd2/jbd2.ko",
		"kernel/fs/ext4/ext4.ko",
	}
	if !slices.Equal(order, want) {
		t.Errorf("the order is\n%s\nwant\n%s", strings.Join(order, "\n"), strings.Join(want, "\n"))
	}
	if _, err := loadOrder([]string{"xfs"}, testDep, "", ""); err == nil || !strings.Contains(err.Error(), "no module xfs") {
		t.Errorf("a module that isn't there: %v", err)
	}
}

func TestKernelIn(t *testing.T) {
	name, err := kernelIn("linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n  Suggests: linux-doc\n")
	if err != nil || name != "linux-image-6.1.0-56-cloud-amd64" {
		t.Errorf("%q, %v", name, err)
	}
	for _, text := range []string{"", "linux-image-cloud-amd64\n", "x\n  Depends: <linux-image-6.1>\n", "x\n  Depends: linux-image-cloud\n"} {
		if name, err := kernelIn(text); err == nil {
			t.Errorf("%q gave %q", text, name)
		}
	}
}
