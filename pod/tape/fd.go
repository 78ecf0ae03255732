package tape

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Fd is an operand that names an open file: an [FD], a [Reg], or a number made by [Num].
type Fd interface {
	operand(b *Builder) (argument, error)
}

// FD is an fd that travels with the tape. Builder.FD makes it; it is of use in that builder's steps alone.
type FD struct {
	b     *Builder
	index int
}

// Reg is the fd that an earlier step of the same tape opened.
type Reg struct {
	b  *Builder
	id int
}

type number int

// Cwd is AT_FDCWD: a relative path starts at the working directory.
var Cwd = Num(unix.AT_FDCWD)

// Num is a number that is known beforehand: 0, 1, 2 or AT_FDCWD.
func Num(n int) Fd { return number(n) }

func (f FD) operand(b *Builder) (argument, error) {
	if f.b != b {
		return argument{}, fmt.Errorf("an fd of another tape")
	}
	return argument{argFD, uint64(f.index)}, nil
}

func (r Reg) operand(b *Builder) (argument, error) {
	if r.b != b {
		return argument{}, fmt.Errorf("a register of another tape")
	}
	return argument{argReg, uint64(r.id)}, nil
}

func (n number) operand(*Builder) (argument, error) {
	return argument{argImm, uint64(int64(n))}, nil
}
