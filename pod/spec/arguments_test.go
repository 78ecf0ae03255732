package spec

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func words(s string) []string { return strings.Fields(s) }

// TestArguments is the table of "Define a Command and Arguments for a Container" of Kubernetes.
func TestArguments(t *testing.T) {
	for _, c := range []struct{ entrypoint, cmd, command, args, want string }{
		{"/ep", "cmd", "", "", "/ep cmd"},
		{"/ep", "cmd", "/new", "", "/new"},
		{"/ep", "cmd", "", "arg", "/ep arg"},
		{"/ep", "cmd", "/new", "arg", "/new arg"},
		{"/ep", "", "", "", "/ep"},
		{"", "cmd", "", "", "cmd"},
		{"", "", "/new", "", "/new"},
		{"", "cmd", "", "arg", "arg"},
	} {
		image := &Image{Entrypoint: words(c.entrypoint), Cmd: words(c.cmd)}
		got, err := Arguments(&Container{Command: words(c.command), Args: words(c.args)}, image)
		if err != nil || !slices.Equal(got, words(c.want)) {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	for _, c := range []*Container{{}, {Command: []string{""}}, {Args: []string{""}}} {
		if got, err := Arguments(c, &Image{}); !errors.Is(err, ErrNoCommand) {
			t.Errorf("%+v: %q, %v; want ErrNoCommand", c, got, err)
		}
	}
}

// TestArgumentsDoNotShare: a record's slices must not grow into each other.
func TestArgumentsDoNotShare(t *testing.T) {
	entrypoint := make([]string, 1, 8)
	entrypoint[0] = "/ep"
	image := &Image{Entrypoint: entrypoint}
	a, _ := Arguments(&Container{Args: []string{"a"}}, image)
	b, _ := Arguments(&Container{Args: []string{"b"}}, image)
	if a[1] != "a" || b[1] != "b" {
		t.Errorf("%q and %q share memory", a, b)
	}
}

func TestEnvironment(t *testing.T) {
	const path = "PATH=" + DefaultPath
	for _, c := range []struct {
		name      string
		container Container
		image     []string
		home      string
		hostname  string
		want      []string
	}{
		{"nothing given", Container{}, nil, "", "", []string{path, "HOME=/"}},
		{"podlet's own", Container{TTY: true}, nil, "/root", "web", []string{path, "HOSTNAME=web", "TERM=xterm", "HOME=/root"}},
		{"the image's win", Container{TTY: true}, []string{"PATH=/bin", "TERM=vt100", "HOME=/x", "A=1"}, "/root", "", []string{"PATH=/bin", "TERM=vt100", "HOME=/x", "A=1"}},
		{
			"the container's win", Container{Env: []Var{{"A", "3"}, {"PATH", "/c"}, {"HOSTNAME", "other"}}},
			[]string{"A=1", "B=2"}, "", "web",
			[]string{"PATH=/c", "HOSTNAME=other", "HOME=/", "A=3", "B=2"},
		},
		{"the last of a name", Container{Env: []Var{{"A", "1"}, {"B", ""}, {"A", "2"}}}, nil, "", "", []string{path, "HOME=/", "A=2", "B="}},
		{"values with signs", Container{Env: []Var{{"A", "x=y\nz"}}}, []string{"B=c=d"}, "", "", []string{path, "HOME=/", "B=c=d", "A=x=y\nz"}},
		{"what is no variable", Container{}, []string{"noequals", "=noname", ""}, "", "", []string{path, "HOME=/"}},
	} {
		got := Environment(&c.container, &Image{Env: c.image}, &Identity{Home: c.home}, c.hostname)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

func TestWorkingDir(t *testing.T) {
	for _, c := range []struct{ container, image, want string }{
		{"", "", "/"},
		{"", "/srv", "/srv"},
		{"/app", "/srv", "/app"},
		{"app/", "", "/app"},
		{"/../../etc/.", "", "/etc"},
	} {
		if got := WorkingDir(&Container{WorkingDir: c.container}, &Image{WorkingDir: c.image}); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestPrograms is execvp(3).
func TestPrograms(t *testing.T) {
	for _, c := range []struct{ argv0, env, want string }{
		{"/bin/a", "PATH=/x", "/bin/a"},
		{"./a", "PATH=/x", "./a"},
		{"dir/a", "", "dir/a"},
		{"a", "PATH=/x:/y", "/x/a /y/a"},
		{"a", "PATH=/x::/y", "/x/a ./a /y/a"},
		{"a", "PATH=", "./a"},
		{"a", "PATH=/old PATH=/new", "/new/a"},
		{"a", "MYPATH=/x", "/usr/local/sbin/a /usr/local/bin/a /usr/sbin/a /usr/bin/a /sbin/a /bin/a"},
	} {
		if got := Programs(c.argv0, words(c.env)); !slices.Equal(got, words(c.want)) {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
