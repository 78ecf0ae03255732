package tape

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	pathHow = How{Flags: unix.O_PATH}
	inRoot  = How{Flags: unix.O_PATH, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
)

// parts is a tape that keeps all rules, in parts that a test can exchange.
type parts struct {
	b            *Builder
	rootfs, gate FD

	first, beforePivot, pivot, afterPivot, closing, identity, last func(p *parts)
}

func goodParts() *parts {
	return &parts{
		first: func(p *parts) { p.b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "") },
		beforePivot: func(p *parts) {
			place := p.b.OpenAt2(Cwd, "/container", pathHow, "")
			p.b.Attach(p.rootfs, place, "")
			p.b.Close(place, "")
		},
		pivot: func(p *parts) {
			p.b.Fchdir(p.rootfs, "")
			p.b.Close(p.rootfs, "")
			p.b.PivotRoot(".", ".", "")
			p.b.Umount2(".", unix.MNT_DETACH, "")
		},
		afterPivot: func(p *parts) { p.b.Chdir("/srv", "") },
		closing: func(p *parts) {
			p.b.CloseRange(3, ^uint32(0), unix.CLOSE_RANGE_CLOEXEC, "")
		},
		identity: func(p *parts) {
			p.b.Setgroups(nil, "")
			p.b.Setresgid(1, "")
			p.b.Setresuid(1, "")
			p.b.Capset(0, 0, 0, "")
			p.b.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, "")
		},
		last: func(p *parts) {
			p.b.Read1(p.gate, "").Positive()
			p.b.Close(p.gate, "")
			p.b.Seccomp(0, allowAll, "")
			p.b.Execve("/bin/a", []string{"a"}, nil, "").Try().Ignore(unix.ENOENT)
			p.b.Execve("/a", []string{"a"}, nil, "").Try()
		},
	}
}

func (p *parts) lint(t *testing.T) []error {
	t.Helper()
	p.b = New("x")
	p.rootfs, p.gate = p.b.FD("rootfs"), p.b.FD("gate")
	for _, part := range []func(*parts){p.first, p.beforePivot, p.pivot, p.afterPivot, p.closing, p.identity, p.last} {
		part(p)
	}
	return Lint(finish(t, p.b), Rules{
		RootFDs:   []string{"rootfs"},
		OwnPaths:  []string{"/container", "/proc/"},
		MayLinger: []string{"lingerer"},
	})
}

// before puts steps in front of a part.
func before(part *func(*parts), steps func(p *parts)) {
	rest := *part
	*part = func(p *parts) { steps(p); rest(p) }
}

