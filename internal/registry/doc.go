// Package registry pulls images from registries (OCI distribution specification; Docker's registry API v2) into an [image.Store].
//
// It owns what is between a name and bytes: which hosts to ask and how (certs.d/<host>/hosts.toml), proxies, credentials, redirects, repeats, whether the node's
// verifiers accept the image, and when a pull has to be given up. A pull carries out a plan, which [Puller.Explain] shows instead. What the bytes mean, and
// whether they are the right ones, package image decides. Authentication (challenges, tokens) is done by oras.land/oras-go/v2's registry/remote/auth; all its
// traffic passes the gate below.
//
// Invariants, each of which the tests attack:
//   - Credentials go to a host of the pull, and to the token server (realm) it names, nowhere else: never to where a redirect leads, never to what a descriptor's
//     urls say, which is never fetched. (CVE-2026-48978, CVE-2026-49349)
//   - A realm is https unless the registry is configured http. It is at a public address, or at an address of the registry's own kind; a redirect leads to no
//     loopback or link-local address unless the registry has one. Checked on the address that is connected to, so that DNS can't lie.
//   - An error's text holds no credential, token or query of a URL; what a server says in it is cut and cleaned of them (containerd#5453).
//   - What the verifiers don't accept is not fetched; a mistake of podlet's own is the end of one pull (CVE-2026-95839).
//   - Everything a server sends has a bound, and a pull without progress ends.
//   - A host whose bytes of a blob are malformed or have another digest is not asked for that blob again; the next host is, as for every other failure.
//   - A sick hosts.toml fails pulls of its host alone.
//
// Lock order: Puller.mu is held over no call out of the package.
package registry
