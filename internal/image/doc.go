// Package image keeps the node's container images: it imports them, unpacks their layers into directories that overlayfs takes as they are, and
// answers what an image says about the process to start.
//
// The store is a directory of files; there is no database:
//
//	lock                   flock(2) of the one process that has the store open
//	layers/HEX/            one directory a layer, named for its diffID (the digest of its uncompressed tar)
//	    diff/              the unpacked tree, a lower layer of overlayfs
//	    headers            all of the tar but the contents of its files, compressed: the tar can be made again, and the tree be checked
//	    record             what is known of it (checksummed)
//	    durable            there once a syncfs(2) after the layer's appearance returned
//	images/HEX/            one directory an image, named for its id (the digest of its config)
//	    record             names and layers (checksummed, replaced atomically)
//	    config.json        the config's own bytes; they hash to the image's id
//	    passwd, group      the image's own /etc/passwd and /etc/group, as they were in the merged tree
//	imported               what came from the import directory (checksummed)
//	tmp/                   whatever isn't complete, and whatever is on its way out
//	quarantine/            records that could not be read
//
// Invariants:
//   - A layer's or an image's directory appears complete, by rename(2), and only after every digest was verified. What a crash leaves lies in
//     tmp, which Open empties.
//   - Layers appear before the image that lists them, and an image disappears before its layers. A layer that no image lists and no import needs is garbage.
//   - A layer that was not seen durable before the machine went down is thrown away by Open, and so is each image that lists it: after a power
//     cut its files may be empty though their names are there.
//   - One sick record never stops Open: it is set aside with a logged reason.
//   - Nothing an image says becomes a path, a key or an instruction of podlet's own. Digests and numbers are parsed into types that can't hold a
//     wrong value, texts have bounds, and names in a layer are resolved by the kernel below the layer's directory (openat2(2)).
//   - Removing writes nothing: it works on a full disk.
//
// Not done here: speaking to registries. [Store.Pull] takes its bytes from a Remote, and [Store.EnsureLayer] takes a layer's bytes from any reader, so that a pull can stream into it.
//
// Lock order: Store.commit, then Store.mu. commit makes changes of the records one after the other and is held while small files are
// written (and while a new layer's directories are settled); mu guards the maps only and is never held across a system call, so that List and Get answer whatever the disk does.
package image
