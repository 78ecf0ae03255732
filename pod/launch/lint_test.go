package launch

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/pod/tape"
)

// TestLintCatches spoils a tape in the ways that other runtimes' launches were broken by, and wants the rules of this package to see it.
func TestLintCatches(t *testing.T) {
	const why = "mount hosts on /etc/hosts"
	path := tape.How{Flags: unix.O_PATH | unix.O_CLOEXEC}
	for _, c := range []struct {
		name  string
		spoil func(b *tape.Builder, root, hosts tape.FD)
		want  string
	}{
		{"a mount by a path below the root", func(b *tape.Builder, root, hosts tape.FD) {
			b.MoveMount(hosts, "", root, "etc/hosts", unix.MOVE_MOUNT_F_EMPTY_PATH, why)
		}, tape.RuleRootPath},
		{"a mount by a path from where the root stands", func(b *tape.Builder, root, hosts tape.FD) {
			b.MoveMount(hosts, "", tape.Cwd, pathContainer+"/etc/hosts", unix.MOVE_MOUNT_F_EMPTY_PATH, why)
		}, tape.RuleOwnPath},
		{"a target that links can lead out of the root", func(b *tape.Builder, root, hosts tape.FD) {
			at := b.OpenAt2(root, "etc/hosts", path, why)
			b.Attach(hosts, at, why)
			b.Close(at, "")
		}, tape.RuleRootPath},
		{"a target that magic links can lead out of the root", func(b *tape.Builder, root, hosts tape.FD) {
			how := path
			how.Resolve = unix.RESOLVE_IN_ROOT
			at := b.OpenAt2(root, "etc/hosts", how, why)
			b.Attach(hosts, at, why)
			b.Close(at, "")
		}, tape.RuleRootPath},
		{"a path of the host", func(b *tape.Builder, root, hosts tape.FD) {
			b.Close(b.OpenTree(tape.Cwd, "/var/lib/kubelet", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC, why), "")
			b.Attach(hosts, root, why)
		}, tape.RuleOwnPath},
		{"parents made by a path", func(b *tape.Builder, root, hosts tape.FD) {
			b.Mkdirat(root, "etc/app", 0o755, why)
			b.Attach(hosts, root, why)
		}, tape.RuleRootPath},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := tape.New("spoilt")
			root, hosts := b.FD(FDRoot), b.FD("hosts")
			b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "hide from containers")
			c.spoil(b, root, hosts)
			b.Close(hosts, "")
			enter(b, root)
			spoilt, err := b.Finish()
			if err != nil {
				t.Fatal(err)
			}
			var rules []string
			for _, err := range tape.Lint(spoilt, Rules()) {
				var f *tape.Finding
				if errors.As(err, &f) {
					rules = append(rules, f.Rule)
				}
			}
			if !slices.Contains(rules, c.want) {
				t.Errorf("the linter found %q, want %s among it", rules, c.want)
			}
		})
	}
}