func TestLint(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(p *parts)
		want  []string
	}{
		{"good", func(p *parts) {}, nil},

		{"dumpable late", func(p *parts) { before(&p.first, func(p *parts) { p.b.Setsid("") }) }, []string{RuleDumpable}},
		{"dumpable 1", func(p *parts) { p.first = func(p *parts) { p.b.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0, "") } }, []string{RuleDumpable}},

		{"own path", func(p *parts) { before(&p.pivot, func(p *parts) { p.b.Chdir("/proc/self", "") }) }, nil},
		{"foreign path", func(p *parts) { before(&p.pivot, func(p *parts) { p.b.Chdir("/etc", "") }) }, []string{RuleOwnPath}},
		{"path below an own one that stands for itself", func(p *parts) {
			before(&p.pivot, func(p *parts) { p.b.Chdir("/container/etc", "") })
		}, []string{RuleOwnPath}},
		{"own path with dots", func(p *parts) { before(&p.pivot, func(p *parts) { p.b.Chdir("/proc/../etc", "") }) }, []string{RuleOwnPath}},
		{"relative to the cwd", func(p *parts) { before(&p.pivot, func(p *parts) { p.b.Chdir("etc", "") }) }, []string{RuleOwnPath}},
		{"absolute path beside an fd", func(p *parts) {
			before(&p.pivot, func(p *parts) { p.b.Mkdirat(p.rootfs, "/etc", 0o755, "") })
		}, []string{RuleOwnPath}},
		{"bind mount of a path", func(p *parts) {
			before(&p.pivot, func(p *parts) { p.b.Mount("/etc", "/proc/x", "", unix.MS_BIND, "", "") })
		}, []string{RuleOwnPath}},
		{"source that is no path", func(p *parts) {
			before(&p.pivot, func(p *parts) { p.b.Mount("tmpfs", "/proc/x", "tmpfs", 0, "", "") })
		}, nil},
		{"path in a parameter", func(p *parts) {
			before(&p.pivot, func(p *parts) {
				fs := p.b.FSOpen("overlay", "")
				p.b.FSConfigString(fs, "lowerdir", "/etc", "")
				p.b.Close(fs, "")
			})
		}, []string{RuleOwnPath}},
		{"path of an unknown call", func(p *parts) {
			before(&p.pivot, func(p *parts) { p.b.add(unix.SYS_CHROOT, "", p.b.str("/etc")) })
		}, []string{RuleOwnPath}},
		{"after the pivot any path goes", func(p *parts) { before(&p.afterPivot, func(p *parts) { p.b.Chdir("/etc", "") }) }, nil},
		{"after setns any path goes", func(p *parts) {
			p.beforePivot = func(p *parts) {}
			p.pivot = func(p *parts) { p.b.Setns(p.rootfs, unix.CLONE_NEWNS|unix.CLONE_NEWPID, ""); p.b.Close(p.rootfs, "") }
		}, nil},

		{"below the root, confined", func(p *parts) {
			before(&p.pivot, func(p *parts) { p.b.Close(p.b.OpenAt2(p.rootfs, "/etc/hosts", inRoot, ""), "") })
		}, nil},
		{"below the root, no links at all", func(p *parts) {
			how := How{Flags: unix.O_PATH, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
			before(&p.pivot, func(p *parts) { p.b.Close(p.b.OpenAt2(p.rootfs, "etc", how, ""), "") })
		}, nil},
		{"below the root, magic links", func(p *parts) {
			how := How{Flags: unix.O_PATH | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_IN_ROOT}
			before(&p.pivot, func(p *parts) { p.b.Close(p.b.OpenAt2(p.rootfs, "etc", how, ""), "") })
		}, []string{RuleRootPath}},
		{"below the root, not confined", func(p *parts) {
			before(&p.pivot, func(p *parts) { p.b.Close(p.b.OpenAt2(p.rootfs, "etc", pathHow, ""), "") })
		}, []string{RuleFollow, RuleRootPath}},
		{"a name in the root", func(p *parts) { before(&p.pivot, func(p *parts) { p.b.Mkdirat(p.rootfs, "etc", 0o755, "") }) }, nil},
		{"a path in the root", func(p *parts) {
			before(&p.pivot, func(p *parts) { p.b.Mkdirat(p.rootfs, "etc/x", 0o755, "") })
		}, []string{RuleRootPath}},
		{"the root's parent", func(p *parts) {
			before(&p.pivot, func(p *parts) { p.b.Mkdirat(p.rootfs, "..", 0o755, "") })
		}, []string{RuleRootPath}},
		{"mount onto a path in the root", func(p *parts) {
			before(&p.pivot, func(p *parts) {
				p.b.MoveMount(p.rootfs, "", p.rootfs, "etc", unix.MOVE_MOUNT_F_EMPTY_PATH, "")
			})
		}, []string{RuleRootPath}},
		{"what is opened from the root is of it", func(p *parts) {
			before(&p.pivot, func(p *parts) {
				etc := p.b.OpenAt2(p.rootfs, "etc", inRoot, "")
				p.b.Mkdirat(etc, "a/b", 0o755, "")
				p.b.Close(etc, "")
			})
		}, []string{RuleRootPath}},
		{"what may be opened from the root is of it", func(p *parts) {
			before(&p.pivot, func(p *parts) {
				etc := p.b.OpenAt2(p.rootfs, "etc", inRoot, "")
				p.b.Unless(p.b.Last().Ignore(unix.ENOENT), func() {
					p.b.Into(etc)
					p.b.OpenAt2(Cwd, "/container", pathHow, "")
				})
				p.b.Mkdirat(etc, "a/b", 0o755, "")
				p.b.Close(etc, "")
			})
		}, []string{RuleRootPath}},
		{"the cwd in the root", func(p *parts) {
			before(&p.pivot, func(p *parts) { p.b.Fchdir(p.rootfs, ""); p.b.Mkdirat(Cwd, "a/b", 0o755, "") })
		}, []string{RuleRootPath}},
		{"other fds are free", func(p *parts) {
			before(&p.pivot, func(p *parts) {
				proc := p.b.OpenAt2(Cwd, "/proc/", pathHow, "")
				p.b.Mkdirat(proc, "a/b", 0o755, "")
				p.b.Close(proc, "")
			})
		}, nil},

		{"mount that follows", func(p *parts) {
			before(&p.pivot, func(p *parts) {
				p.b.MoveMount(p.rootfs, "", p.rootfs, "a", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS, "")
			})
		}, []string{RuleFollow, RuleRootPath}},
		{"mount from where it follows", func(p *parts) {
			before(&p.pivot, func(p *parts) {
				p.b.MoveMount(p.rootfs, "a", p.rootfs, "", unix.MOVE_MOUNT_T_EMPTY_PATH|unix.MOVE_MOUNT_F_SYMLINKS, "")
			})
		}, []string{RuleFollow, RuleRootPath}},
		{"owner of a name", func(p *parts) {
			before(&p.pivot, func(p *parts) { p.b.Fchownat(p.rootfs, "a", 0, 0, unix.AT_SYMLINK_NOFOLLOW, "") })
		}, nil},
		{"owner of what a link points to", func(p *parts) {
			before(&p.pivot, func(p *parts) { p.b.Fchownat(p.rootfs, "a", 0, 0, 0, "") })
		}, []string{RuleFollow, RuleRootPath}},
		{"follows after the pivot", func(p *parts) {
			p.pivot = func(p *parts) {
				p.b.PivotRoot(".", ".", "")
				p.b.Close(p.b.OpenTree(p.rootfs, "a", 0, ""), "")
				p.b.Close(p.rootfs, "")
			}
		}, []string{RuleFollow}},

		{"fd not closed", func(p *parts) {
			before(&p.afterPivot, func(p *parts) { p.b.OpenAt2(Cwd, "/a", pathHow, "") })
		}, []string{RuleLinger}},
		{"fd not closed, and nothing covers it", func(p *parts) {
			before(&p.afterPivot, func(p *parts) { p.b.OpenAt2(Cwd, "/a", pathHow, "") })
			p.closing = func(p *parts) {}
		}, []string{RuleLeak}},
		{"fd opened after the cover", func(p *parts) {
			before(&p.identity, func(p *parts) { p.b.OpenAt2(Cwd, "/a", pathHow, "") })
		}, []string{RuleLeak}},
		{"register overwritten", func(p *parts) {
			before(&p.afterPivot, func(p *parts) {
				r := p.b.OpenAt2(Cwd, "/a", pathHow, "")
				p.b.Into(r)
				p.b.OpenAt2(Cwd, "/a", pathHow, "")
				p.b.Close(r, "")
			})
		}, []string{RuleLeak}},
		{"fd closed late", func(p *parts) {
			before(&p.afterPivot, func(p *parts) {
				r := p.b.OpenAt2(Cwd, "/a", pathHow, "")
				p.b.Fchdir(r, "")
				p.b.Setsid("")
				p.b.Close(r, "")
			})
		}, []string{RuleLinger}},
		{"fd closed at the end of its action", func(p *parts) {
			before(&p.afterPivot, func(p *parts) {
				r := p.b.OpenAt2(Cwd, "/a", pathHow, "")
				p.b.Fchdir(r, "same")
				p.b.Setsid("same")
				p.b.Close(r, "")
			})
		}, nil},
		{"fd closed behind the other way", func(p *parts) {
			before(&p.afterPivot, func(p *parts) {
				r := p.b.OpenAt2(Cwd, "/a", pathHow, "")
				p.b.Unless(p.b.Fchdir(r, "").Ignore(unix.EACCES), func() { p.b.Setsid("") })
				p.b.Close(r, "")
			})
		}, nil},
		{"fd that may linger", func(p *parts) {
			before(&p.first, func(p *parts) { p.b.FD("lingerer") })
			before(&p.afterPivot, func(p *parts) { p.b.Fchdir(FD{p.b, 2}, "") })
		}, nil},
		{"fd that is stdin", func(p *parts) {
			before(&p.first, func(p *parts) { p.b.FD("stdin") })
			before(&p.afterPivot, func(p *parts) { p.b.Dup3(FD{p.b, 2}, 0, 0, "") })
		}, nil},
		{"all closed at once", func(p *parts) {
			p.closing = func(p *parts) {}
			before(&p.last, func(p *parts) { p.b.Chdir("/", "") })
			p.last = func(p *parts) {
				p.b.Read1(p.gate, "")
				p.b.CloseRange(3, ^uint32(0), 0, "")
				p.b.Execve("/a", []string{"a"}, nil, "")
			}
		}, nil},
		{"fd inside a struct is used", func(p *parts) {
			before(&p.first, func(p *parts) { p.b.FD("cgroup") })
			before(&p.afterPivot, func(p *parts) {
				p.b.Clone3(Clone{Cgroup: FD{p.b, 2}}, "")
				p.b.Close(FD{p.b, 2}, "")
			})
		}, nil},
		{"passed for nothing", func(p *parts) {
			before(&p.first, func(p *parts) { p.b.FD("idle") })
			before(&p.afterPivot, func(p *parts) { p.b.Close(FD{p.b, 2}, "") })
		}, []string{RuleUnused}},

		{"no setgroups", func(p *parts) {
			p.identity = func(p *parts) { p.b.Setresgid(1, ""); p.b.Setresuid(0, "") }
		}, []string{RuleGroups}},
		{"setgroups too late", func(p *parts) {
			p.identity = func(p *parts) { p.b.Setresgid(1, ""); p.b.Setresuid(0, ""); p.b.Setgroups(nil, "") }
		}, []string{RuleGroups}},
		{"setresgid too late", func(p *parts) {
			p.identity = func(p *parts) { p.b.Setgroups(nil, ""); p.b.Setresuid(0, ""); p.b.Setresgid(1, "") }
		}, []string{RuleGroups}},
		{"ids of the user namespace first", func(p *parts) { before(&p.pivot, func(p *parts) { p.b.Setresgid(0, ""); p.b.Setresuid(0, "") }) }, nil},
		{"capset too early", func(p *parts) {
			p.identity = func(p *parts) {
				p.b.Capset(^uint64(0), ^uint64(0), 0, "")
				p.b.Setgroups(nil, "")
				p.b.Setresuid(0, "")
			}
		}, []string{RuleCapset}},
		{"filter without no_new_privs", func(p *parts) {
			p.identity = func(p *parts) { p.b.Capset(0, 0, 0, "") }
		}, []string{RuleSeccomp}},
		{"filter of another user", func(p *parts) {
			p.identity = func(p *parts) { p.b.Setgroups(nil, ""); p.b.Setresuid(1, "") }
		}, []string{RuleSeccomp}},
		{"filter with CAP_SYS_ADMIN", func(p *parts) {
			p.identity = func(p *parts) {
				p.b.Setgroups(nil, "")
				p.b.Setresuid(1, "")
				p.b.Capset(1<<capSysAdmin, 1<<capSysAdmin, 0, "")
			}
		}, nil},
		{"step behind execve", func(p *parts) {
			rest := p.last
			p.last = func(p *parts) { rest(p); p.b.Setsid("") }
		}, []string{RuleExecve}},
	} {
		p := goodParts()
		c.spoil(p)
		errs := p.lint(t)
		var got []string
		for _, err := range errs {
			var f *Finding
			if !errors.As(err, &f) {
				t.Fatalf("%s: %v is no *Finding", c.name, err)
			}
			got = append(got, f.Rule)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, errs, c.want)
		}
	}
}

// TestLintUnwritten: Finish refuses such tapes; a decoded one may be so.
func TestLintUnwritten(t *testing.T) {
	b := New("x")
	b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "")
	r := b.FSOpen("proc", "")
	b.FSConfigCreate(r, "")
	tp := finish(t, b)
	tp.steps = slices.Insert(tp.steps, 1, step{nr: unix.SYS_SETSID, dst: -1, flags: flagSkip, skip: 1, ignore: [ignores]uint16{1}})
	tp, err := Decode(encode(t, tp))
	if err != nil {
		t.Fatal(err)
	}
	errs := Lint(tp, Rules{})
	var f *Finding
	if len(errs) != 1 || !errors.As(errs[0], &f) || f.Rule != RuleUnwritten || f.Index != 3 {
		t.Errorf("%v", errs)
	}
}

// TestLintIsQuietOnOpenTapes: where a tape may run out, its fds need not be closed.
func TestLintIsQuietOnOpenTapes(t *testing.T) {
	b := New("x")
	gate := b.FD("gate")
	b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "")
	b.Read1(gate, "")
	if errs := Lint(finish(t, b), Rules{}); errs != nil {
		t.Errorf("%v", errs)
	}
}
