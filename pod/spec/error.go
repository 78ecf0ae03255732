package spec

import "errors"

// ErrInvalid is wrapped by every error about a request that no machine could carry out.
var ErrInvalid = errors.New("invalid")
