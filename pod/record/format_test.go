package record

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

const someBoot = "01234567-89ab-cdef-0123-456789abcdef"

func TestDecodeWhatWasEncoded(t *testing.T) {
	for _, text := range []string{`{}`, `null`, `"a\nb"`, `{"a":"` + strings.Repeat("x", 1<<16) + `"}`} {
		boot, payload, err := decode(podA, Pod, encode(podA, Pod, someBoot, []byte(text)))
		if err != nil || boot != someBoot || string(payload) != text {
			t.Errorf("decode(encode(%.20s)) = %q, %.20s, %v", text, boot, payload, err)
		}
	}
}

func TestEachCutAndEachChangedByteIsSeen(t *testing.T) {
	file := encode(podA, ctr1, someBoot, []byte(`{"state":"running"}`))
	for n := range file {
		if _, _, err := decode(podA, ctr1, file[:n]); err == nil {
			t.Errorf("a record cut to %d of %d bytes was taken", n, len(file))
		}
		for _, flip := range []byte{1, 0x20, 0x80, 0xff} {
			bad := bytes.Clone(file)
			bad[n] ^= flip
			if _, _, err := decode(podA, ctr1, bad); err == nil {
				t.Errorf("a record with byte %d changed by %#x was taken: %q", n, flip, bad)
			}
		}
		zeroed := append(bytes.Clone(file[:n]), make([]byte, len(file)-n)...)
		if _, _, err := decode(podA, ctr1, zeroed); err == nil {
			t.Errorf("a record with zeros from byte %d on was taken", n)
		}
	}
	if _, payload, err := decode(podA, ctr1, append(bytes.Clone(file), "\n, and what was there before"...)); err != nil || string(payload) != `{"state":"running"}` {
		t.Errorf("a record over a longer one: %q, %v", payload, err)
	}
}

func TestReasons(t *testing.T) {
	good := string(encode(podA, Pod, someBoot, []byte(`{}`)))
	for _, test := range []struct{ what, file, want string }{
		{"empty", "", "empty file"},
		{"no line", "x", "no header line"},
		{"late newline", strings.Repeat("x", maxHeader) + "\n", "no header line"},
		{"other magic", "podlet-recorx 1 a b c\n{}", "does not begin with"},
		{"magic alone", "podlet-record\n{}", "does not begin with"},
		{"later version", strings.Replace(good, " 1 ", " 2 ", 1), `format version "2": this podlet reads version 1`},
		{"version with a sign", strings.Replace(good, " 1 ", " +1 ", 1), "format version"},
		{"words", "podlet-record 1 a b\n{}", "4 words"},
		{"boot", strings.Replace(good, someBoot, strings.Repeat("X", 36), 1), "no UUID"},
		{"length with a zero before", strings.Replace(good, " 2 ", " 02 ", 1), "no number"},
		{"negative length", strings.Replace(good, " 2 ", " -2 ", 1), "no number"},
		{"length out of range", strings.Replace(good, " 2 ", " 99999999999999999999 ", 1), "no number"},
		{"length over the end", strings.Replace(good, " 2 ", " 3 ", 1), "torn"},
		{"another pod's", string(encode(podB, Pod, someBoot, []byte(`{}`))), "another object's"},
		{"another name's", string(encode(podA, ctr1, someBoot, []byte(`{}`))), "another object's"},
		{"no JSON", string(encode(podA, Pod, someBoot, []byte(`{`))), "no JSON"},
	} {
		if _, _, err := decode(podA, Pod, []byte(test.file)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.what, err, test.want)
		}
	}
}

// FuzzDecode: what is taken begins with exactly what encode would have written.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{"{}", `{"a":[1,2,3]}`, "null"} {
		file := encode(podA, Pod, someBoot, []byte(text))
		f.Add(file)
		f.Add(file[:len(file)-1])
	}
	f.Add([]byte("podlet-record 1 " + someBoot + " 0 00000000\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		boot, payload, err := decode(podA, Pod, file)
		if err != nil {
			return
		}
		if !json.Valid(payload) {
			t.Errorf("took a payload that is no JSON: %q", payload)
		}
		if again := encode(podA, Pod, boot, payload); !bytes.HasPrefix(file, again) {
			t.Errorf("took %q, encode writes %q", file, again)
		}
	})
}
