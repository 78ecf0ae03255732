package pod

import (
	"errors"
	"strings"
	"testing"
)

// TestLookup: an id, and as much of its beginning as names one object alone.
func TestLookup(t *testing.T) {
	same, a, b := "01234567", strings.Repeat("a", idDigits-8), strings.Repeat("b", idDigits-8)
	one, other, third := 1, 2, 3
	table := map[string]*int{same + a: &one, same + b: &other, a + same: &third}
	for _, c := range []struct {
		id   string
		want *int
		err  error
	}{
		{same + a, &one, nil}, {same + "b", &other, nil}, {a[:8], &third, nil}, {a[:13], &third, nil},
		{same, nil, ErrInvalid}, {"0", nil, ErrInvalid}, {"a", &third, nil}, {"", nil, nil}, {b, nil, nil}, {same + a + "a", nil, nil}, {same + "A", nil, nil},
	} {
		if got, err := lookup(table, c.id); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q: %v, %v", c.id, got, err)
		}
	}
}
