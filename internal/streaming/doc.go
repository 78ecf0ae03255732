// Package streaming serves the sessions of exec, attach and port-forward: HTTP that is upgraded to SPDY or to WebSocket, behind URLs that
// the CRI's answers name. It knows nothing of pods: what a session is about are functions of its asker's.
//
//	asker    Server.Command, Server.Forward: a URL with a token, good once and for a minute
//	client   GET or POST of the URL: the token is taken, and only then is anything upgraded
//	session  the client's streams are handed to the asker's function; its result goes to the client as the session's status
//
// # Whose protocol
//
// The transports are spdystream, which k8s.io/streaming sits on, and k8s.io/streaming's WebSockets; the names on the wire are those of
// k8s.io/cri-streaming. The sessions are podlet's own:
// cri-streaming's outlive clients that are killed (50 port-forwards reset in mid-way left 184 goroutines and 8 connections for good), wait
// for streams of clients that are gone, and take what a client sends without a bound.
//
// # What ends a session
//
// Each has a context, whose cause says why: its client hung up, which a watch on the socket sees even while nothing reads from it; nothing
// moved for Limits.Idle; the client broke the protocol or a bound; the server is closed. A client that is still there gets the cause as the
// session's status, for which it has tellTime; then its connection is closed.
//
// # Memory
//
// Transports queue what comes, whatever its size, for as long as nobody takes it. So a meter reads along what each client sends: it refuses frames that no
// Kubernetes client sends, and leaves the rest in the socket once the session has its share of Limits.Backlog (CVE-2026-35469). backlog.mu is taken last;
// only the meters' arithmetic runs under it.
//
// # Goroutines
//
// A session's are its own and the transport's; all end with its connection, which ends when the session does. Server.Close ends all and waits, for stopTime at most.
package streaming
