package seccomp

import (
	"slices"
	"strings"
)

//go:generate go run ./mknumbers numbers.go

// numbered is a system call's name and its number on each architecture, in the order of the columns.
type numbered struct {
	name string
	on   [architectures]int32
}

// The columns of the table of numbers.
const (
	columnX86 = iota
	columnX86_64
	columnX32
	columnARM
	columnAARCH64
	architectures
)

// lookup finds a system call by the kernel's name for it.
func lookup(name string) (*numbered, bool) {
	i, ok := slices.BinarySearchFunc(numbers[:], name, func(n numbered, name string) int { return strings.Compare(n.name, name) })
	if !ok {
		return nil, false
	}
	return &numbers[i], true
}
