package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	_ "unsafe" // for linkname

	"golang.org/x/sys/unix"

	"podlet/pod/tape"
)

// The seams by which a test starts a podlet that lacks a defence, and so proves that the attack would have been noticed.
const (
	// withoutDefence names the defence to leave out: one of the cases of sabotage.
	withoutDefence = "PODLET_TEST_WITHOUT"
	// keepTapes is a directory that gets each tape as "podlet explain" shows it.
	keepTapes = "PODLET_TEST_TAPES"
)

// encodeTape is package pod's own seam: what turns every tape into what is sent to pause.
//
//go:linkname encodeTape podlet/pod.encode
var encodeTape func(*tape.Tape) ([]byte, error)

func init() {
	if os.Getenv(asPodlet) == "" {
		return
	}
	without, dir := os.Getenv(withoutDefence), os.Getenv(keepTapes)
	if without == "" && dir == "" {
		return
	}
	encode := encodeTape
	var count atomic.Int64
	encodeTape = func(t *tape.Tape) ([]byte, error) {
		wire, err := encode(t)
		if err != nil {
			return nil, err
		}
		if dir != "" {
			if err := keepTape(t, filepath.Join(dir, fmt.Sprintf("%06d", count.Add(1)))); err != nil {
				return nil, err
			}
		}
		return sabotage(without, t, wire)
	}
}

func keepTape(t *tape.Tape, file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintln(f, t.Name())
	return t.Explain(f, tape.ExplainOptions{Env: true})
}

// The wire form; package tape's format.go draws it.
const (
	wireHeader = 48
	wireStep   = 72
	wireArgs   = 24

	wireDataOffset = 32
)

// sabotage edits the tapes of containers and execs.
func sabotage(defence string, t *tape.Tape, wire []byte) ([]byte, error) {
	if !strings.HasPrefix(t.Name(), "exec in ") && !strings.HasPrefix(t.Name(), "container ") {
		return wire, nil
	}
	le := binary.LittleEndian
	for i := range t.Len() {
		step := wire[wireHeader+i*wireStep:][:wireStep]
		nr, arg := le.Uint16(step), func(k int) []byte { return step[wireArgs+8*k:] }
		switch {
		case defence == "dumpable" && nr == unix.SYS_PRCTL && le.Uint64(arg(0)) == unix.PR_SET_DUMPABLE:
			// What is inherited is 0: the nursery's own first act. So the step must not be left out but turned round.
			le.PutUint64(arg(1), 1)
		case defence == "read-only" && nr == unix.SYS_MOUNT_SETATTR:
			step[2], step[3] = 0xff, 0
			le.PutUint16(step, unix.SYS_GETPID)
		case defence == "resolve" && nr == unix.SYS_OPENAT2:
			// struct open_how: flags, mode, resolve.
			copy(buffer(wire, arg(2))[16:24], make([]byte, 8))
		case defence == "inheritable" && nr == unix.SYS_CAPSET:
			// struct __user_cap_data_struct, twice: effective, permitted, inheritable.
			for half := range 2 {
				data := buffer(wire, arg(1))[12*half:]
				copy(data[8:12], data[4:8])
			}
		}
	}
	return wire, nil
}

// buffer is what an argument of a step points to.
func buffer(wire, arg []byte) []byte {
	le := binary.LittleEndian
	data := wire[le.Uint32(wire[wireDataOffset:]):]
	return data[le.Uint32(arg):][:le.Uint32(arg[4:])]
}
