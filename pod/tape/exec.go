package tape

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Execve becomes the program at path. A tape that tries a name along PATH has one Execve an entry, each with Try and the errnos it goes on
// after; argv and env are stored once.
//
//	execve("/usr/bin/env", ["env"], 12 vars)
func (b *Builder) Execve(path string, argv, env []string, why string) *StepRef {
	if len(argv) == 0 {
		b.note(fmt.Errorf("step %d: execve of %q without argv[0]", len(b.steps), path))
	}
	return b.add(unix.SYS_EXECVE, why, b.str(path), b.vector(argv), b.vector(env))
}

// vector is a NULL-terminated array of strings.
func (b *Builder) vector(list []string) argument {
	p, relocs, err := b.data.pointers(list)
	if err != nil {
		b.note(fmt.Errorf("step %d: %w", len(b.steps), err))
	}
	return b.buf(p, relocs...)
}
