package main

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		line string
		args string
		run  string
		v    bool
	}{
		{"", "", "", false},
		{"./a ./b", "./a ./b", "", false},
		{"-run X -v ./a", "./a", "X", true},
		{"./a -run=X ./b -v", "./a ./b", "X", true},
		{"-v -- ls -run X", "ls -run X", "", true},
		{"./a -- -v", "./a -v", "", false},
		{"-run -- ./a", "./a", "--", false},
	} {
		o := newOptions(time.Minute)
		o.forTests()
		if err := o.parse(strings.Fields(c.line)); err != nil {
			t.Errorf("%q: %v", c.line, err)
			continue
		}
		if got := strings.Join(o.args, " "); got != c.args || o.tests.run != c.run || o.tests.verbose != c.v {
			t.Errorf("%q: %q, run %q, v %v", c.line, got, o.tests.run, o.tests.verbose)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, line := range []string{"-nosuchflag", "-timeout x", "-e novalue", "-e =x", "./a -cpus"} {
		o := newOptions(time.Minute)
		o.forTests()
		o.flags.SetOutput(io.Discard)
		if err := o.parse(strings.Fields(line)); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

func TestTestFlags(t *testing.T) {
	o := newOptions(time.Minute)
	o.forTests()
	if err := o.parse([]string{"-e", "A=b=c", "-e", "D="}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"-test.paniconexit0", "-test.timeout=10m0s"}; !slices.Equal(o.tests.arguments(), want) {
		t.Errorf("by default %v, want %v", o.tests.arguments(), want)
	}
	if want := []string{"A=b=c", "D="}; !slices.Equal(o.environment, want) {
		t.Errorf("the environment is %v", o.environment)
	}
	if err := o.parse(strings.Fields("-v -short -failfast -run A|B -skip C -bench . -count 2 -timeout 1m30s")); err != nil {
		t.Fatal(err)
	}
	want := "-test.paniconexit0 -test.timeout=1m30s -test.v=true -test.short=true -test.failfast=true -test.run=A|B -test.skip=C -test.bench=. -test.count=2"
	if got := strings.Join(o.tests.arguments(), " "); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestMissingPackages(t *testing.T) {
	there := map[string]bool{"tar": true, "apt-get": true}
	got := missingPackages([]hostTool{{"apt-get", "apt"}, {"mke2fs", "e2fsprogs"}, {"debugfs", "e2fsprogs"}, {"tar", "tar"}, {"qemu", "qemu-system-x86"}},
		func(program string) bool { return there[program] })
	if want := []string{"e2fsprogs", "qemu-system-x86"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
