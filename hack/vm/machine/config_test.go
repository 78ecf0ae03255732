package machine

import (
	"slices"
	"strings"
	"testing"
)

func TestArguments(t *testing.T) {
	config := Config{Kernel: "/k", Initramfs: "/i", Root: "/r,1", Payload: "/p", Mode: Agent, Dir: "/d", CPUs: 3, MemoryMiB: 512}
	agent := strings.Join(config.arguments(), " ")
	for _, want := range []string{
		"-accel tcg,", "-smp 3 -m 512 ", "-kernel /k -initrd /i ", "-no-reboot", "podlet_mode=agent podlet_data=0 ",
		"snapshot=on,file=/r,,1 ", "snapshot=off,file=/p ", "virtserialport,chardev=channel,name=podlet.agent", "path=/d/console.log",
	} {
		if !strings.Contains(agent+" ", want) {
			t.Errorf("%s\nlacks %q", agent, want)
		}
	}
	for _, unwanted := range []string{"kvm", "-netdev", "-nic", "virtconsole", "id=data"} {
		if strings.Contains(agent, unwanted) {
			t.Errorf("%s\nhas %q", agent, unwanted)
		}
	}

	config.Mode, config.Data, config.Rows, config.Columns = Shell, "/data", 24, 80
	args := config.arguments()
	shell := strings.Join(args, " ")
	for _, want := range []string{"podlet_mode=shell podlet_data=1 podlet_size=24,80", "virtconsole,chardev=channel", "snapshot=off,file=/data"} {
		if !strings.Contains(shell, want) {
			t.Errorf("%s\nlacks %q", shell, want)
		}
	}
	// The guest's init knows the disks by their order.
	var disks []string
	for _, arg := range args {
		if id, ok := strings.CutPrefix(arg, "virtio-blk-pci,drive="); ok {
			disks = append(disks, id)
		}
	}
	if !slices.Equal(disks, []string{"root", "payload", "data"}) {
		t.Errorf("the disks are %v", disks)
	}
}

func TestTail(t *testing.T) {
	for _, c := range []struct {
		text  string
		lines int
		want  string
	}{
		{"", 3, ""},
		{"\n\n", 3, ""},
		{"one", 3, "\tone"},
		{"one\r\ntwo\r\nthree\r\n", 2, "\ttwo\n\tthree"},
		{"stack\n[ 1.2] Sched Debug Version: v0.11\nnumbers\n", 2, "\tstack"},
		{"boot\nBUG: x\nKernel panic - not syncing: y\ntrace\n task:a\na\ntask:b\nb\n", 2, "\tKernel panic - not syncing: y\n\ttrace\n\t...\n\ttask:b\n\tb"},
		{"boot\nKernel panic - not syncing: y\n task:a\na\n", 4, "\tboot\n\tKernel panic - not syncing: y\n\t task:a\n\ta"},
		{"\x1b[2Jclear\x07\x7f\n", 1, "\t[2Jclear"},
	} {
		if got := tailOf(c.text, c.lines); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}
