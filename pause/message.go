package pause

import (
	"errors"
	"fmt"
	"unsafe"
)

// The structs of the protocol travel as they lie in memory: amd64 and arm64 are both little endian, and lay these fields out alike without a gap.

type request interface {
	msgHeader | msgHello | msgClone | msgID | msgTap | msgWriter
}

type answer interface {
	msgHeader | msgWelcome | msgCloned | msgProcess | msgFailed
}

// encode returns the bytes of m, which must not change while they are used; its header is filled in.
func encode[M request](m *M, kind uint32, seq uint64) []byte {
	size := unsafe.Sizeof(*m)
	*(*msgHeader)(unsafe.Pointer(m)) = msgHeader{Size: uint32(size), Type: kind, Seq: seq}
	return unsafe.Slice((*byte)(unsafe.Pointer(m)), size)
}

// decodeHeader checks what every packet must have.
func decodeHeader(packet []byte) (msgHeader, error) {
	var h msgHeader
	if len(packet) < int(unsafe.Sizeof(h)) {
		return h, fmt.Errorf("a packet of %d bytes is no message", len(packet))
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h)), packet)
	if int(h.Size) != len(packet) {
		return h, fmt.Errorf("a message of type %d says it has %d bytes and has %d", h.Type, h.Size, len(packet))
	}
	return h, nil
}

var errLaterField = errors.New("a field of a later version of the protocol is set")

// decode takes a message out of a packet that decodeHeader found good. All fields of version 1 must be there. What
// stands behind those known must be 0: whoever sets a field that podlet doesn't know speaks a later version than he said.
func decode[M answer](packet []byte) (M, error) {
	var m M
	size := int(unsafe.Sizeof(m))
	if len(packet) < size {
		return m, fmt.Errorf("a message of %d bytes where at least %d were due", len(packet), size)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&m)), size), packet)
	for _, b := range packet[size:] {
		if b != 0 {
			return m, errLaterField
		}
	}
	return m, nil
}
