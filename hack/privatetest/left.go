package privatetest

import (
	"fmt"
	"time"
)

// settleTime is how long what is left may differ before it counts: the last goroutines of tests may be about to close a file still, on a busy machine.
var settleTime = time.Minute

// Run runs the tests and gives the code to exit with: theirs, or 1 if what left tells is another text afterwards than before.
func Run(tests func() int, left func() string) int {
	before := left()
	if code := tests(); code != 0 {
		return code
	}
	after := Await(left, before)
	if after == before {
		return 0
	}
	fmt.Printf("left behind: before %s, after %s\n", before, after)
	for _, file := range Files() {
		fmt.Println("open:", file)
	}
	for _, line := range Mounts() {
		fmt.Print("mounted: ", line)
	}
	return 1
}

// Await gives what left tells once it is as before, or after a minute.
func Await(left func() string, before string) (after string) {
	for deadline := time.Now().Add(settleTime); ; time.Sleep(time.Millisecond) {
		if after = left(); after == before || time.Now().After(deadline) {
			return after
		}
	}
}
