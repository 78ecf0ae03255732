package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What pools remember of addresses that nobody has stands in files beside the leases, so that the next podlet doesn't begin at the address that went last.
// All of it is a hint, written without a sync and by one system call: what is lost, torn or of another subnet does no harm, as a lease counts more.
//
//	last       the addresses given out last, in two lines
//	returned4  a ring of mostReturned numbers: of the giving back, from 1, and below offsetBits the address's offset in its subnet
//	returned6
const cursorFile = "last"

func (p *pool) returnedFile() string {
	if p.subnet.Addr().Is4() {
		return "returned4"
	}
	return "returned6"
}

// offsetBits is how many bits of a record are the address's.
const offsetBits = 24

const recordSize = 8

// openPools opens the files and reads them. It comes after the leases.
func (n *Network) openPools() (err error) {
	n.cursor, err = os.OpenFile(filepath.Join(n.cfg.Dir, cursorFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the file of the addresses given out last: %w", err)
	}
	n.readCursor()
	for _, p := range n.pools() {
		if !p.remembers() {
			continue
		}
		p.file, err = os.OpenFile(filepath.Join(n.cfg.Dir, p.returnedFile()), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return fmt.Errorf("open the file of the addresses given back: %w", err)
		}
		if err := p.readReturned(); err != nil {
			return fmt.Errorf("read the file of the addresses given back: %w", err)
		}
	}
	return nil
}

func (n *Network) closePools() error {
	var errs []error
	for _, p := range n.pools() {
		if p.file != nil {
			errs = append(errs, p.file.Close())
		}
	}
	if n.cursor != nil {
		errs = append(errs, n.cursor.Close())
	}
	return errors.Join(errs...)
}

// cursorSize is the fixed length in bytes of the cursor's content: two addresses, each padded to a line of 48.
const cursorSize = 96

// writeCursor notes which addresses were given out last.
func (n *Network) writeCursor() {
	var text []byte
	n.mu.Lock()
	for _, p := range n.pools() {
		text = fmt.Appendf(text, "%-47s\n", p.last)
	}
	n.mu.Unlock()
	n.cursor.WriteAt(text, 0)
}

func (n *Network) readCursor() {
	b := make([]byte, cursorSize)
	got, _ := n.cursor.ReadAt(b, 0)
	for _, field := range strings.Fields(string(b[:got])) {
		a, err := netip.ParseAddr(field)
		for _, p := range n.pools() {
			if err == nil && p.subnet.Contains(a) {
				p.last = a
			}
		}
	}
}

// noteReturned notes that the lease's addresses are given back next.
func (n *Network) noteReturned(l *lease) {
	for _, a := range l.addresses() {
		p := n.poolOf(a)
		if p == nil || p.file == nil {
			continue
		}
		n.mu.Lock()
		p.number++
		number := p.number
		n.mu.Unlock()
		record := binary.LittleEndian.AppendUint64(nil, number<<offsetBits|p.offset(a))
		p.file.WriteAt(record, int64(number%mostReturned)*recordSize)
	}
}

// readReturned fills the pool's queue. An address that has a lease is not in it, one that was given back twice counts from the second time.
func (p *pool) readReturned() error {
	b, err := io.ReadAll(io.LimitReader(p.file, mostReturned*recordSize))
	if err != nil {
		return err
	}
	var records []uint64
	for ; len(b) >= recordSize; b = b[recordSize:] {
		if r := binary.LittleEndian.Uint64(b); r != 0 {
			records = append(records, r)
		}
	}
	slices.Sort(records)
	seen := map[netip.Addr]bool{}
	var latest []netip.Addr
	for _, r := range slices.Backward(records) {
		a := p.at(r & (1<<offsetBits - 1))
		if _, taken := p.taken[a]; taken || !p.usable(a) || seen[a] {
			continue
		}
		seen[a] = true
		latest = append(latest, a)
	}
	for _, a := range slices.Backward(latest) {
		p.returned.push(a)
	}
	if len(records) > 0 {
		p.number = records[len(records)-1] >> offsetBits
	}
	return nil
}

// offset is the address's place in its subnet, of offsetBits bits at most; at is its inverse.
func (p *pool) offset(a netip.Addr) uint64 {
	raw := a.As16()
	return uint64(binary.BigEndian.Uint32(raw[12:])) & (1<<p.hostBits() - 1)
}

func (p *pool) at(offset uint64) netip.Addr {
	raw := p.subnet.Addr().As16()
	low := binary.BigEndian.Uint32(raw[12:]) | uint32(offset&(1<<p.hostBits()-1))
	binary.BigEndian.PutUint32(raw[12:], low)
	a := netip.AddrFrom16(raw)
	if p.subnet.Addr().Is4() {
		return a.Unmap()
	}
	return a
}
