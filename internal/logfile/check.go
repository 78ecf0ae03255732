package logfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// ErrInvalid says that a log path is none that CRI allows, or leads to what is no log file. The caller's fault: gRPC InvalidArgument.
var ErrInvalid = errors.New("invalid log path")

// maxPath is the longest path of the kernel's, PATH_MAX without its NUL; maxName the longest name.
const (
	maxPath = 4095
	maxName = 255
)

// Check says whether logPath below logDir can name a log file, without a look at
// the disk: for CreateContainer. logDir is absolute without "..", logPath
// relative and, cleaned of "." and "..", below logDir. Its error is an
// ErrInvalid. Empty paths are invalid: where the CRI leaves one empty, the
// container has no log, and its caller doesn't ask.
func Check(logDir, logPath string) error {
	_, err := parts(logDir, logPath)
	return err
}

// parts gives the names on the way from logDir to the file.
func parts(logDir, logPath string) ([]string, error) {
	if !filepath.IsAbs(logDir) {
		return nil, fmt.Errorf("%w: log directory %.200q is not absolute", ErrInvalid, logDir)
	}
	for name := range strings.SplitSeq(logDir, "/") {
		if name == ".." {
			return nil, fmt.Errorf("%w: log directory %.200q goes up by \"..\"", ErrInvalid, logDir)
		}
	}
	if logPath == "" || strings.HasSuffix(logPath, "/") {
		return nil, fmt.Errorf("%w: %.200q names no file", ErrInvalid, logPath)
	}
	if filepath.IsAbs(logPath) {
		return nil, fmt.Errorf("%w: %.200q is absolute; it must be relative to the log directory %.200q", ErrInvalid, logPath, logDir)
	}
	clean := filepath.Clean(logPath)
	if !filepath.IsLocal(clean) {
		return nil, fmt.Errorf("%w: %.200q leads out of the log directory %.200q", ErrInvalid, logPath, logDir)
	}
	if clean == "." {
		return nil, fmt.Errorf("%w: %.200q names no file", ErrInvalid, logPath)
	}
	if len(logDir)+1+len(clean) > maxPath {
		return nil, fmt.Errorf("%w: %d bytes, a path has at most %d", ErrInvalid, len(logDir)+1+len(clean), maxPath)
	}
	names := strings.Split(clean, "/")
	for _, name := range append(strings.Split(logDir, "/"), names...) {
		if len(name) > maxName {
			return nil, fmt.Errorf("%w: a name of %d bytes in it, at most %d are allowed: %.80q…", ErrInvalid, len(name), maxName, name)
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			return nil, fmt.Errorf("%w: a control character in %.200q", ErrInvalid, name)
		}
	}
	return names, nil
}
