package image

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Users are an image's own /etc/passwd and /etc/group, as import found them in the merged tree.
type Users struct{ passwd, group userFile }

// userFile is one of the two files; absent where data is nil and problem is "".
type userFile struct {
	path    string
	data    []byte
	problem string // why the file is there and can't be used
}

// GroupsPolicy is CRI's SupplementalGroupsPolicy.
type GroupsPolicy int

const (
	// GroupsMerge: the groups that /etc/group gives the user, and those asked for.
	GroupsMerge GroupsPolicy = iota
	// GroupsStrict: only those asked for.
	GroupsStrict
)

// UserRequest is what CRI's LinuxContainerSecurityContext and the image's config ask for.
type UserRequest struct {
	// ImageUser is Config.User: "", "uid", "name", "uid:gid", "uid:group", "name:gid" or "name:group". It counts where neither RunAsUser nor RunAsUsername is given.
	ImageUser string
	// RunAsUser and RunAsGroup are nil where not given, else 0 to 2^31-1.
	RunAsUser, RunAsGroup *int64
	RunAsUsername         string
	SupplementalGroups    []int64
	Policy                GroupsPolicy
}

// Identity is who the process is.
type Identity struct {
	UID, GID uint32
	// Groups are the supplementary groups, the primary one first: a file whose mode shuts a group out must shut out those whose primary group it is (GO-2022-1014).
	Groups []uint32
	// Name and Home are of /etc/passwd; Name "" where the uid has no line, Home then "/".
	Name, Home string
}

// Resolve finds the user and groups by the rules of CRI (LinuxContainerSecurityContext) and of the OCI image specification (config.md, "User").
//
// There is one parser for all forms: a text of digits is a number and never a name, a number is 0 to 2^31-1 or an error (CVE-2024-40635, CVE-2026-46680). A user
// given by name must stand in /etc/passwd, a group by name in /etc/group. A uid without a line runs with group 0. Errors are ErrInvalid.
func (u *Users) Resolve(r UserRequest) (Identity, error) {
	user, group, err := r.names()
	if err != nil {
		return Identity{}, err
	}
	id := Identity{Home: "/"}
	entry, err := u.findUser(user)
	if err != nil {
		return Identity{}, err
	}
	id.UID, id.GID, id.Name = entry.uid, entry.gid, entry.name
	if usableHome(entry.home) {
		id.Home = entry.home
	}
	if group != (userName{}) {
		if id.GID, err = u.findGroup(group); err != nil {
			return Identity{}, err
		}
	}
	groups := []uint32{id.GID}
	if r.Policy == GroupsMerge && id.Name != "" {
		more, err := u.groupsOf(id.Name)
		if err != nil {
			return Identity{}, err
		}
		groups = append(groups, more...)
	}
	for _, g := range r.SupplementalGroups {
		if g < 0 || g > maxID {
			return Identity{}, invalid("supplemental group %d: want 0 to %d", g, maxID)
		}
		groups = append(groups, uint32(g))
	}
	id.Groups, err = distinct(groups)
	return id, err
}

// names picks what counts of a request.
func (r *UserRequest) names() (user, group userName, err error) {
	if r.Policy != GroupsMerge && r.Policy != GroupsStrict {
		return user, group, invalid("supplemental groups policy %d: want Merge or Strict", r.Policy)
	}
	if r.RunAsUser != nil && r.RunAsUsername != "" {
		return user, group, invalid("both run_as_user and run_as_username are set: want one")
	}
	switch {
	case r.RunAsUser != nil:
		user, err = numericName("run_as_user", *r.RunAsUser)
	case r.RunAsUsername != "":
		if user, err = parseUserName(r.RunAsUsername); err != nil {
			err = invalid("run_as_username: %w", err)
		}
	case r.RunAsGroup != nil:
		err = invalid("run_as_group without run_as_user or run_as_username")
	default:
		if user, group, err = splitUser(r.ImageUser); err != nil {
			err = invalid("the image's user: %w", err)
		}
	}
	if err == nil && r.RunAsGroup != nil {
		group, err = numericName("run_as_group", *r.RunAsGroup)
	}
	return user, group, err
}

// DefaultUser gives what CRI's Image.uid and Image.username say of the image: one of the two, or nil and "" where the image names no user and
// root is meant. It agrees with what Resolve makes of the same text, or both fail.
func (c *Config) DefaultUser() (uid *int64, username string, err error) {
	if c.User == "" {
		return nil, "", nil
	}
	user, _, err := splitUser(c.User)
	if err != nil {
		return nil, "", invalid("the image's user: %w", err)
	}
	if user.name != "" {
		return nil, user.name, nil
	}
	n := int64(user.id)
	return &n, "", nil
}

// userName is a user or a group by name or by number. The zero value is none.
type userName struct {
	name    string
	id      uint32
	numeric bool
}

func numericName(what string, n int64) (userName, error) {
	if n < 0 || n > maxID {
		return userName{}, invalid("%s %d: want 0 to %d", what, n, maxID)
	}
	return userName{id: uint32(n), numeric: true}, nil
}

// splitUser parses "user" or "user:group"; "" is uid 0.
func splitUser(s string) (user, group userName, err error) {
	if s == "" {
		return userName{numeric: true}, userName{}, nil
	}
	if len(s) > maxUserBytes {
		return user, group, invalid("%s: longer than %d bytes", quote(s), maxUserBytes)
	}
	userText, groupText, hasGroup := strings.Cut(s, ":")
	if user, err = parseUserName(userText); err != nil {
		return user, group, err
	}
	if hasGroup {
		group, err = parseUserName(groupText)
	}
	return user, group, err
}

