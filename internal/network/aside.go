package network

import "os"

// AsideSuffix marks files that are being written, for whoever reads a directory to leave them out or sweep them.
const AsideSuffix = "~"

// Replace gives the file at path the text: at any moment it has all of that, or what it had before. It is written aside, for root alone to read, and
// renamed; what can't be is swept. Nothing is synced: a power cut may leave either, or the new file empty.
func Replace(path string, text []byte) error {
	err := os.WriteFile(path+AsideSuffix, text, 0o600)
	if err == nil {
		err = os.Rename(path+AsideSuffix, path)
	}
	if err != nil {
		os.Remove(path + AsideSuffix)
	}
	return err
}
