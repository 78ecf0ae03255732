package registry

import (
	"errors"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"podlet/internal/image"
)

// TestCVE_C1_Panic: a mistake of podlet's own, wherever in a pull it shows, is the end of that pull and of nothing else.
func TestCVE_C1_Panic(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	for name, place := range map[string]func(){
		"in the pull's goroutine": func() { r.proxy = func(*url.URL) (*url.URL, error) { panic("MARKER here") } },
		"in a layer's": func() {
			r.proxy = func(u *url.URL) (*url.URL, error) {
				if strings.Contains(u.Path, "/blobs/") && l.requests("/blobs/") > 0 {
					panic("MARKER here")
				}
				return nil, nil
			}
		},
		"in net/http's": func() { r.classOf = func(netip.Addr) addressClass { panic("MARKER here") } },
	} {
		place()
		_, err := r.Pull(background, ref, Credentials{Password: "MARKER"})
		if !errors.Is(err, image.ErrPanic) {
			t.Errorf("%s: %v", name, err)
		}
		noMarker(t, r, err)
		r.proxy, r.classOf = nil, classOf
	}
	_, err := r.Pull(background, ref, Credentials{})
	must(t, err)
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
		fset := gotoken.NewFileSet()
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
					if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" {
						t.Errorf("%s: a goroutine outside of background", fset.Position(n.Pos()))
					} else if ok && sel.Sel.Name == "background" {
						found++
					}
				}
				return true
			})
		}
	}
	if found == 0 {
		t.Error("no call of background: this test looks at nothing")
	}
	r := newRig(t)
	var wg sync.WaitGroup
	r.background(&wg, "test", func() { panic("here") })
	wg.Wait()
	if !strings.Contains(r.logs.String(), "panic=here") {
		t.Errorf("the panic was not logged:\n%s", r.logs)
	}
}
