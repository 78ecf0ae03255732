package cni

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hang makes a plugin wait for ever, with a child that does too, and tells their pids.
const hang = `sleep 1000 & echo $! >$dir/pids.new; echo $$ >>$dir/pids.new; mv $dir/pids.new $dir/pids; wait`

// pids are those of a plugin that hangs; nil: not yet.
func (r *rig) pids() []int {
	text, err := os.ReadFile(r.path("work/pids"))
	if err != nil {
		return nil
	}
	var list []int
	for f := range strings.FieldsSeq(string(text)) {
		pid, _ := strconv.Atoi(f)
		list = append(list, pid)
	}
	return list
}

// gone waits until the processes are; one that nobody reaps but a far ancestor is as good as gone.
func (r *rig) gone(pids []int) {
	r.t.Helper()
	for _, pid := range pids {
		r.soon("process "+strconv.Itoa(pid)+" is gone", func() bool {
			stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
			return err != nil || strings.Contains(string(stat), ") Z ")
		})
	}
	r.remove("work/pids")
}

func openForWriting(path string) (*os.File, error) { return os.OpenFile(path, unix.O_WRONLY, 0) }
