package spec

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// aliases are Linux's second names of signals (signal(7)).
var aliases = map[string]unix.Signal{"SIGCLD": unix.SIGCHLD, "SIGIOT": unix.SIGABRT, "SIGPOLL": unix.SIGIO}

// Signal is the number of a signal's name ("SIGTERM", "term", "SIGRTMIN+3") or number, 0 if there is none.
func Signal(name string) int {
	if n, err := strconv.Atoi(name); err == nil {
		if n < 1 || n > 64 {
			return 0
		}
		return n
	}
	full := strings.ToUpper(name)
	if !strings.HasPrefix(full, "SIG") {
		full = "SIG" + full
	}
	if n, ok := aliases[full]; ok {
		return int(n)
	}
	if n := unix.SignalNum(full); n != 0 {
		return int(n)
	}
	// The C library keeps 32 and 33 for itself; so does everybody's SIGRTMIN.
	const rtmin, rtmax = 34, 64
	if full == "SIGRTMIN" {
		return rtmin
	}
	if full == "SIGRTMAX" {
		return rtmax
	}
	if n, ok := offset(full, "SIGRTMIN+"); ok && rtmin+n <= rtmax {
		return rtmin + n
	}
	if n, ok := offset(full, "SIGRTMAX-"); ok && rtmax-n >= rtmin {
		return rtmax - n
	}
	return 0
}

func offset(name, prefix string) (int, bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(rest, 10, 8)
	return int(n), err == nil
}

// StopSignal is what asks a container to end: the CRI's, else the image's, else SIGTERM.
func StopSignal(c *Container, image *Image) int {
	if c.StopSignal != 0 {
		return c.StopSignal
	}
	if n := Signal(image.StopSignal); n != 0 {
		return n
	}
	return int(unix.SIGTERM)
}
