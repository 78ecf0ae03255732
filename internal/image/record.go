package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// A record file is one line with a format number and the digest of the rest, then JSON:
//
//	podlet-image-record 1 sha256:…
//	{…}
//
// A torn write, an empty file after a power cut or a flipped bit is thus seen, and never read as a smaller truth.
const recordMagic = "podlet-image-record 1 "

func encodeRecord(v any) ([]byte, error) {
	body, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	return append([]byte(recordMagic+digestOf(body).String()+"\n"), body...), nil
}

func decodeRecord(data []byte, v any) error {
	first, body, ok := bytes.Cut(data, []byte("\n"))
	if len(data) == 0 {
		return fmt.Errorf("record is empty")
	}
	if !ok || !strings.HasPrefix(string(first), recordMagic) {
		return fmt.Errorf("record begins with %s, not with %q", quote(string(first)), recordMagic)
	}
	sum, err := ParseDigest(string(first[len(recordMagic):]))
	if err != nil {
		return fmt.Errorf("record's checksum: %w", err)
	}
	if !sum.matches(body) {
		return fmt.Errorf("record's checksum is wrong: torn or damaged")
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

func readRecord(root *os.Root, name string, v any) error {
	data, err := readFile(root, name, maxRecordBytes)
	if err != nil {
		return err
	}
	return decodeRecord(data, v)
}

// writeRecord puts the record at name in one step: whoever reads it sees the old one or the new one. aside is a free name on the same file system.
func writeRecord(root *os.Root, name, aside string, v any) error {
	data, err := encodeRecord(v)
	if err != nil {
		return err
	}
	if err := writeFile(root, aside, data); err != nil {
		return err
	}
	if err := root.Rename(aside, name); err != nil {
		root.Remove(aside)
		return err
	}
	return nil
}

// writeFile makes a file of the store's own; none is left when it fails.
func writeFile(root *os.Root, name string, data []byte) error {
	err := root.WriteFile(name, data, 0o600)
	if err != nil {
		root.Remove(name)
	}
	return err
}

// readFile reads a file of the store's own.
func readFile(root *os.Root, name string, most int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return data, nil
}
