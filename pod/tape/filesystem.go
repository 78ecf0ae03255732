package tape

import "golang.org/x/sys/unix"

// FSOpen begins a new file system of the named type. FSOPEN_CLOEXEC is set.
//
//	fsopen("proc", FSOPEN_CLOEXEC) = [proc context]
func (b *Builder) FSOpen(fs, why string) Reg {
	return b.open(unix.SYS_FSOPEN, why, b.str(fs), imm(unix.FSOPEN_CLOEXEC))
}

// FSConfigString gives a file system's parameter a value, 255 bytes at most.
//
//	fsconfig([proc context], FSCONFIG_SET_STRING, "hidepid", "invisible", 0)
func (b *Builder) FSConfigString(fs Fd, key, value, why string) *StepRef {
	return b.add(unix.SYS_FSCONFIG, why, b.fd(fs), imm(unix.FSCONFIG_SET_STRING), b.str(key), b.str(value), imm(0))
}

// FSConfigFlag sets a file system's parameter that has no value.
//
//	fsconfig([devpts context], FSCONFIG_SET_FLAG, "newinstance", NULL, 0)
func (b *Builder) FSConfigFlag(fs Fd, key, why string) *StepRef {
	return b.add(unix.SYS_FSCONFIG, why, b.fd(fs), imm(unix.FSCONFIG_SET_FLAG), b.str(key), imm(0), imm(0))
}

// FSConfigFD gives a file system's parameter an open file.
//
//	fsconfig([overlay context], FSCONFIG_SET_FD, "lowerdir+", NULL, <layer>)
func (b *Builder) FSConfigFD(fs Fd, key string, value Fd, why string) *StepRef {
	return b.add(unix.SYS_FSCONFIG, why, b.fd(fs), imm(unix.FSCONFIG_SET_FD), b.str(key), imm(0), b.fd(value))
}

// FSConfigCreate makes the file system of what was configured.
//
//	fsconfig([proc context], FSCONFIG_CMD_CREATE, NULL, NULL, 0)
func (b *Builder) FSConfigCreate(fs Fd, why string) *StepRef {
	return b.add(unix.SYS_FSCONFIG, why, b.fd(fs), imm(unix.FSCONFIG_CMD_CREATE), imm(0), imm(0), imm(0))
}

// FSMount makes a detached mount of a created file system; attrs are MOUNT_ATTR_*. FSMOUNT_CLOEXEC is set.
//
//	fsmount([proc context], FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC) = [proc]
func (b *Builder) FSMount(fs Fd, attrs uint32, why string) Reg {
	return b.open(unix.SYS_FSMOUNT, why, b.fd(fs), imm(unix.FSMOUNT_CLOEXEC), imm(uint64(attrs)))
}
