package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// load reads a config file's text with flags given on the command line.
func load(t *testing.T, text string, args ...string) (*options, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o := defaultOptions()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	o.flags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o, o.load(file, flags)
}

func TestFlagsWinOverTheConfigFile(t *testing.T) {
	o, err := load(t, "root = '/a'\nlog-level = 'debug'\ncerts-dirs = ['/x', '/y']\npod-subnets = ['10.1.0.0/16', 'fd00::/64']\nbridge = 'a'\n",
		"--root", "/b", "--certs-dirs", "/z,/w", "--bridge", "b")
	if err != nil {
		t.Fatal(err)
	}
	if o.Root != "/b" || o.LogLevel != "debug" || o.State != "/run/podlet" || !slices.Equal(o.CertsDirs, []string{"/z", "/w"}) ||
		o.Bridge != "b" || !slices.Equal(o.PodSubnets, []string{"10.1.0.0/16", "fd00::/64"}) {
		t.Errorf("%+v", o)
	}
}

func TestUnknownKeyOfTheConfigFile(t *testing.T) {
	for text, says := range map[string][]string{
		"rot = '/a'\n": {`"rot" (line 1)`},
		"# podlet\n\nlog_level = 'debug'\nroot = '/a'\n[registry]\nmirror = 'x'\n": {`"log_level" (line 3)`, `"registry`},
		// What is no TOML, or has another type, is found by its line.
		"root = '/a'\nstate = '/b\n":                   {"line 2"},
		"root = '/a'\nstate = '/b'\npod-subnets = 1\n": {"line 3"},
	} {
		_, err := load(t, text)
		for _, want := range append(says, "config.toml") {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: error %v lacks %q", text, err, want)
			}
		}
	}
}

func TestPullOptions(t *testing.T) {
	for text, says := range map[string]string{
		"": "", "pull-min-rate = 1\npull-window = '90s'\n": "",
		"pull-window = 'soon'\n": "--pull-window", "pull-window = '10ms'\n": "--pull-window", "pull-min-rate = 0\n": "--pull-min-rate",
	} {
		o, err := load(t, text)
		if err != nil {
			t.Fatal(err)
		}
		p, err := o.puller(nil, nil)
		if p != nil {
			p.Close()
		}
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
