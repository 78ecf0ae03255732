package pod

import (
	"crypto/rand"
	"encoding/hex"

	"podlet/pause"
)

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
