package record

import (
	"fmt"
	"os"
	"strings"
)

// BootID names this boot of the machine: a UUID that the kernel makes anew at each start (random(4)).
func BootID() (string, error) {
	const file = "/proc/sys/kernel/random/boot_id"
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if !validBoot(id) {
		return "", fmt.Errorf("read the boot id: %s holds %q, no UUID", file, id)
	}
	return id, nil
}

func validBoot(id string) bool {
	if len(id) != 36 {
		return false
	}
	for _, c := range []byte(id) {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
