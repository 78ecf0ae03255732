package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"podlet/internal/network"
)

// What a network's directory holds, besides the files of pools and of switches:
const (
	leasesDir = "leases"
	// lockFile is locked by the one podlet that serves with the directory.
	lockFile = "lock"
	// bootFile says of which boot the leases are.
	bootFile = "boot"
	// bridgeFile has the bridge's name, by which its rules are found when it is gone.
	bridgeFile = "bridge"
)

// openDir makes and locks the directory, and empties it if it is of an earlier boot.
func (n *Network) openDir() error {
	if err := os.MkdirAll(string(n.leases), 0o700); err != nil {
		return fmt.Errorf("make the pod network's directory: %w", err)
	}
	lock, err := lockDir(n.cfg.Dir)
	n.lock = lock
	if err != nil {
		return err
	}
	return n.forgetOtherBoots()
}

// lockDir locks the network's directory, which is there, against other podlets, for as long as the file is open. The caller closes the file, also after an
// error that comes with one.
func lockDir(dir string) (*os.File, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("look for the pod network's directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the pod network's lock: %w", err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return lock, fmt.Errorf("the pod network's directory %s: %w", dir, ErrInUse)
	}
	if err != nil {
		return lock, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return lock, nil
}

// ofOtherBoot says whether the leases in the directory are void: no pod lives through a boot.
func ofOtherBoot(dir string) (bool, error) {
	boot, err := read(bootID)
	if err != nil {
		return false, fmt.Errorf("read the boot id: %w", err)
	}
	was, err := read(filepath.Join(dir, bootFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read the boot of the leases: %w", err)
	}
	return was != boot, nil
}

const bootID = "/proc/sys/kernel/random/boot_id"

func (n *Network) forgetOtherBoots() error {
	old, err := ofOtherBoot(n.cfg.Dir)
	if err != nil || !old {
		return err
	}
	// Nor does a switch of the kernel's keep its value.
	for _, dir := range []string{string(n.leases), filepath.Join(n.cfg.Dir, switchFile)} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("sweep what is of an earlier boot: %w", err)
		}
	}
	if err := os.Mkdir(string(n.leases), 0o700); err != nil {
		return fmt.Errorf("make the directory of leases: %w", err)
	}
	boot, err := read(bootID)
	if err != nil {
		return fmt.Errorf("read the boot id: %w", err)
	}
	if err := os.WriteFile(filepath.Join(n.cfg.Dir, bootFile), []byte(boot+"\n"), 0o600); err != nil {
		return fmt.Errorf("note the boot of the leases: %w", err)
	}
	return nil
}

// noteBridge notes the bridge's name.
func (n *Network) noteBridge() error {
	if notedBridge(n.cfg.Dir) == n.cfg.Bridge {
		return nil
	}
	if err := network.Replace(filepath.Join(n.cfg.Dir, bridgeFile), []byte(n.cfg.Bridge+"\n")); err != nil {
		return fmt.Errorf("note the bridge's name: %w", err)
	}
	return nil
}

// notedBridge gives the name that was noted last; "" if none was.
func notedBridge(dir string) string {
	name, err := read(filepath.Join(dir, bridgeFile))
	if err != nil || !bridgeName.MatchString(name) {
		return ""
	}
	return name
}

// lostBridge gives the name that was noted, if no bridge has it any more: others deleted it, and its rules are left. It is "" where another podlet has
// taken the name meanwhile, whose rules they are then.
func lostBridge(dir string) (string, error) {
	name := notedBridge(dir)
	if name == "" {
		return "", nil
	}
	_, err := netlink.LinkByName(name)
	if err == nil {
		return "", nil
	}
	if _, absent := errors.AsType[netlink.LinkNotFoundError](err); !absent {
		return "", fmt.Errorf("look for the bridge %s: %w", name, err)
	}
	return name, nil
}
