package imports

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "podlet"

// arrow says what of podlet the packages in from may import.
type arrow struct {
	// from and may are packages, "x/..." x and all below. The first arrow that fits counts.
	from string
	may  []string
	// why is the reason for what is missing in may.
	why string
}

var arrows = []arrow{
	{"cmd/podlet", []string{"cri", "pod/...", "pause", "cgroup", "internal/..."}, "the command wires what others do; tools of developers don't belong into the binary"},
	{
		"cri",
		[]string{"pod", "pod/spec", "pod/etcfiles", "cgroup", "pause", "internal/..."},
		"cri translates requests into pod's own types and errors into codes (those of cgroup and pause too); how a pod is launched and recorded is pod's affair",
	},

	{"pod", []string{"pod/...", "pause", "cgroup", "internal/..."}, "a pod's life must not depend on the protocol by which it is asked for"},
	{"pod/spec", []string{"cgroup", "internal/mount"}, "specs are plain values that stand in records; cgroup and mount lend them types, and nothing here acts"},
	{"pod/launch", []string{"pod/spec", "pod/tape", "internal/seccomp"}, "a pure function from spec to tape: what opens files, keeps state or knows a lifecycle can't be tested by golden text"},
	{"pod/tape", nil, "the assembler knows system calls, not containers"},
	{"pod/record", nil, "records hold bytes; what they mean is pod's affair"},
	{"pod/etcfiles", nil, "texts are made from values"},

	{"pause", nil, "the client speaks a protocol and knows neither tapes' making nor pods; older pauses outlive this program"},
	{"cgroup", nil, "cgroups are of use without containers, and are tested so"},
	{"internal/imports", nil, "it reads sources"},
	{"internal/...", []string{"internal/..."}, "what is internal serves all, so it may know none of those it serves"},

	{"hack/testimages/testimage", nil, "tests of every package use it: it may lead back to none of them"},
	{"hack/privatetest", nil, "tests of every package are run by it: it may lead back to none of them"},
	{"hack/tree", nil, "tests compare trees with it: it may lead back to none of them"},
	{"hack/...", []string{"hack/...", "cri", "pod/...", "pause", "cgroup", "internal/..."}, "a command is run, not imported"},
}

// tests is what test files may import besides: makers of images, the looks at what is left behind, and the client of streams.
var tests = []string{"hack/testimages/testimage", "hack/machine", "hack/privatetest", "hack/streamclient", "hack/tree"}

// only says which packages may import a module: a replacement should be a change in one place.
var only = []struct {
	module string
	in     []string
	why    string
}{
	{"k8s.io/cri-api", []string{"cri", "cmd/podlet", "hack/..."}, "CRI's types end at cri: everything behind has types of its own, checked once"},
	{"google.golang.org/grpc", []string{"cri", "cmd/podlet", "hack/..."}, "an error's code is given where it leaves, in cri"},
	{"github.com/spf13/cobra", []string{"cmd/podlet", "hack/..."}, "a library takes no command line"},
	{"github.com/containerd/cgroups", []string{"cgroup"}, "cgroup is the one interface to the cgroup trees"},
	{"github.com/cilium/ebpf", []string{"cgroup"}, "the only programs are cgroup's device rules"},
	{"github.com/vishvananda/netlink", []string{"internal/network/..."}, "links and addresses are internal/network's"},
	{"k8s.io/streaming", []string{"internal/streaming", "hack/streamclient"}, "sessions are internal/streaming's, whatever carries them"},
	{"github.com/moby/spdystream", []string{"internal/streaming"}, "sessions are internal/streaming's, whatever carries them; and without the bounds it sets, frames unpack to any size"},
	{"k8s.io/cri-streaming", []string{"internal/streaming"}, "its names are those of the wire; its sessions outlive their clients"},
	{"golang.org/x/net/websocket", []string{"internal/streaming", "hack/streamclient"}, "sessions are internal/streaming's, whatever carries them"},
	{"github.com/containernetworking/cni", []string{"internal/network/cni"}, "CNI's types end there: what a pod got is the pod network's to say, whoever gave it"},
	{"github.com/google/nftables", []string{"internal/network/..."}, "packet filters are internal/network's"},
}

// fits says whether pkg is what pattern names.
func fits(pattern, pkg string) bool {
	if top, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == top || strings.HasPrefix(pkg, top+"/")
	}
	return pkg == pattern
}

func fitsAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return fits(p, pkg) })
}

func arrowOf(pkg string) *arrow {
	for i := range arrows {
		if fits(arrows[i].from, pkg) {
			return &arrows[i]
		}
	}
	return nil
}

// broken says which rule an import breaks, "" if none.
func broken(from, imported string, inTest bool) string {
	if pkg, ok := strings.CutPrefix(imported, module+"/"); ok {
		a := arrowOf(from)
		switch {
		case a == nil:
			return "no arrow starts at this package: add one to arrows, with its reason"
		case fits(from, pkg) || fitsAny(a.may, pkg) || inTest && fitsAny(tests, pkg):
			return ""
		}
		return a.why
	}
	for _, o := range only {
		if fits(o.module+"/...", imported) && !fitsAny(o.in, from) {
			return fmt.Sprintf("only %s may: %s", strings.Join(o.in, ", "), o.why)
		}
	}
	return ""
}

// TestArrows reads every import of every source file, those of other machines and of build tags too.
func TestArrows(t *testing.T) {
	top := checkout(t)
	used := map[string]bool{}
	for _, file := range sources(t, top) {
		from := path.Dir(file)
		if a := arrowOf(from); a != nil {
			used[a.from] = true
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(top, file), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why := broken(from, imported, strings.HasSuffix(file, "_test.go")); why != "" {
				t.Errorf("%s imports %s: %s", file, imported, why)
			}
		}
	}
	for _, a := range arrows {
		if !used[a.from] {
			t.Errorf("the arrow from %s starts nowhere: there is no such package", a.from)
		}
	}
}

// TestRulesCatch: each of these would be the beginning of a tangle.
func TestRulesCatch(t *testing.T) {
	for _, c := range []struct {
		from, imported string
		inTest, ok     bool
	}{
		{"cmd/podlet", "podlet/cri", false, true},
		{"cri", "podlet/pod", false, true},
		{"pod", "podlet/pod/launch", false, true},
		{"pod", "podlet/hack/testimages/testimage", true, true},
		{"internal/image", "podlet/internal/mount", false, true},
		{"cgroup", "github.com/containerd/cgroups/v3/cgroup1", false, true},
		{"hack/bench", "podlet/cgroup", false, true},

		{"pod", "podlet/hack/testimages/testimage", false, false},
		{"cri", "podlet/pod/launch", false, false},
		{"pod", "podlet/cri", false, false},
		{"pod", "k8s.io/cri-api/pkg/apis/runtime/v1", false, false},
		{"pod/launch", "podlet/pod", false, false},
		{"pod/launch", "podlet/pause", false, false},
		{"pod/launch", "podlet/pod", true, false},
		{"pod/spec", "podlet/pod/tape", false, false},
		{"pod/tape", "podlet/pod/spec", false, false},
		{"internal/image", "podlet/pod", false, false},
		{"pause", "podlet/pod/tape", false, false},
		{"cgroup", "podlet/internal/mount", false, false},
		{"cmd/podlet", "podlet/hack/machine", false, false},
		{"hack/bench", "podlet/cmd/podlet", false, false},
		{"cri", "podlet/cmd/podlet", true, false},
		{"streaming", "podlet/pod", false, false},
		{"internal/image", "github.com/vishvananda/netlink/nl", false, false},
	} {
		if why := broken(c.from, c.imported, c.inTest); (why == "") != c.ok {
			t.Errorf("%s imports %s (test: %v): %q", c.from, c.imported, c.inTest, why)
		}
	}
}

// checkout is the directory of the module.
func checkout(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module "+module+"\n") {
			return dir
		}
		if dir == "/" {
			t.Skip("the sources are not on this machine: the test was built elsewhere")
		}
	}
}

// sources lists the module's Go files, relative to top. Modules and trees of their own below it are none of it.
func sources(t *testing.T, top string) []string {
	found := map[string]bool{}
	err := filepath.WalkDir(top, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, name)
		if e.IsDir() && rel != "." {
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			if err == nil || rel == "build" || e.Name() == "testdata" || strings.HasPrefix(e.Name(), ".") {
				return fs.SkipDir
			}
		}
		if strings.HasSuffix(name, ".go") {
			found[rel] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(found))
}
