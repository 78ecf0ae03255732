package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// parseConfig reads a config file's text into o. A key that it doesn't know is an error.
func parseConfig(file string, text []byte, o *options) error {
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(o)
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var keys []string
		for _, e := range unknown.Errors {
			line, _ := e.Position()
			keys = append(keys, fmt.Sprintf("%q (line %d)", strings.Join(e.Key(), "."), line))
		}
		return fmt.Errorf("config file %s has keys that podlet serve doesn't know: %s", file, strings.Join(keys, ", "))
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, _ := wrong.Position()
		return fmt.Errorf("config file %s, line %d: %w", file, line, err)
	}
	if err != nil {
		return fmt.Errorf("config file %s: %w", file, err)
	}
	return nil
}
