package tape

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// data is the part of a tape that arguments point into. What is the same is stored once: no constructor puts anything here that
// the kernel writes to, but for the scratch word.
type data struct {
	bytes   []byte
	relocs  []reloc
	strings map[string]uint64
	blobs   map[string]uint64
	scratch int // offset + 1 of the scratch word, 0: none yet
}

var errNUL = errors.New("a string holds a NUL byte")

// str stores a string and its terminator.
func (d *data) str(s string) (uint64, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return 0, errNUL
	}
	if off, ok := d.strings[s]; ok {
		return off, nil
	}
	if d.strings == nil {
		d.strings = map[string]uint64{}
	}
	off := uint64(len(d.bytes))
	d.bytes = append(append(d.bytes, s...), 0)
	d.strings[s] = off
	return off, nil
}

// blob stores bytes at an 8-aligned offset. The where of each relocation counts from the blob's start.
func (d *data) blob(p []byte, relocs []reloc) uint64 {
	key := blobKey(p, relocs)
	if off, ok := d.blobs[key]; ok {
		return off
	}
	if d.blobs == nil {
		d.blobs = map[string]uint64{}
	}
	d.align()
	off := uint64(len(d.bytes))
	d.bytes = append(d.bytes, p...)
	for _, r := range relocs {
		r.where += uint32(off)
		d.relocs = append(d.relocs, r)
	}
	d.blobs[key] = off
	return off
}

func blobKey(p []byte, relocs []reloc) string {
	key := slices.Clone(p)
	for _, r := range relocs {
		key = binary.LittleEndian.AppendUint32(key, r.where)
		key = binary.LittleEndian.AppendUint32(key, r.kind)
		key = binary.LittleEndian.AppendUint64(key, r.value)
	}
	return string(binary.LittleEndian.AppendUint32(key, uint32(len(p))))
}

// pointers stores a NULL-terminated array of strings, as execve(2) takes it.
func (d *data) pointers(list []string) (p []byte, relocs []reloc, err error) {
	for i, s := range list {
		off, err := d.str(s)
		if err != nil {
			return nil, nil, err
		}
		relocs = append(relocs, reloc{uint32(8 * i), relocData, off})
	}
	return make([]byte, 8*(len(list)+1)), relocs, nil
}

// word gives the offset of 8 bytes that steps may write to and nobody reads.
func (d *data) word() uint64 {
	if d.scratch == 0 {
		d.align()
		d.scratch = len(d.bytes) + 1
		d.bytes = append(d.bytes, make([]byte, 8)...)
	}
	return uint64(d.scratch - 1)
}

func (d *data) align() {
	for len(d.bytes)%8 != 0 {
		d.bytes = append(d.bytes, 0)
	}
}

// finish closes data with a word of zeros: the player holds every string to be terminated that starts before the last NUL of data,
// and refuses a relocation that would overwrite that one.
func (d *data) finish() []byte {
	if len(d.bytes) == 0 {
		return nil
	}
	d.align()
	return append(d.bytes, make([]byte, 8)...)
}
