package mount

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
)

// IDMapping is a range of ids, as CRI's IDMapping: Length ids from ContainerID on are HostID and following on the host.
type IDMapping struct {
	ContainerID, HostID, Length uint32
}

// UserNS is a user namespace that no process lives in; it carries a mapping for idmapped mounts.
type UserNS struct {
	file       *os.File
	uids, gids []IDMapping
	key        string
	owner      *userNamespaces
	refs       int // guarded by owner.mu
}

// File is the namespace's fd. It stays the UserNS's own.
func (u *UserNS) File() *os.File { return u.file }

// HostUID gives the host's uid of a container's, HostGID the gid; false where it isn't mapped.
func (u *UserNS) HostUID(id uint32) (uint32, bool) { return hostID(u.uids, id) }

// HostGID: see HostUID.
func (u *UserNS) HostGID(id uint32) (uint32, bool) { return hostID(u.gids, id) }

func hostID(maps []IDMapping, id uint32) (uint32, bool) {
	for _, m := range maps {
		if id >= m.ContainerID && id-m.ContainerID < m.Length {
			return m.HostID + (id - m.ContainerID), true
		}
	}
	return 0, false
}

// root gives the host ids of the container's root.
func (u *UserNS) root() (uid, gid int, err error) {
	hostUID, ok := u.HostUID(0)
	hostGID, ok2 := u.HostGID(0)
	if !ok || !ok2 {
		return 0, 0, errors.New("the user namespace maps no root: uid 0 and gid 0 need a host id")
	}
	return int(hostUID), int(hostGID), nil
}

// Close drops one use of the namespace; the last one closes its fd. Mounts that use it keep it.
func (u *UserNS) Close() error {
	u.owner.mu.Lock()
	defer u.owner.mu.Unlock()
	if u.refs <= 0 {
		// One Close too many must not end the namespace of the next pod with this mapping.
		return os.ErrClosed
	}
	u.refs--
	if u.refs > 0 {
		return nil
	}
	delete(u.owner.mu.byKey, u.key)
	return u.file.Close()
}

// userNamespaces shares one namespace among equal mappings.
type userNamespaces struct {
	mu struct {
		sync.Mutex
		byKey map[string]*UserNS
	}
}

// UserNS gives a user namespace with these mappings, for idmapped mounts; equal mappings share one. Each call is ended by
// one Close of the result. At most 340 ranges each (user_namespaces(7)); ranges mustn't overlap.
func (m *Mounter) UserNS(uids, gids []IDMapping) (*UserNS, error) {
	if err := checkMappings("uid", uids); err != nil {
		return nil, err
	}
	if err := checkMappings("gid", gids); err != nil {
		return nil, err
	}
	key := mapText(uids) + "/" + mapText(gids)
	c := &m.userns
	c.mu.Lock()
	defer c.mu.Unlock()
	if u, ok := c.mu.byKey[key]; ok {
		u.refs++
		return u, nil
	}
	// Made under the lock: a second pod with the same mapping waits half a millisecond instead of making a second one.
	f, err := newUserNS(mapText(uids), mapText(gids))
	if err != nil {
		return nil, err
	}
	u := &UserNS{file: f, uids: append([]IDMapping(nil), uids...), gids: append([]IDMapping(nil), gids...), key: key, owner: c, refs: 1}
	if c.mu.byKey == nil {
		c.mu.byKey = make(map[string]*UserNS)
	}
	c.mu.byKey[key] = u
	return u, nil
}

func checkMappings(kind string, maps []IDMapping) error {
	if len(maps) == 0 || len(maps) > 340 {
		return fmt.Errorf("%s mappings: %d ranges given, the kernel takes 1 to 340", kind, len(maps))
	}
	for i, m := range maps {
		if m.Length == 0 {
			return fmt.Errorf("%s mapping %d: length 0", kind, i)
		}
		// 4294967295 is (uid_t)-1, no id.
		if uint64(m.ContainerID)+uint64(m.Length) > 1<<32-1 || uint64(m.HostID)+uint64(m.Length) > 1<<32-1 {
			return fmt.Errorf("%s mapping %d: container %d, host %d, length %d goes beyond the last id 4294967294", kind, i, m.ContainerID, m.HostID, m.Length)
		}
		for _, o := range maps[:i] {
			if overlap(m.ContainerID, o.ContainerID, m.Length, o.Length) || overlap(m.HostID, o.HostID, m.Length, o.Length) {
				return fmt.Errorf("%s mapping %d overlaps an earlier one: container %d, host %d, length %d", kind, i, m.ContainerID, m.HostID, m.Length)
			}
		}
	}
	return nil
}

func overlap(a, b, lenA, lenB uint32) bool {
	return uint64(a) < uint64(b)+uint64(lenB) && uint64(b) < uint64(a)+uint64(lenA)
}

// mapText is the form of /proc/PID/uid_map.
func mapText(maps []IDMapping) string {
	var b strings.Builder
	for _, m := range maps {
		fmt.Fprintf(&b, "%d %d %d\n", m.ContainerID, m.HostID, m.Length)
	}
	return b.String()
}
