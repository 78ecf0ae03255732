package image

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const testPasswd = `# a comment
root:x:0:0:root:/root:/bin/sh

bad line
+nis:x:0:0::/:/bin/sh
-0:x:0:0::/:/bin/sh
00:x:0:0::/:/bin/sh
4294967296:x:0:0::/:/bin/sh
2147483648:x:0:0::/:/bin/sh
٣:x:0:0::/:/bin/sh
 0:x:0:0::/:/bin/sh
0x0:x:70:70::/:/bin/sh
app:x:1000:1000:app:/home/app:/bin/sh
app:x:0:0:a second line:/:/bin/sh
twin:x:1000:2000::/:/bin/sh
big:x:4294967296:0::/:/bin/sh
biggid:x:5:2147483648::/:/bin/sh
minus:x:-1:0::/:/bin/sh
short:x:6:6
newline:x:7:7::relative/home:/bin/sh
ctl:x:8:8::/home/` + "\t" + `x:/bin/sh
crlf:x:9:9::/home/crlf:/bin/sh` + "\r" + `
last:x:2147483647:2147483647::/:/bin/sh`

const testGroup = `root:x:0:
app:x:1000:
extra:x:2000:other,app
again:x:2000:app
media:x:3000:app
badgid:x:4294967296:short
00:x:0:
lonely:x:44:`

func testUsers() *Users {
	return &Users{passwd: userFile{path: "/etc/passwd", data: []byte(testPasswd)}, group: userFile{path: "/etc/group", data: []byte(testGroup)}}
}

func TestResolveImageUser(t *testing.T) {
	for user, want := range map[string]string{
		"":                         "0:0 root /root [0]",
		"root":                     "0:0 root /root [0]",
		"0":                        "0:0 root /root [0]",
		"00":                       "0:0 root /root [0]", // digits are a number, never the name "00"
		"app":                      "1000:1000 app /home/app [1000 2000 3000]",
		"1000":                     "1000:1000 app /home/app [1000 2000 3000]",
		"twin":                     "1000:2000 twin / [2000]",
		"1234":                     "1234:0  / [0]",
		"1234:5678":                "1234:5678  / [5678]",
		"1000:5678":                "1000:5678 app /home/app [5678 2000 3000]",
		"app:lonely":               "1000:44 app /home/app [44 2000 3000]",
		"app:0":                    "1000:0 app /home/app [0 2000 3000]",
		"1234:extra":               "1234:2000  / [2000]",
		"short":                    "error",
		"newline":                  "7:7 newline / [7]",
		"ctl":                      "8:8 ctl / [8]",
		"crlf":                     "9:9 crlf /home/crlf [9]",
		"2147483647":               "2147483647:2147483647 last / [2147483647]",
		"0x0":                      "70:70 0x0 / [70]", // a name like any other, and ImageStatus says so
		"2147483648":               "error",
		"4294967295":               "error",
		"4294967296":               "error",
		"18446744073709551616":     "error",
		"-0":                       "error",
		"+0":                       "error",
		"-1":                       "error",
		" 0":                       "error",
		"0 ":                       "error",
		"٣":                        "error",
		"+nis":                     "error",
		"nobody":                   "error",
		"big":                      "error",
		"biggid":                   "error",
		"minus":                    "error",
		"1000:4294967296":          "error",
		"1000:-1":                  "error",
		"1000:none":                "error",
		"app:badgid":               "error",
		"app:":                     "error",
		":app":                     "error",
		"a:b:c":                    "error",
		"app\n":                    "error",
		"app\x00":                  "error",
		"../root":                  "error",
		strings.Repeat("x", 10000): "error",
	} {
		checkIdentity(t, UserRequest{ImageUser: user}, want)
		// What ImageStatus says of the same text is the same, or both fail.
		uid, name, err := (&Config{User: user}).DefaultUser()
		id, rerr := testUsers().Resolve(UserRequest{ImageUser: user})
		switch {
		case rerr != nil:
		case err != nil:
			t.Errorf("%q: ImageStatus fails and Resolve gives %+v", user, id)
		case uid != nil && (*uid != int64(id.UID) || name != ""):
			t.Errorf("%q: ImageStatus says uid %d, Resolve %d", user, *uid, id.UID)
		case uid == nil && name != "" && name != id.Name:
			t.Errorf("%q: ImageStatus says %q, Resolve %q", user, name, id.Name)
		case uid == nil && name == "" && id.UID != 0:
			t.Errorf("%q: ImageStatus says root, Resolve %d", user, id.UID)
		}
	}
}

func checkIdentity(t *testing.T, r UserRequest, want string) {
	t.Helper()
	id, err := testUsers().Resolve(r)
	got := fmt.Sprintf("%d:%d %s %s %v", id.UID, id.GID, id.Name, id.Home, id.Groups)
	if err != nil {
		got = "error"
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v is not ErrInvalid", r, err)
		}
	}
	if got != want {
		t.Errorf("%+v:\n%s (%v), want\n%s", r, got, err, want)
	}
}

