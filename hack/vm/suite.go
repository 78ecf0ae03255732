package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// testPackage is a package as go list tells of it, and its test's binary.
type testPackage struct {
	ImportPath   string
	Dir          string
	TestGoFiles  []string
	XTestGoFiles []string
	Error        *struct{ Err string }

	binary  string // its path in the guest; empty: it has no tests, or they don't build
	problem string // why they don't build
}

func (p *testPackage) hasTests() bool { return len(p.TestGoFiles)+len(p.XTestGoFiles) > 0 }

// listPackages resolves patterns as go test does.
func listPackages(ctx context.Context, c checkout, tags string, patterns []string) ([]*testPackage, error) {
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	args := []string{"list", "-e", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles,Error", "-tags=" + tags, "--"}
	text, err := output(c.command(ctx, append(args, patterns...)...))
	if err != nil {
		return nil, err
	}
	return decodePackages(strings.NewReader(string(text)))
}

func decodePackages(r io.Reader) ([]*testPackage, error) {
	var packages []*testPackage
	for decoder := json.NewDecoder(r); ; {
		p := new(testPackage)
		err := decoder.Decode(p)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("decode what go list says: %w", err)
		}
		if p.Error != nil {
			p.problem = p.Error.Err
		}
		packages = append(packages, p)
	}
}

// builders is how many builds run at a time; each uses several CPUs but for its link.
const builders = 2

// buildTests builds the test binaries into the payload. A package that doesn't build has its problem set.
func buildTests(ctx context.Context, c checkout, to payload, tags string, packages []*testPackage) error {
	work := make(chan func() error)
	results := make([]error, builders)
	var all sync.WaitGroup
	for i := range builders {
		all.Go(func() {
			for build := range work {
				results[i] = errors.Join(results[i], build())
			}
		})
	}
	for i, p := range packages {
		if p.hasTests() && p.problem == "" {
			work <- func() error { return buildTest(ctx, c, to, tags, strconv.Itoa(i), p) }
		}
	}
	close(work)
	all.Wait()
	return errors.Join(results...)
}

// buildTest builds one; unique tells its directory from those of packages of the same name.
func buildTest(ctx context.Context, c checkout, to payload, tags, unique string, p *testPackage) error {
	name := filepath.Join(payloadTests, unique, filepath.Base(p.ImportPath)+".test")
	file := filepath.Join(to.dir, name)
	// Without DWARF it is half as large; a panic's trace needs none.
	said, err := c.command(ctx, "test", "-c", "-ldflags=-w", "-tags="+tags, "-o", file, p.ImportPath).CombinedOutput()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		p.problem = string(said)
		return nil
	}
	// Where build constraints leave no test of the files, go makes none.
	if _, err := os.Stat(file); err == nil {
		p.binary = filepath.Join(guestPayload, name)
	}
	return nil
}
