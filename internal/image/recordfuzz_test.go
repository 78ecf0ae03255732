package image

import "testing"

func FuzzRecord(f *testing.F) {
	good, err := encodeRecord(&layerRecord{DiffID: digestOf(nil), Bytes: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(recordMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r layerRecord
		if err := decodeRecord(data, &r); err != nil {
			return
		}
		if _, err := encodeRecord(&r); err != nil {
			t.Error(err)
		}
	})
}
