package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func configJSON(config string) string {
	return fmt.Sprintf(`{"os":"linux","architecture":%q,"config":%s,"rootfs":{"type":"layers","diff_ids":[%q]}}`, hostPlatform.Architecture, config, someDigest)
}

func TestParseConfig(t *testing.T) {
	c, err := parseConfig([]byte(configJSON(`{"User":"app","Env":["A=1","B="],"Entrypoint":["/e"],"Cmd":["c",""],"WorkingDir":"work/../dir","StopSignal":"SIGINT",
		"Volumes":{"/v/../data":{},"data":{},"../../etc":{}},"ExposedPorts":{"80/tcp":{}},"Labels":{"io.podlet.x":"y"},"Unknown":[1]}`)))
	must(t, err)
	want := Config{
		User: "app", Env: []string{"A=1", "B="}, Entrypoint: []string{"/e"}, Cmd: []string{"c", ""}, WorkingDir: "/dir", StopSignal: "SIGINT",
		Volumes: []string{"/data", "/etc"}, ExposedPorts: []string{"80/tcp"}, Labels: map[string]string{"io.podlet.x": "y"},
		OS: "linux", Architecture: hostPlatform.Architecture, diffIDs: c.diffIDs,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("%+v\nwant\n%+v", c, want)
	}
	c, err = parseConfig([]byte(configJSON(`null`)))
	must(t, err)
	if c.WorkingDir != "/" || c.User != "" {
		t.Errorf("%+v", c)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	list := func(n int, s string) string {
		b, _ := json.Marshal(strings.Split(strings.TrimSuffix(strings.Repeat(s+"\n", n), "\n"), "\n"))
		return string(b)
	}
	for name, text := range map[string]string{
		"empty":               ``,
		"user not a string":   configJSON(`{"User":5}`),
		"user with newline":   configJSON(`{"User":"a\nb"}`),
		"user too long":       configJSON(`{"User":"` + strings.Repeat("u", 1000) + `"}`),
		"user in other case":  configJSON(`{"user":"root"}`),
		"user twice":          configJSON(`{"User":"app","User":"root"}`),
		"env without =":       configJSON(`{"Env":["A"]}`),
		"env without name":    configJSON(`{"Env":["=1"]}`),
		"env with NUL":        configJSON(`{"Env":["A=\u0000"]}`),
		"too many env":        configJSON(`{"Env":` + list(maxArgs+1, "A=1") + `}`),
		"too large env":       configJSON(`{"Env":["A=` + strings.Repeat("x", maxArgBytes) + `"]}`),
		"entrypoint a string": configJSON(`{"Entrypoint":"sh"}`),
		"cmd with NUL":        configJSON(`{"Cmd":["a\u0000"]}`),
		"workdir too long":    configJSON(`{"WorkingDir":"/` + strings.Repeat("x", 5000) + `"}`),
		"volume with NUL":     configJSON(`{"Volumes":{"/a\u0000b":{}}}`),
		"signal too long":     configJSON(`{"StopSignal":"` + strings.Repeat("x", 100) + `"}`),
		"no layers":           `{"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`,
		"null layer":          `{"os":"linux","rootfs":{"type":"layers","diff_ids":[null]}}`,
		"bad layer":           `{"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:/"]}}`,
		"rootfs of base":      `{"os":"linux","rootfs":{"type":"layers+base","diff_ids":["` + someDigest + `"]}}`,
		"created no time":     `{"created":"yesterday","os":"linux","rootfs":{"type":"layers","diff_ids":["` + someDigest + `"]}}`,
		"too large":           configJSON(`{"x":"` + strings.Repeat("x", maxConfigBytes) + `"}`),
	} {
		if _, err := parseConfig([]byte(text)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignal(t *testing.T) {
	for s, want := range map[string]unix.Signal{
		"": 0, "SIGTERM": 15, "TERM": 15, "term": 15, "sigkill": 9, "15": 15, "64": 64, "RTMIN": 34, "SIGRTMIN+3": 37, "rtmax-1": 63, "RTMAX": 64, "RTMIN+30": 64,
	} {
		got, err := (&Config{StopSignal: s}).Signal()
		if got != want || err != nil {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"0", "65", "-1", "99999999999999999999", "SIG", "NOPE", "RTMIN-1", "RTMAX+1", "RTMIN+31", "RTMIN+", "RTMIN+100", "SIGSIGTERM", "15 "} {
		if got, err := (&Config{StopSignal: s}).Signal(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(configJSON(`{"User":"app:1","Env":["A=1"],"StopSignal":"RTMIN+1","Volumes":{"../x":{}}}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig(data)
		if err != nil {
			return
		}
		for _, p := range append(c.Volumes, c.WorkingDir) {
			if !strings.HasPrefix(p, "/") || strings.Contains(p, "/../") || strings.ContainsRune(p, 0) {
				t.Errorf("%q", p)
			}
		}
		if n, err := c.Signal(); err == nil && (n < 0 || n > 64) {
			t.Errorf("%q became %d", c.StopSignal, n)
		}
		c.DefaultUser()
	})
}
