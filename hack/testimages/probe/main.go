//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command probe is what test images run: it tells what it finds itself to be, and misbehaves on request.
//
//	show              identity, capabilities, limits, namespaces, signal state and open files as one line of JSON
//	listen ADDR       serve HTTP at ADDR ("127.0.0.1:80"; "unix:/path" for a socket): / answers "ok", /show what show prints, /reset resets
//	get ADDR          connect to what listen serves and print its answer
//	sleep [SECONDS]   wait, for ever without SECONDS; ends with 0 on SIGTERM
//	exit N            end with status N
//	kill N            end by signal N, which it sends to itself
//	spin              burn one CPU for ever
//	alloc MIB         take and touch so many MiB, then say so and wait
//	flood [BYTES]     write lines to stdout as fast as they are taken; without BYTES for ever
//	trap SIGNAL       say "ready", count signals of this name ("TERM"), print each; never end by it
//	fork N            start N children that sleep, print their pids, wait
//	orphan            leave a sleeping grandchild behind and end
//	cat [FILE...]     copy files, or stdin, to stdout
//
// Package os would open an epoll instance for the files it reads, so show uses system calls: what it lists was open before it. The Go runtime
// would keep files of its cgroup open to follow the CPU limit, so it is told not to.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	verbs := map[string]func(args []string) error{
		"show": show, "listen": listen, "get": get, "sleep": sleep, "exit": exit, "kill": killSelf, "spin": spin,
		"alloc": alloc, "flood": flood, "trap": trap, "fork": fork, "orphan": orphan, "cat": cat,
	}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "probe: want one of show, listen, get, sleep, exit, kill, spin, alloc, flood, trap, fork, orphan, cat")
		os.Exit(2)
	}
	if err := verbs[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "probe: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func number(args []string, otherwise int64) (int64, error) {
	if len(args) == 0 {
		return otherwise, nil
	}
	return strconv.ParseInt(args[0], 10, 64)
}
