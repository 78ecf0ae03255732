package image

// Bounds on what an image may ask of podlet. Each is far above what images of today use, and each stops a small input from becoming a large cost.
const (
	maxManifestBytes = 4 << 20 // one index, manifest, index.json or manifest.json
	maxConfigBytes   = 8 << 20
	maxDocumentBytes = 8 << 20 // all indexes and manifests of one import together
	maxIndexDepth    = 3       // index.json is the first level
	maxDescriptors   = 1024    // descriptors of manifests seen in one import
	maxLayers        = 500     // the kernel's limit of lower layers of one overlay
	maxJSONDepth     = 64
	maxJSONMembers   = 1 << 14 // of one list or object: far above every list of ours, which are counted only once they are decoded

	maxArchiveEntries = 1 << 16 // files in an import archive
	maxHeaderBytes    = 1 << 20 // all headers that belong to one tar entry: extended headers, long names, sparse maps
	maxLayerEntries   = 1 << 22
	maxHeadersFile    = 64 << 20  // what is kept of one layer's headers, compressed
	maxSparseBytes    = 256 << 30 // logical size of all sparse files of one layer
	maxPathBytes      = 4095      // PATH_MAX without its NUL
	maxNameBytes      = 255       // NAME_MAX
	maxImplicitBytes  = 512 << 10 // names of directories of one layer without an entry
	maxZstdWindow     = 128 << 20 // what zstd(1) itself accepts unasked

	maxRecordBytes = 4 << 20
	maxQuarantine  = 16 // directories kept in quarantine

	maxUserFileBytes = 1 << 20  // /etc/passwd, /etc/group
	maxUserFileLine  = 64 << 10 // one line of them
	maxGroups        = 65536    // NGROUPS_MAX
	maxID            = 1<<31 - 1

	maxArgs        = 8192    // Entrypoint and Cmd, each; environment variables
	maxArgBytes    = 2 << 20 // all of one list together
	maxMapEntries  = 8192    // Labels, Volumes, ExposedPorts, each
	maxUserBytes   = 512
	maxSignalBytes = 32
)
