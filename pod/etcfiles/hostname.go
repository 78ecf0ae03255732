package etcfiles

import (
	"errors"
	"fmt"
	"os"
)

// ErrInvalid says that a value can't stand in one of the files. The requester's fault: gRPC InvalidArgument.
var ErrInvalid = errors.New("invalid value")

// maxHostname is the kernel's limit for sethostname(2), in bytes.
const maxHostname = 64

// CheckHostname says whether name can be a pod's host name (CRI
// PodSandboxConfig.hostname): 1 to 64 of the letters, digits, '-', '_' and '.'
// of ASCII, beginning with a letter, a digit or '_'. Its error is an ErrInvalid.
func CheckHostname(name string) error {
	if name == "" {
		return fmt.Errorf("%w: the host name is empty", ErrInvalid)
	}
	if len(name) > maxHostname {
		return fmt.Errorf("%w: host name %.100q of %d bytes; the kernel allows %d", ErrInvalid, name, len(name), maxHostname)
	}
	return checkDomain("host name", name)
}

// checkDomain allows what names in DNS are made of in practice, and nothing that a file or a terminal could read as more.
func checkDomain(what, name string) error {
	if name[0] == '-' || name[0] == '.' {
		return fmt.Errorf("%w: %s %.100q begins with %q", ErrInvalid, what, name, name[:1])
	}
	for i, c := range []byte(name) {
		if !alphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return fmt.Errorf("%w: byte %#02x at position %d of %s %.100q; letters, digits, '-', '_' and '.' are allowed", ErrInvalid, c, i, what, name)
		}
	}
	return nil
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// Hostname gives the content of /etc/hostname (hostname(5)). "", which CRI allows in the node's network only, is the node's own name.
func Hostname(name string) ([]byte, error) {
	if name == "" {
		node, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("read the node's host name: %w", err)
		}
		return []byte(node + "\n"), nil
	}
	if err := CheckHostname(name); err != nil {
		return nil, err
	}
	return []byte(name + "\n"), nil
}
