package pod

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"podlet/pause"
)

// idDigits is how long an id is. Its beginning names the object too, where no other's id begins so: crictl prints thirteen digits, and its users type
// as many as they think will do.
const idDigits = 64

// newID makes the id of a pod, a container or an exec: 32 random bytes in hex, as podlet's clients expect them.
func newID() string {
	var raw [32]byte
	rand.Read(raw[:])
	return hex.EncodeToString(raw[:])
}

// pauseID is the same id as pause knows it.
func pauseID(id string) pause.ID {
	var raw pause.ID
	hex.Decode(raw[:], []byte(id))
	return raw
}

// lookup finds what has this id, whole or its beginning; nil: nothing has.
func lookup[T any](table map[string]*T, id string) (found *T, err error) {
	if exact := table[id]; exact != nil || id == "" || len(id) >= idDigits {
		return exact, nil
	}
	for whole, v := range table {
		if !strings.HasPrefix(whole, id) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("id %s is the beginning of several: give more digits: %w", id, ErrInvalid)
		}
		found = v
	}
	return found, nil
}
