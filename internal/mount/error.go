package mount

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// Error is a system call that failed, with everything it was called with. It unwraps to the errno.
type Error struct {
	// Call is the system call's name, FS the file system type of an fsopen context or "".
	Call, FS string
	// Key and Value are the fsconfig parameter; empty where the call has none.
	Key, Value string
	// Path is the host path the call was about, or "".
	Path string
	// Messages are the kernel's own words from the fsopen context's log, without their level; usually none.
	Messages []string
	Err      error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Call)
	for _, s := range []string{e.FS, e.Key} {
		if s != "" {
			b.WriteString(" " + s)
		}
	}
	if e.Value != "" {
		b.WriteString("=" + e.Value)
	}
	if e.Path != "" {
		b.WriteString(" " + e.Path)
	}
	b.WriteString(": " + e.Err.Error())
	if len(e.Messages) > 0 {
		b.WriteString(" (kernel: " + strings.Join(e.Messages, "; ") + ")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// FeatureError says that the kernel or a file system lacks something. It is errors.ErrUnsupported.
type FeatureError struct {
	// Feature is what is missing, Since the Linux version that brought it, or "" where that depends on the file system.
	Feature, Since string
	// Path and FS name the source and its file system type, where one is to blame.
	Path, FS string
	// Err is the failure it was seen by.
	Err error
}

func (e *FeatureError) Error() string {
	s := e.Feature + " is not supported"
	if e.FS != "" {
		s += " by " + e.FS
	}
	if e.Path != "" {
		s += " at " + e.Path
	}
	if e.Since != "" {
		s += " (needs Linux " + e.Since + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *FeatureError) Unwrap() error { return e.Err }

// Is reports a FeatureError as errors.ErrUnsupported.
func (e *FeatureError) Is(target error) bool { return target == errors.ErrUnsupported }

// refused reports whether err is the kernel's word for "I don't do that", rather than a shortage or a mistake of the moment.
func refused(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP)
}
