package record

import (
	"errors"
	"fmt"
	"strings"
)

// Pod is the name of a sandbox's record.
const Pod = "pod"

const containerPrefix = "container-"

// ErrInvalidName says that an id or a name is not of the form that may become part of a path.
var ErrInvalidName = errors.New("invalid record name")

// Container gives the name of the record of the container id.
func Container(id string) string { return containerPrefix + id }

// ContainerID gives the id in a container's record name; ok is false for other names.
func ContainerID(name string) (id string, ok bool) {
	id, ok = strings.CutPrefix(name, containerPrefix)
	return id, ok && ValidID(id)
}

// ValidID reports whether id is one that podlet makes: 64 lowercase hexadecimal digits.
func ValidID(id string) bool {
	if len(id) != 64 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func validName(name string) bool {
	_, container := ContainerID(name)
	return container || name == Pod
}

func checkNames(podID, name string) error {
	if !ValidID(podID) {
		return fmt.Errorf("%w: pod id %.80q is not 64 lowercase hexadecimal digits", ErrInvalidName, podID)
	}
	if !validName(name) {
		return fmt.Errorf("%w: %.100q is neither %q nor %q and an id", ErrInvalidName, name, Pod, containerPrefix)
	}
	return nil
}
