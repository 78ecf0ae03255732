package network

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Counters are what went through a link since it was made, in bytes and in packets that were dropped for an error.
type Counters struct {
	Name              string
	RxBytes, RxErrors uint64
	TxBytes, TxErrors uint64
}

// Meter reads the counters of one namespace's links, again and again, through one open file. The namespace lives as long as the Meter is open:
// whoever wants it to end closes that first. It is safe for concurrent use, but for Close.
//
// The file is /proc/net/dev as a thread in the namespace sees it. Unlike rtnetlink it takes no lock that making and removing links hold for
// milliseconds, and it is one call.
type Meter struct {
	dev *os.File
}

// maxCounters bounds what is read in bytes, some 500 links: a container may be allowed to make as many as it likes.
const maxCounters = 64 << 10

// counterPages hold what most namespaces' files have.
var counterPages = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// OpenMeter opens a Meter of the namespace netns, which stays the caller's.
func OpenMeter(netns *os.File) (*Meter, error) {
	m := &Meter{}
	err := Inside(netns, func() (err error) {
		m.dev, err = os.OpenFile("/proc/thread-self/net/dev", os.O_RDONLY, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the counters of the links of %s: %w", netns.Name(), err)
	}
	return m, nil
}

// Close closes the file.
func (m *Meter) Close() error { return m.dev.Close() }

// Read gives the counters of all links but lo, in the kernel's order.
func (m *Meter) Read() ([]Counters, error) {
	page := counterPages.Get().(*[4 << 10]byte)
	defer counterPages.Put(page)
	text, err := m.text(page[:0])
	if err != nil {
		return nil, fmt.Errorf("read the counters of a namespace's links: %w", err)
	}
	list, err := readCounters(text)
	if err != nil {
		return nil, fmt.Errorf("read the counters of a namespace's links: %w", err)
	}
	return list, nil
}

// text reads the file to its end, a page at a time as the kernel gives it.
func (m *Meter) text(into []byte) ([]byte, error) {
	raw, err := m.dev.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for len(into) < maxCounters {
			if cap(into)-len(into) < 1<<10 {
				into = append(make([]byte, 0, 2*cap(into)), into...)
			}
			n, err := unix.Pread(int(fd), into[len(into):cap(into)], int64(len(into)))
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || n == 0 {
				failed = err
				return
			}
			into = into[:len(into)+n]
		}
	})
	return into, errors.Join(err, failed)
}

// readCounters reads lines such as "  eth0: 1 2 3 …" after two of headings: 8 numbers of what was received, of which the first are bytes, packets and
// errors, and 8 of what was sent. A last line without an end was cut off.
func readCounters(text []byte) ([]Counters, error) {
	var list []Counters
	for number := 0; ; number++ {
		line, rest, whole := bytes.Cut(text, []byte{'\n'})
		if !whole {
			return list, nil
		}
		text = rest
		if number < 2 {
			continue
		}
		c, err := readLine(line)
		if err != nil {
			return nil, fmt.Errorf("%w: %.200q", err, line)
		}
		if c.Name != "lo" {
			list = append(list, c)
		}
	}
}

func readLine(line []byte) (Counters, error) {
	name, numbers, found := bytes.Cut(bytes.TrimLeft(line, " "), []byte{':'})
	if !found {
		return Counters{}, errors.New("a line without a link's name")
	}
	c := Counters{Name: string(name)}
	for _, to := range []*uint64{&c.RxBytes, nil, &c.RxErrors, nil, nil, nil, nil, nil, &c.TxBytes, nil, &c.TxErrors} {
		var field []byte
		field, numbers, _ = bytes.Cut(bytes.TrimLeft(numbers, " "), []byte{' '})
		if to == nil {
			continue
		}
		n, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return Counters{}, err
		}
		*to = n
	}
	return c, nil
}
