package cri

import (
	"slices"

	"google.golang.org/protobuf/proto"
)

// pieceSize is where a message of a streamed list is full, in bytes: clients take 16 MiB. What is larger by itself has a message to itself.
const pieceSize = 1 << 20

// inPieces sends a list in its order, some items a message (KEP-5825).
func inPieces[T proto.Message](list []T, send func([]T) error) error {
	for len(list) > 0 {
		size := 0
		n := slices.IndexFunc(list, func(item T) bool {
			size += proto.Size(item)
			return size > pieceSize
		})
		switch n {
		case -1:
			n = len(list)
		case 0:
			n = 1
		}
		if err := send(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}
