// Package tape is the assembler for tapes: flat lists of system calls that Go writes and pause plays inside the namespaces of a pod
// or a container. It owns Go's side of the wire form; pause/src/tape.h owns the numbers, and a test compares the two.
//
// A [Builder] has one constructor a system call. Its doc comment is the line that strace, and [Tape.Explain], would show. The last
// parameter of a constructor says why the step is there: a few words that stand behind the call in an explanation and in front of the
// errno in an error ("mount proc on /proc: EPERM").
//
//	b := tape.New("container web/nginx")
//	rootfs := b.FD("rootfs")
//	b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "nobody looks inside before the execve")
//	target := b.OpenAt2(tape.Cwd, "/container", tape.How{Flags: unix.O_PATH}, "the mount point of the root")
//	b.Attach(rootfs, target, "mount the root")
//	b.Close(target, "")
//	b.Close(rootfs, "")
//	t, err := b.Finish()
//
// Invariants:
//
//   - A tape is immutable once finished, a pure function of the calls that made it: the same calls give the same bytes.
//   - Every fd that a step opens is close-on-exec; the constructors see to it.
//   - A constructor doesn't fail: the first mistake is kept and returned by [Builder.Finish].
//   - A register reads as the fd that its step opened, or as -1 where that step's failure was ignored; never as an fd long closed.
//     The player holds up one half (a failed step clears its register), Finish the other (what is filled inside an Unless alone
//     isn't used outside).
//   - [Decode] takes exactly what [Tape.Encode] writes: what it accepts encodes to the same bytes again.
//
// The package makes no system call and has no locks; a Builder belongs to one goroutine, a Tape to any number. It doesn't know which
// steps make a container (pod/launch does), and it doesn't play.
package tape
