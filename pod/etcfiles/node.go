package etcfiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxNodeFile bounds the copy of a file of the node, in bytes.
const maxNodeFile = 1 << 20

// nodeFile copies a file of the node's; one that is absent is empty.
func nodeFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return []byte{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("copy the node's file: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxNodeFile+1))
	if err != nil {
		return nil, fmt.Errorf("copy the node's file: %w", err)
	}
	if len(content) > maxNodeFile {
		return nil, fmt.Errorf("copy the node's file: %s has more than %d bytes", path, maxNodeFile)
	}
	return content, nil
}
