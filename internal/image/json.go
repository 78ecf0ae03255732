package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
)

// decodeStrict decodes a JSON document of a stranger into out. encoding/json takes the last of several equal keys and takes "Layers" for
// "layers"; other readers of the same bytes don't. What two readers could understand differently is refused (GHSA-5j5w-g665-5m35): equal keys in one object,
// and keys that equal a field's name but for their case. Unknown keys are left out, as the OCI specification wants.
func decodeStrict(data []byte, out any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := checkValue(dec, reflect.TypeOf(out).Elem(), 0); err != nil {
		return invalid("JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return invalid("JSON: data after the document")
	}
	if err := json.Unmarshal(data, out); err != nil {
		return invalid("JSON: %w", err)
	}
	return nil
}

// checkValue reads one value, which will become a t; t nil: nobody reads it.
func checkValue(dec *json.Decoder, t reflect.Type, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth >= maxJSONDepth {
		return invalid("nested deeper than %d", maxJSONDepth)
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if delim == '[' {
		var elem reflect.Type
		if t != nil && t.Kind() == reflect.Slice {
			elem = t.Elem()
		}
		for n := 0; dec.More(); n++ {
			if n == maxJSONMembers {
				return invalid("a list of more than %d", maxJSONMembers)
			}
			if err := checkValue(dec, elem, depth+1); err != nil {
				return err
			}
		}
	} else {
		seen := map[string]bool{}
		for dec.More() {
			tok, err := dec.Token()
			if err != nil {
				return err
			}
			key, _ := tok.(string)
			if len(seen) == maxJSONMembers {
				return invalid("an object of more than %d keys", maxJSONMembers)
			}
			if seen[key] {
				return invalid("key %s twice in one object", quote(key))
			}
			seen[key] = true
			value, err := memberType(t, key)
			if err != nil {
				return err
			}
			if err := checkValue(dec, value, depth+1); err != nil {
				return err
			}
		}
	}
	_, err = dec.Token()
	return err
}

// memberType says what the member key of a t becomes.
func memberType(t reflect.Type, key string) (reflect.Type, error) {
	if t == nil {
		return nil, nil
	}
	if t.Kind() == reflect.Map {
		return t.Elem(), nil
	}
	if t.Kind() != reflect.Struct {
		return nil, nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == key {
			return f.Type, nil
		}
		if strings.EqualFold(name, key) {
			return nil, invalid("key %s: the specification writes %q", quote(key), name)
		}
	}
	return nil, nil
}
