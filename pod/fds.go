package pod

import (
	"errors"
	"fmt"
	"os"

	"podlet/pause"
	"podlet/pod/tape"
)

// fds are the open files that a tape asks for, by name.
type fds map[string]*os.File

// encode is Tape.Encode, but in tests that break a step of it.
var encode = (*tape.Tape).Encode

// pack gives the tape's wire form and the files in the order in which it expects them.
func (f fds) pack(t *tape.Tape) ([]byte, []*os.File, error) {
	wire, err := encode(t)
	if err != nil {
		return nil, nil, err
	}
	var passed []*os.File
	for _, name := range t.FDs() {
		file := f[name]
		if file == nil {
			return nil, nil, fmt.Errorf("the tape of %s wants a file %q that nobody opened", t.Name(), name)
		}
		passed = append(passed, file)
	}
	return wire, passed, nil
}

// close closes all of them; what a process was sent it has its own copy of.
func (f fds) close() {
	for _, file := range f {
		file.Close()
	}
}

// add keeps file, or gives the error by which it couldn't be opened.
func (f fds) add(name string, file *os.File, err error) error {
	if err != nil {
		return err
	}
	f[name] = file
	return nil
}

// explainFailure turns what pause says of a tape that failed into the words of the step.
func explainFailure(t *tape.Tape, err error) error {
	var failed *pause.FailedError
	if !errors.As(err, &failed) || failed.Step == pause.StepNone {
		return err
	}
	return t.Error(failed.Step, int32(failed.Errno))
}
