package main

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestMoments: every fourth cut is in the middle of a pull, the others are within the time, most of them early.
func TestMoments(t *testing.T) {
	f := cutFlags{within: time.Minute}
	random := rand.New(rand.NewPCG(1, 0))
	early := 0
	for i := range 4000 {
		c := f.moment(i, random, 10*time.Second)
		most := time.Minute
		if c.during {
			most = 10 * time.Second
		}
		if c.during != (i%4 == 3) || c.after < 0 || c.after > most {
			t.Fatalf("cut %d is %s", i, c)
		}
		if !c.during && c.after < 8*time.Second {
			early++
		}
	}
	if early < 1400 || early > 1600 {
		t.Errorf("%d of 3000 are in the first 8 s, want half of them", early)
	}
}
