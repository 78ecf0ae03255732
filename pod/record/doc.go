// Package record keeps podlet's state on disk: one directory a pod, one file an
// object, no database.
//
//	DIR/                      0700, ours
//	  pods/<pod id>/pod                       the sandbox
//	  pods/<pod id>/container-<container id>  one of its containers
//	  quarantine/<number>-…                   what could not be read, for a person to look at
//	  reserve/<number>                        space and inodes for the day the disk is full
//
// A file is a header line (see format.go) and a JSON text of the caller's.
//
// # Invariants
//
//   - A record is replaced in one step, by rename: whenever podlet dies, the old or
//     the new one is there, whole. There is no fsync: podlet's death loses nothing;
//     a power cut may tear what was written in the seconds before it, the checksum
//     tells, and the version before it is there beside it (spare.go).
//   - A record that can't be used is no error of [Store.Load]: it is moved to
//     quarantine with its reason logged, and named, so that the caller sweeps
//     what the object left behind by its id.
//   - Deleting writes nothing: it works on a full disk.
//   - Every directory is opened by fd, never through a link, and belongs to
//     podlet's user alone (CVE-2024-25621). Ids and names are matched against a
//     pattern before they become a path.
//   - There is no lock file. A thread of a killed podlet that hangs on a dead
//     disk would hold it, and the next podlet could not start.
//
// # Who may call what when
//
// Load is for the start, before other calls: a Put beside it may write over a
// file that Load is reading. After it, calls for different objects may run at
// once. Two Puts of one object at once leave one of the two,
// whole; a Put beside a DeletePod of the same pod may fail or survive it: the
// caller's lock of the pod says which it wants. One rule helps there: only the
// record [Pod] makes a pod's directory, so a container's late record never
// brings a deleted pod back.
//
// # Locks
//
// Store.reserve.mu, held over unlink(2) and fallocate(2) of the reserve only;
// Store.quarantine.mu, held over the moves into quarantine; Store.spares.mu, held
// over no call. Never two of them.
package record