func parseUserName(s string) (userName, error) {
	if isDigits(s) {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return userName{}, invalid("%s: want a number from 0 to %d", quote(s), maxID)
		}
		return userName{id: uint32(n), numeric: true}, nil
	}
	if err := checkName(s); err != nil {
		return userName{}, err
	}
	return userName{name: s}, nil
}

// checkName: what a name of a user or group may be. Not what some other reader could take for a number: digits of any script, also with a sign.
func checkName(s string) error {
	switch {
	case s == "":
		return invalid("empty name of a user or group")
	case len(s) > maxUserBytes || hasControl(s) || strings.ContainsAny(s, " :,/"):
		return invalid("%s: no name of a user or group", quote(s))
	case s[0] == '-' || s[0] == '+':
		return invalid("%s: a name of a user or group doesn't begin with a sign", quote(s))
	}
	for _, r := range s {
		if !unicode.IsNumber(r) {
			return nil
		}
	}
	return invalid("%s: a name of a user or group isn't all digits", quote(s))
}

type passwdEntry struct {
	name     string
	uid, gid uint32
	home     string
}

// findUser gives the first line of /etc/passwd that fits. A uid needs none, but a file that is there and can't be read is an error even so: which groups the user has would be a guess.
func (u *Users) findUser(want userName) (passwdEntry, error) {
	var found *passwdEntry
	err := u.passwd.lines(func(line string) error {
		fields := strings.Split(line, ":")
		if len(fields) < 4 || checkName(fields[0]) != nil {
			return nil
		}
		uid, bad := parseID(fields[2])
		if want.numeric && (bad != nil || uid != want.id) || !want.numeric && fields[0] != want.name {
			return nil
		}
		if bad != nil {
			return invalid("user %s in the image's /etc/passwd: uid %w", quote(fields[0]), bad)
		}
		gid, bad := parseID(fields[3])
		if bad != nil {
			return invalid("user %s in the image's /etc/passwd: gid %w", quote(fields[0]), bad)
		}
		found = &passwdEntry{name: fields[0], uid: uid, gid: gid}
		if len(fields) > 5 {
			found.home = fields[5]
		}
		return errStop
	})
	if err != nil {
		return passwdEntry{}, err
	}
	if found != nil {
		return *found, nil
	}
	if want.numeric {
		return passwdEntry{uid: want.id}, nil
	}
	return passwdEntry{}, invalid("user %s: not in the image's /etc/passwd%s", quote(want.name), u.passwd.absence())
}

func (u *Users) findGroup(want userName) (uint32, error) {
	if want.numeric {
		return want.id, nil
	}
	gid, found := uint32(0), false
	err := u.group.lines(func(line string) error {
		fields := strings.SplitN(line, ":", 4)
		if len(fields) < 3 || fields[0] != want.name {
			return nil
		}
		n, bad := parseID(fields[2])
		if bad != nil {
			return invalid("group %s in the image's /etc/group: gid %w", quote(fields[0]), bad)
		}
		gid, found = n, true
		return errStop
	})
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, invalid("group %s: not in the image's /etc/group%s", quote(want.name), u.group.absence())
	}
	return gid, nil
}

// groupsOf gives the groups whose lines list the user.
func (u *Users) groupsOf(user string) ([]uint32, error) {
	var groups []uint32
	err := u.group.lines(func(line string) error {
		fields := strings.SplitN(line, ":", 4)
		if len(fields) < 4 || !listed(fields[3], user) {
			return nil
		}
		n, bad := parseID(fields[2])
		if bad != nil {
			return invalid("group %s in the image's /etc/group: gid %w", quote(fields[0]), bad)
		}
		groups = append(groups, n)
		return nil
	})
	return groups, err
}

// listed reports whether user stands in the list "a,b,c".
func listed(members, user string) bool {
	for len(members) > 0 {
		var m string
		m, members, _ = strings.Cut(members, ",")
		if m == user {
			return true
		}
	}
	return false
}

func parseID(s string) (uint32, error) {
	if !isDigits(s) {
		return 0, invalid("%s: want digits", quote(s))
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, invalid("%s: want 0 to %d", quote(s), maxID)
	}
	return uint32(n), nil
}

// errStop ends lines early.
var errStop = errors.New("stop")

// lines calls f for each line that isn't empty or a comment. An absent file has none.
func (f *userFile) lines(each func(line string) error) error {
	if f.problem != "" {
		return invalid("the image's %s: %s", f.path, f.problem)
	}
	rest := f.data
	for len(rest) > 0 {
		line := rest
		if i := slices.Index(rest, '\n'); i >= 0 {
			line, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		if len(line) > maxUserFileLine {
			return invalid("the image's %s has a line of %d bytes: at most %d", f.path, len(line), maxUserFileLine)
		}
		text := strings.TrimSuffix(string(line), "\r")
		if text == "" || text[0] == '#' {
			continue
		}
		if err := each(text); err == errStop {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (f *userFile) absence() string {
	if f.data == nil {
		return " (the image has none)"
	}
	return ""
}

// distinct drops what came before, and holds the number to what setgroups(2) takes.
func distinct(groups []uint32) ([]uint32, error) {
	seen := make(map[uint32]bool, len(groups))
	var out []uint32
	for _, g := range groups {
		if !seen[g] {
			seen[g] = true
			out = append(out, g)
		}
	}
	if len(out) > maxGroups {
		return nil, invalid("%d supplementary groups: at most %d", len(out), maxGroups)
	}
	return out, nil
}

// usableHome: HOME goes into the environment, where a newline could become a line of somebody's file (CVE-2026-15809).
func usableHome(home string) bool {
	return strings.HasPrefix(home, "/") && len(home) <= maxPathBytes && !hasControl(home)
}