func TestResolveCRI(t *testing.T) {
	n := func(i int64) *int64 { return &i }
	for _, c := range []struct {
		r    UserRequest
		want string
	}{
		{UserRequest{ImageUser: "root", RunAsUser: n(1000)}, "1000:1000 app /home/app [1000 2000 3000]"},
		// The image's group belongs to the image's user.
		{UserRequest{ImageUser: "root:lonely", RunAsUser: n(1234)}, "1234:0  / [0]"},
		{UserRequest{ImageUser: "bad user", RunAsUser: n(1234)}, "1234:0  / [0]"},
		{UserRequest{RunAsUser: n(1000), RunAsGroup: n(55)}, "1000:55 app /home/app [55 2000 3000]"},
		{UserRequest{RunAsUsername: "app"}, "1000:1000 app /home/app [1000 2000 3000]"},
		{UserRequest{RunAsUsername: "app", RunAsGroup: n(0)}, "1000:0 app /home/app [0 2000 3000]"},
		{UserRequest{RunAsUsername: "app:lonely"}, "error"},
		{UserRequest{RunAsUsername: "nobody"}, "error"},
		{UserRequest{RunAsUser: n(0), RunAsUsername: "root"}, "error"},
		{UserRequest{RunAsGroup: n(55)}, "error"},
		{UserRequest{ImageUser: "app", RunAsGroup: n(55)}, "error"},
		{UserRequest{RunAsUser: n(-1)}, "error"},
		{UserRequest{RunAsUser: n(1 << 31)}, "error"},
		{UserRequest{RunAsUser: n(1 << 32)}, "error"},
		{UserRequest{RunAsUser: n(1), RunAsGroup: n(1 << 32)}, "error"},
		{UserRequest{ImageUser: "app", SupplementalGroups: []int64{9, 2000, 9}}, "1000:1000 app /home/app [1000 2000 3000 9]"},
		{UserRequest{ImageUser: "app", SupplementalGroups: []int64{9, 2000, 9}, Policy: GroupsStrict}, "1000:1000 app /home/app [1000 9 2000]"},
		{UserRequest{ImageUser: "app", Policy: GroupsStrict}, "1000:1000 app /home/app [1000]"},
		{UserRequest{ImageUser: "app", Policy: 2}, "error"},
		{UserRequest{SupplementalGroups: []int64{-1}}, "error"},
		{UserRequest{SupplementalGroups: []int64{1 << 31}}, "error"},
	} {
		checkIdentity(t, c.r, c.want)
	}
}

func TestResolveWithoutFiles(t *testing.T) {
	var none Users
	id, err := none.Resolve(UserRequest{ImageUser: "12:34"})
	must(t, err)
	if id.UID != 12 || id.GID != 34 || !slices.Equal(id.Groups, []uint32{34}) || id.Home != "/" {
		t.Errorf("%+v", id)
	}
	if _, err := none.Resolve(UserRequest{ImageUser: "app"}); err == nil || !strings.Contains(err.Error(), "the image has none") {
		t.Error(err)
	}
	// A file that is there and can't be read is no absent file: which groups shut the user out would be a guess.
	broken := Users{passwd: userFile{path: "/etc/passwd", problem: "too large"}}
	if _, err := broken.Resolve(UserRequest{ImageUser: "12:34"}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// TestUserFileLimits: a line, a number of groups (CVE-2026-47262, CVE-2025-4437).
func TestUserFileLimits(t *testing.T) {
	long := Users{passwd: userFile{path: "/etc/passwd", data: []byte(strings.Repeat("x", maxUserFileLine+1) + "\nroot:x:0:0::/:\n")}}
	if _, err := long.Resolve(UserRequest{ImageUser: "root"}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	member := Users{
		passwd: userFile{path: "/etc/passwd", data: []byte("m:x:1:1::/:\n")},
		group:  userFile{path: "/etc/group", data: []byte("g:x:5:" + strings.Repeat("a,", 30000) + "m\n")},
	}
	id, err := member.Resolve(UserRequest{ImageUser: "m"})
	must(t, err)
	if !slices.Equal(id.Groups, []uint32{1, 5}) {
		t.Error(id.Groups)
	}
	var groups strings.Builder
	for i := range maxGroups + 1 {
		fmt.Fprintf(&groups, "g:x:%d:m\n", i)
	}
	member.group.data = []byte(groups.String())
	if _, err := member.Resolve(UserRequest{ImageUser: "m"}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func FuzzUsers(f *testing.F) {
	f.Add(testPasswd, testGroup, "app:extra")
	f.Add("", "", "0")
	f.Fuzz(func(t *testing.T, passwd, group, user string) {
		u := &Users{passwd: userFile{data: []byte(passwd)}, group: userFile{data: []byte(group)}}
		id, err := u.Resolve(UserRequest{ImageUser: user})
		if err != nil {
			return
		}
		if id.UID > maxID || id.GID > maxID || len(id.Groups) == 0 || id.Groups[0] != id.GID || len(id.Groups) > maxGroups {
			t.Errorf("%+v", id)
		}
		if hasControl(id.Home) || hasControl(id.Name) || !strings.HasPrefix(id.Home, "/") {
			t.Errorf("%+v", id)
		}
		if isDigits(user) && fmt.Sprint(id.UID) != strings.TrimLeft(user, "0") && strings.Trim(user, "0") != "" {
			t.Errorf("%q became %d", user, id.UID)
		}
	})
}
