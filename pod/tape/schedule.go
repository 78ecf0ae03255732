package tape

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// SchedSetaffinity sets the CPUs that the process may run on: bit n of word w is CPU 64*w+n. The kernel leaves out what there isn't.
//
//	sched_setaffinity(0, 128, {cpus=0-63})
func (b *Builder) SchedSetaffinity(mask []uint64, why string) *StepRef {
	var p []byte
	for _, w := range mask {
		p = binary.LittleEndian.AppendUint64(p, w)
	}
	return b.add(unix.SYS_SCHED_SETAFFINITY, why, imm(0), imm(uint64(len(p))), b.buf(p))
}

// Setpriority sets the process's nice value, -20 to 19.
//
//	setpriority(PRIO_PROCESS, 0, 0)
func (b *Builder) Setpriority(nice int, why string) *StepRef {
	return b.add(unix.SYS_SETPRIORITY, why, imm(unix.PRIO_PROCESS), imm(0), signed(nice))
}

// SchedSetscheduler sets the policy, SCHED_*, and its static priority, 0 for SCHED_NORMAL.
//
//	sched_setscheduler(0, SCHED_NORMAL, {sched_priority=0})
func (b *Builder) SchedSetscheduler(policy int, priority int32, why string) *StepRef {
	p := binary.LittleEndian.AppendUint32(nil, uint32(priority))
	return b.add(unix.SYS_SCHED_SETSCHEDULER, why, imm(0), signed(policy), b.buf(p))
}

// ioprioClassShift and ioprioWhoProcess are of linux/ioprio.h.
const (
	ioprioClassShift = 13
	ioprioWhoProcess = 1
)

// IoprioSet sets the I/O scheduling class (IOPRIO_CLASS_*: 0 none, 1 real time, 2 best effort, 3 idle) and the level in it, 0 to 7.
//
//	ioprio_set(IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_NONE|0)
func (b *Builder) IoprioSet(class, level uint64, why string) *StepRef {
	return b.add(unix.SYS_IOPRIO_SET, why, imm(ioprioWhoProcess), imm(0), imm(class<<ioprioClassShift|level))
}

// SetMempolicyDefault gives memory from the node at hand, as if no policy had ever been set.
//
//	set_mempolicy(MPOL_DEFAULT, NULL, 0)
func (b *Builder) SetMempolicyDefault(why string) *StepRef {
	return b.add(unix.SYS_SET_MEMPOLICY, why, imm(unix.MPOL_DEFAULT), imm(0), imm(0))
}
