package main

import (
	"bytes"
	"os"
	"testing"
)

// The table in the tree must be what this version of golang.org/x/sys says.
func TestTableIsCurrent(t *testing.T) {
	dir, err := sysDir()
	if err != nil {
		t.Fatal(err)
	}
	want, err := generate(dir)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../numbers.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Fatal("numbers.go is not what mknumbers writes: run go generate ./internal/seccomp")
	}
}
