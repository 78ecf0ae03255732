package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
)

// A record file:
//
//	podlet-record 1 <boot id> <payload's length> <crc32c>\n<payload>
//
// What follows the payload is left of a longer record and counts for nothing.
// The checksum, 8 hexadecimal digits, is of "<pod id>/<name>\n", the header's
// text before it, and the payload. So a record that was copied to another
// object's place is as wrong as a torn one.
const (
	magic   = "podlet-record"
	version = 1
	// maxHeader bounds the search for the header's end.
	maxHeader = 128
	// MaxPayload is the largest JSON text of a record, in bytes. Kubelets send environments of hundreds of kB.
	MaxPayload = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(podID, name string, header, payload []byte) uint32 {
	sum := crc32.Update(0, castagnoli, []byte(podID+"/"+name+"\n"))
	sum = crc32.Update(sum, castagnoli, header)
	return crc32.Update(sum, castagnoli, payload)
}

func encode(podID, name, boot string, payload []byte) []byte {
	file := make([]byte, 0, maxHeader+len(payload))
	file = fmt.Appendf(file, "%s %d %s %d ", magic, version, boot, len(payload))
	file = fmt.Appendf(file, "%08x\n", checksum(podID, name, file, payload))
	return append(file, payload...)
}

// decode checks a whole file. The payload is a part of file. Its error is the reason to quarantine it.
func decode(podID, name string, file []byte) (boot string, payload []byte, err error) {
	if len(file) == 0 {
		return "", nil, errors.New("empty file")
	}
	end := bytes.IndexByte(file[:min(len(file), maxHeader)], '\n')
	if end < 0 {
		return "", nil, errors.New("no header line: torn, or no record")
	}
	words := bytes.Split(file[:end], []byte(" "))
	if string(words[0]) != magic || len(words) < 2 {
		return "", nil, fmt.Errorf("the header does not begin with %q: no record", magic)
	}
	if string(words[1]) != strconv.Itoa(version) {
		return "", nil, fmt.Errorf("format version %q: this podlet reads version %d", words[1], version)
	}
	if len(words) != 5 {
		return "", nil, fmt.Errorf("a header of %d words instead of 5", len(words))
	}
	boot, payload = string(words[2]), file[end+1:]
	if !validBoot(boot) {
		return "", nil, fmt.Errorf("boot id %q is no UUID", boot)
	}
	length, err := strconv.Atoi(string(words[3]))
	if err != nil || length < 0 || strconv.Itoa(length) != string(words[3]) {
		return "", nil, fmt.Errorf("length %q is no number", words[3])
	}
	if length > len(payload) {
		return "", nil, fmt.Errorf("torn: %d bytes of payload, the header says %d", len(payload), length)
	}
	payload = payload[:length]
	header := file[:end-len(words[4])]
	if want := fmt.Sprintf("%08x", checksum(podID, name, header, payload)); string(words[4]) != want {
		return "", nil, fmt.Errorf("checksum %s, the header says %q: damaged, or another object's record", want, words[4])
	}
	if !json.Valid(payload) {
		return "", nil, errors.New("the payload is no JSON")
	}
	return boot, payload, nil
}
