package pause

import _ "embed"

// This file's name is the remedy in the error of a build without the file below: the go command shows it, and nothing else of ours.

//go:embed made-by-make/pause-arm64
var pauseBinary string
