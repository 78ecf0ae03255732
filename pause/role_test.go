package pause

import (
	"context"
	"fmt"
	"time"
)

// playRole is the test binary as one of its own helpers; it returns the exit code.
func playRole(role string) int {
	err := fmt.Errorf("no such role: %q", role)
	switch role {
	case "memfd_noexec":
		err = roleMemfdNoExec()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func roleContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 50*time.Second)
}
