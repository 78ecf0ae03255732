package pause

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFailedErrorText(t *testing.T) {
	id := testID(0xab)
	for _, c := range []struct {
		err  FailedError
		want []string
	}{
		{FailedError{"CLONE", id, unix.ENOENT, 7}, []string{"CLONE", id.String(), "step 7", "ENOENT"}},
		{FailedError{"CLONE", id, unix.EINVAL, StepInvalid}, []string{"tape was refused", "EINVAL"}},
		{FailedError{"CLONE", id, unix.EINVAL, StepNone}, []string{"EINVAL", "its kind"}},
		{FailedError{"CLONE", id, unix.EAGAIN, StepNone}, []string{"EAGAIN", "acknowledged"}},
		{FailedError{"CLONE", id, unix.EEXIST, StepNone}, []string{"EEXIST", "of this id"}},
		{FailedError{"CLONE", id, unix.EPERM, StepNone}, []string{"EPERM", "nursery"}},
		{FailedError{"CLONE", id, unix.E2BIG, StepNone}, []string{"E2BIG", "older"}},
		{FailedError{"ACK", id, unix.ESRCH, StepNone}, []string{"ACK", "ESRCH", "no such process"}},
		{FailedError{"ACK", id, unix.EBUSY, StepNone}, []string{"ACK", "EBUSY"}},
		{FailedError{"CLONE", id, unix.Errno(4000), 0}, []string{"errno 4000", "step 0"}},
	} {
		for _, want := range c.want {
			if got := c.err.Error(); !strings.Contains(got, want) {
				t.Errorf("%q lacks %q", got, want)
			}
		}
	}
	if got := (&VersionError{Pause: 3, Podlet: 2}).Error(); !strings.Contains(got, "version 3") || !strings.Contains(got, "to 2") {
		t.Error(got)
	}
}

func TestID(t *testing.T) {
	id := testID(0xab)
	back, err := ParseID(id.String())
	if back != id || err != nil {
		t.Errorf("%s: %v, %v", id, back, err)
	}
	for _, s := range []string{"", "ab", strings.Repeat("g", 64), strings.Repeat("a", 63), strings.Repeat("a", 66)} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("%q is an id", s)
		}
	}
}

func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for k := KindExec; k <= KindSelf+1; k++ {
		if seen[k.String()] {
			t.Errorf("two kinds are %q", k)
		}
		seen[k.String()] = true
	}
}
