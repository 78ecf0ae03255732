package record

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// quarantineKeeps is how many unusable files are kept; the oldest go first.
const quarantineKeeps = 64

type quarantine struct {
	dir *os.File
	mu  struct {
		sync.Mutex
		// next numbers the files; 0: not yet known. At each multiple of quarantineKeeps the directory is pruned.
		next int
	}
}

// Quarantined is a record that could not be used.
type Quarantined struct {
	// PodID and Name are the object's; PodID is "" for a file at a place where no record belongs, Name is "" for a whole pod directory.
	PodID, Name string
	// File is where it is now, below the state directory.
	File string
	// Reason is for the log and for people.
	Reason string
}

// Quarantine moves a record away whose payload is of no use to the caller. The reason is logged.
func (s *Store) Quarantine(podID, name, reason string) (Quarantined, error) {
	if err := checkNames(podID, name); err != nil {
		return Quarantined{}, err
	}
	return s.toQuarantine(podID, name, reason), nil
}

// toQuarantine moves pods/podID/name, or pods/podID if name is "". It never fails: what can't be moved stays, said in the log.
func (s *Store) toQuarantine(podID, name, reason string) Quarantined {
	from := podID
	if name != "" {
		from += "/" + name
	}
	q := Quarantined{Name: name, File: "pods/" + from, Reason: reason}
	if ValidID(podID) {
		q.PodID = podID
	}
	to, err := s.quarantine.move(s.pods, from)
	if err != nil {
		s.logger.Error("unusable record; it can't be moved to quarantine", "file", s.path+"/"+q.File, "reason", reason, "error", err)
		return q
	}
	q.File = "quarantine/" + to
	s.logger.Error("unusable record moved to quarantine", "file", s.path+"/"+q.File, "pod", podID, "record", name, "reason", reason)
	return q
}

func (q *quarantine) move(pods *os.File, from string) (string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.next%quarantineKeeps == 0 {
		numbers, err := q.prune()
		if err != nil {
			return "", err
		}
		q.mu.next = max(q.mu.next, 1)
		if len(numbers) > 0 {
			q.mu.next = max(q.mu.next, numbers[len(numbers)-1]+1)
		}
	}
	for {
		to := fmt.Sprintf("%d-%s", q.mu.next, harmless(from))
		err := unix.Renameat2(int(pods.Fd()), from, int(q.dir.Fd()), to, unix.RENAME_NOREPLACE)
		q.mu.next++
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		return to, err
	}
}

// prune removes the oldest and gives the numbers of the others, in order. Files without a number are a person's: they stay. So does what can't be removed.
func (q *quarantine) prune() ([]int, error) {
	if _, err := q.dir.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := q.dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	byNumber := map[int]string{}
	var numbers []int
	for _, name := range names {
		digits, _, _ := strings.Cut(name, "-")
		if n, err := strconv.Atoi(digits); err == nil && n > 0 {
			byNumber[n] = name
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for len(numbers) > quarantineKeeps {
		removeTree(q.dir, byNumber[numbers[0]])
		numbers = numbers[1:]
	}
	return numbers, nil
}

// harmless makes one file name of a path that anybody may have named.
func harmless(path string) string {
	name := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' {
			return r
		}
		return '_'
	}, path)
	return name[:min(len(name), 180)]
}
