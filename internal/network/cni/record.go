package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/utils"

	"podlet/internal/network"
)

// attachment is the record of one pod's place in a network: all that a DEL takes. It is one file named for the pod, replaced by rename and not
// synced: podlet's death loses nothing, and what a power cut tears is not JSON any more. ADD's result alone may follow in the same file.
type attachment struct {
	Pod string `json:"pod"`
	// NetNS is where the pod's namespace is pinned once there is one, which is before the first plugin runs.
	NetNS string `json:"netns"`
	// File is the name of the configuration's file, Conf what was in it.
	File string          `json:"file"`
	Conf json.RawMessage `json:"conf"`
	// Args is CNI_ARGS, Capabilities what the pod asked for.
	Args         string                     `json:"args"`
	Capabilities map[string]json.RawMessage `json:"capabilities,omitempty"`
	added
	Began time.Time `json:"began"`
	// Deleted are the plugins, by their place in Conf, whose DEL has succeeded: it is not repeated, as what they gave may be another pod's by now. It is
	// saved when the DEL of all has failed: of a podlet that is killed before that, the next one repeats them once.
	Deleted []int `json:"deleted,omitempty"`
	// Owed says that the pod is gone, and that its DEL is the queue's. Failures counts DELs that failed, Why is the last one's error.
	Owed     bool   `json:"owed,omitempty"`
	Failures int    `json:"failures,omitempty"`
	Why      string `json:"why,omitempty"`

	// damaged says that the file could not be read: only the pod is known.
	damaged bool
}

// added is what ADD gave.
type added struct {
	// Result is ADD's, nil as long as that hasn't ended.
	Result json.RawMessage `json:"result,omitempty"`
}

// records is the directory of attachments. A file that is being written is told by network.AsideSuffix, which no pod's id has.
type records string

// maxRecord bounds a record in bytes.
const maxRecord = 2*maxConf + maxOutput + 1<<20

func (d records) path(pod string) string { return filepath.Join(string(d), pod) }

func (d records) save(a *attachment) error {
	text, err := json.Marshal(a)
	if err == nil {
		err = network.Replace(d.path(a.Pod), text)
	}
	if err != nil {
		return fmt.Errorf("record the CNI attachment of pod %s: %w", a.Pod, err)
	}
	return nil
}

// saveResult writes ADD's result behind what was saved before: a file that takes another's place is written to the disk at once by ext4
// (auto_da_alloc, ext4(5)), for which a new pod would wait.
func (d records) saveResult(a *attachment) error {
	text, err := json.Marshal(a.added)
	if err == nil {
		err = appendTo(d.path(a.Pod), text)
	}
	if err != nil {
		return fmt.Errorf("record the result of pod %s's CNI attachment: %w", a.Pod, err)
	}
	return nil
}

func appendTo(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// drop removes a record; one that is gone is success.
func (d records) drop(pod string) error {
	if err := os.Remove(d.path(pod)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("drop the record of the CNI attachment of pod %s: %w", pod, err)
	}
	return nil
}

// load reads all records. Of a damaged one it gives the pod alone, and its reason among the damaged.
func (d records) load() (list []*attachment, damaged []error, err error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, nil, fmt.Errorf("read the records of CNI attachments: %w", err)
	}
	for _, e := range entries {
		path := d.path(e.Name())
		if strings.HasSuffix(e.Name(), network.AsideSuffix) {
			// Nothing was done yet of what it was to say.
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, nil, fmt.Errorf("sweep an unfinished record: %w", err)
			}
			continue
		}
		if utils.ValidateContainerID(e.Name()) != nil {
			damaged = append(damaged, fmt.Errorf("%s: the name is none of a pod", path))
			continue
		}
		a, err := readRecord(path)
		if err == nil && a.Pod != e.Name() {
			err = fmt.Errorf("it is of pod %.100q", a.Pod)
		}
		if err != nil {
			damaged = append(damaged, fmt.Errorf("%s: %w", path, err))
			a = &attachment{Pod: e.Name(), damaged: true}
		}
		list = append(list, a)
	}
	return list, damaged, nil
}

func readRecord(path string) (*attachment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return nil, err
	}
	var a attachment
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&a); err != nil {
		return nil, err
	}
	// A result that isn't whole is that of an ADD which hasn't ended: nobody was told of it.
	var later added
	if decoder.Decode(&later) == nil {
		a.added = later
	}
	_, err = parseRecorded(a.File, a.Conf)
	return &a, err
}
