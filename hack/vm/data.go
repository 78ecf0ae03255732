package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"podlet/hack/vm/image"
)

// dataSize bounds what the guest can write to /data; the file is as large as what it did write.
const dataSize = 4 << 30

// ensureData makes the data disk, an empty file system, where there is none; "" is no disk.
func ensureData(ctx context.Context, file string) error {
	if file == "" {
		return nil
	}
	_, err := os.Stat(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return image.Ext4(ctx, file, dataSize, "podlet-data", "")
}
