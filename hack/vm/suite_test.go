package main

import (
	"strings"
	"testing"
)

func TestDecodePackages(t *testing.T) {
	packages, err := decodePackages(strings.NewReader(`{"ImportPath": "m/a", "Dir": "/m/a", "TestGoFiles": ["a_test.go"]}
{"ImportPath": "m/b", "Dir": "/m/b"}
{"ImportPath": "m/c", "Dir": "/m/c", "XTestGoFiles": ["c_test.go"]}
{"ImportPath": "m/d", "Dir": "", "Error": {"Err": "no such package"}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range packages {
		line := p.ImportPath
		if p.hasTests() {
			line += " tested"
		}
		if p.problem != "" {
			line += ": " + p.problem
		}
		got = append(got, line)
	}
	if want := "m/a tested, m/b, m/c tested, m/d: no such package"; strings.Join(got, ", ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := decodePackages(strings.NewReader(`{"ImportPath": "m/a"`)); err == nil {
		t.Error("half an answer was taken")
	}
}
