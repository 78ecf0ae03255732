package seccomp

import (
	"os"
	"testing"
)

// roleEnv makes the test binary play a process that puts a filter in force and tells what calls answer.
const roleEnv = "PODLET_SECCOMP_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(playRole(role))
	}
	os.Exit(m.Run())
}
