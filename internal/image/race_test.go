package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
)

// TestUnpackAgainstSwapper: somebody exchanges a directory of the layer with a link that leads out, again and again while files go into it (CVE-2025-47290's
// class). Nothing must appear outside, whatever becomes of the layer.
func TestUnpackAgainstSwapper(t *testing.T) {
	s := newStore(t)
	outside := t.TempDir()
	must(t, s.root.Mkdir("tmp/tree", 0o755))
	root := filepath.Join(s.path, "tmp/tree")
	must(t, os.Mkdir(root+"/d", 0o755))
	must(t, os.Symlink(outside, root+"/away"))
	tree, err := s.openTree("tmp/tree")
	must(t, err)
	defer tree.Close()

	stop, swaps := make(chan struct{}), 0
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if unix.Renameat2(unix.AT_FDCWD, root+"/d", unix.AT_FDCWD, root+"/away", unix.RENAME_EXCHANGE) == nil {
				swaps++
			}
		}
	})
	layer := testimage.NewTree()
	for n := range 500 {
		layer.File(fmt.Sprintf("d/%d", n), 0o644, "x").File(fmt.Sprintf("other%d", n%3), 0o644, "").
			Link(fmt.Sprintf("d/h%d", n), fmt.Sprintf("d/%d", n)).Symlink(fmt.Sprintf("d/s%d", n), "x").File(fmt.Sprintf("d/.wh.w%d", n), 0, "")
	}
	data := tarOf(t, layer)
	for range 300 {
		_, err = s.unpack(ctx, bytes.NewReader(data), tree, func(int64) {}, nil)
		if err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
			t.Error(err)
		}
	}
	close(stop)
	swapper.Wait()
	if swaps < 100 {
		t.Errorf("only %d exchanges", swaps)
	}
	left, err := os.ReadDir(outside)
	must(t, err)
	if len(left) != 0 {
		t.Errorf("outside there are now %v", left)
	}
}

// TestGoroutinesRecover: every goroutine of this package begins in background, which recovers (CVE-2026-95839).
func TestGoroutinesRecover(t *testing.T) {
	files, err := filepath.Glob("*.go")
	must(t, err)
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, 0)
		must(t, err)
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Name.Name == "background" {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s: a goroutine outside of background", fset.Position(n.Pos()))
				case *ast.CallExpr:
					if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
						if sel.Sel.Name == "Go" {
							t.Errorf("%s: a goroutine outside of background", fset.Position(n.Pos()))
						}
						if sel.Sel.Name == "background" {
							found++
						}
					}
				}
				return true
			})
		}
	}
	if found == 0 {
		t.Error("no call of background: this test looks at nothing")
	}
	s := newStore(t)
	mark := logged.mark()
	s.background(context.Background(), "test", func(context.Context) { panic("here") })
	must(t, s.Close()) // which waits for it
	closedStores.Store(s, true)
	if !strings.Contains(logged.since(mark), "here") {
		t.Error("the panic was not logged")
	}
}
