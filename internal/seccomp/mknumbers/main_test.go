package main

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// The table in the tree must be what this version of golang.org/x/sys says.
func TestTableIsCurrent(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no Go toolchain here to ask for the sources of golang.org/x/sys")
	}
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
