package streaming

import (
	"encoding/json"
	"io"

	"golang.org/x/sys/unix"
)

// sizes has the latest two sizes that nobody has taken yet: a client may send thousands to a process that never started (CVE-2022-23471). Two, as kubectl
// attach sends one that is off by one and then the right one: the terminal may have the right one already, and what runs on it is to draw anew.
type sizes chan unix.Winsize

func newSizes() sizes { return make(sizes, 2) }

// resizeMost bounds what one size may have in bytes of JSON.
const resizeMost = 4096

// read takes sizes from a client until its stream ends or makes no sense. Only one may read for a channel.
func (c sizes) read(r io.Reader) {
	limited := &io.LimitedReader{R: r, N: resizeMost}
	decoder := json.NewDecoder(limited)
	for {
		var size struct{ Width, Height uint16 }
		if err := decoder.Decode(&size); err != nil {
			// The stream goes on being read, or it would stop those behind it.
			io.Copy(io.Discard, r)
			return
		}
		limited.N = resizeMost
		if size.Width == 0 || size.Height == 0 {
			continue // a client whose terminal tells none
		}
		c.put(unix.Winsize{Row: size.Height, Col: size.Width})
	}
}

func (c sizes) put(size unix.Winsize) {
	for {
		select {
		case c <- size:
			return
		default:
		}
		select {
		case <-c:
		default:
		}
	}
}
