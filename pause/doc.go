// Package pause is podlet's side of the small C process beside it: the embedded binary, the nursery that starts every
// pod's pause, and the client of the protocol that both speak (src/proto.h).
//
//	podlet --- Nursery (a child of podlet, a socketpair) ---> clones each pod's pause
//	podlet --- Conn    (Dial, one a pod, found again after a restart) ---> that pod's pause
//
// The package moves tapes, files and exit records and decides nothing: what a tape does is its caller's business, and a
// failed step comes back as number and errno (FailedError) for the tape's maker to put into words. It keeps no list of
// processes: pause's own, asked for with Conn.List, is the only one.
//
// Invariants:
//   - A process that was started stays known to its pause until Conn.Ack; no exit is lost while podlet is away.
//   - A connection that ends leaves every process alone, but for the nursery, which ends with its connection; a pause lives on.
//   - Files given to a call stay the caller's. Files returned are the caller's to close. All are close-on-exec.
//   - Every goroutine belongs to a Conn, and Close waits for its end.
//
// Versions: a pause older than podlet is spoken to, since a node's pods outlive an update of podlet; a newer one is
// refused with VersionError.
//
// Lock order: Conn.sending (a packet sequence on the wire), then Conn.mu. Conn.mu is never held while anything may block.
package pause
