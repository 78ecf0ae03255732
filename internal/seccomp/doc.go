// Package seccomp compiles seccomp profiles to the classic BPF programs that seccomp(2) takes.
//
// It owns the meaning of a profile: the default one's rules, which come from github.com/moby/profiles/seccomp, and any in the OCI runtime
// spec's form (LinuxSeccomp). Everything is a pure function of its arguments; nothing here installs a filter, reads a file or writes a
// log. A container that is Unconfined has no filter, so there is nothing to ask of this package.
//
// # What a profile means
//
//   - A rule applies where all its conditions on arguments hold, two on the same argument included. (Other runtimes take two on the
//     same argument for alternatives, which makes a rule that allows a range allow everything.)
//   - Arguments are compared as 64-bit numbers on every architecture, unsigned.
//   - Where several rules apply, the most restrictive action wins, in the kernel's own order (seccomp(2), SECCOMP_RET_KILL_PROCESS
//     first). So the order of rules never matters, except that of two errnos the first stands.
//   - Where none applies, the default action is taken. But a system call newer than any that the profile names is answered with ENOSYS if
//     the default action is a refusal: programs fall back to an older call on that errno only.
//   - An architecture that the profile doesn't list is answered with SECCOMP_RET_KILL_PROCESS. The machine's own is always listed.
//
// # The program
//
//	ld arch ─ jeq x86_64 ─ ld nr ─ jge 0x40000000 ─ tree over intervals of numbers ─┬─ ret
//	            │                        └ and ~0x40000000 ─ tree of what x32 has      └─ ld arg, high word ─ tree ─ ld arg, low word ─ tree ─ ret
//	            │                          apart, which ends in x86_64's for the rest
//	            └ jeq i386 ─ ld nr ─ tree …
//	                └ ret kill
//
// Numbers next to each other with the same outcome are one interval, so a call costs about the logarithm of the number of intervals.
// What counts is the program's length, since the kernel converts and translates it at every start of a container: see [assembler.search].
// The way to a call that is always allowed holds no other instruction than those that the kernel evaluates ahead when a filter is put in
// force (Linux 5.11, seccomp_is_const_allow): such a call never runs the program at all. The tests hold the compiler to that.
//
// The tests prove a program by running it in an interpreter against a naive reading of the profile, over the values at which the outcome
// may change.
package seccomp
