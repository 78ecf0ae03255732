package machine

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Mode is what the guest's init starts.
type Mode string

const (
	Agent Mode = "agent" // the agent, for Run
	Shell Mode = "shell" // a shell on Console
)

// Config says what to boot.
type Config struct {
	Kernel, Initramfs, Root string // files, see package image; Root is not written to
	Payload                 string // raw ext4 disk that has the agent and the checkout; written to
	Data                    string // raw ext4 disk mounted at /data, written to; empty: none
	Mode                    Mode
	Dir                     string // existing directory for this machine's own files: console.log, qemu.log and what the snapshot takes
	CPUs                    int    // at least 1
	MemoryMiB               int    // at least 256
	Rows, Columns           int    // the terminal's size in shell mode; 0: unknown

	// Silence is how long a guest that boots or runs a command may go without a sign of life before it is given up as hung. A boot takes 5 s, many times that on a machine with other work; after that there is one every wire.AliveEvery.
	Silence time.Duration
}

// console is the file of the guest's console, which the kernel and init write to.
func (c Config) console() string { return filepath.Join(c.Dir, "console.log") }

// emulator is the file of what qemu itself had to say.
func (c Config) emulator() string { return filepath.Join(c.Dir, "qemu.log") }

// The numbers of the files that qemu gets.
const (
	channel = 3 // the socket of the agent's port, or of the shell's terminal
	monitor = 4 // the socket that qemu itself takes orders from
)

// commandLine is the kernel's; unknown words with a "=" become init's environment.
func (c Config) commandLine() string {
	words := []string{
		"console=ttyS0", "quiet",
		// Any oops ends the machine at once, and qemu, told not to reboot, with it: the console's log is the report.
		"oops=panic", "panic=-1",
		// A guest that hangs is sent an NMI: it panics too, and prints every task's stack first.
		"unknown_nmi_panic=1", "panic_print=1",
		// The emulator runs no code speculatively, and its time stamp counter is one for all CPUs.
		"mitigations=off", "tsc=reliable", "random.trust_cpu=on",
		"podlet_mode=" + string(c.Mode),
		"podlet_data=" + flag(c.Data != ""),
		fmt.Sprintf("podlet_size=%d,%d", c.Rows, c.Columns),
	}
	return strings.Join(words, " ")
}

// arguments is qemu's command line.
func (c Config) arguments() []string {
	args := []string{
		"-name", "podlet-vm",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-machine", "q35", "-accel", "tcg,thread=multi",
		// Five-level page tables only make the emulator's walks longer.
		"-cpu", "max,la57=off",
		"-smp", strconv.Itoa(c.CPUs), "-m", strconv.Itoa(c.MemoryMiB),
		"-kernel", c.Kernel, "-initrd", c.Initramfs, "-append", c.commandLine(),
		"-chardev", "file,id=console,path=" + escaped(c.console()), "-serial", "chardev:console",
		"-device", "virtio-serial-pci",
		"-chardev", fmt.Sprintf("socket,id=channel,fd=%d", channel),
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", monitor), "-mon", "chardev=monitor,mode=control",
	}
	switch c.Mode {
	case Shell:
		args = append(args, "-device", "virtconsole,chardev=channel")
	default:
		args = append(args, "-device", "virtserialport,chardev=channel,name="+portName)
	}
	// In the order in which the guest names them: vda, vdb, vdc.
	args = append(args, drive("root", c.Root, true)...)
	args = append(args, drive("payload", c.Payload, false)...)
	if c.Data != "" {
		args = append(args, drive("data", c.Data, false)...)
	}
	return args
}

// drive is one virtio disk. cache=unsafe leaves out the host's syncs only: what the guest has written is in the host's page cache, which the machine's sudden end doesn't touch.
func drive(id, file string, snapshot bool) []string {
	return []string{
		"-drive", "if=none,format=raw,cache=unsafe,discard=unmap,id=" + id + ",snapshot=" + onOff(snapshot) + ",file=" + escaped(file),
		"-device", "virtio-blk-pci,drive=" + id,
	}
}

// escaped doubles the commas of a value inside one of qemu's comma-separated options.
func escaped(value string) string { return strings.ReplaceAll(value, ",", ",,") }

func flag(set bool) string {
	if set {
		return "1"
	}
	return "0"
}

func onOff(set bool) string {
	if set {
		return "on"
	}
	return "off"
}
