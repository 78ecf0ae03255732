package cri

import "strings"

// prefixed says whether a filter's id, whole or its beginning as crictl's users type it, means this id.
func prefixed(id, filter string) bool { return strings.HasPrefix(id, filter) }

// selects says whether labels have all that the selector wants (api.proto: requirements are ANDed, of matchLabels only).
func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if has, ok := labels[k]; !ok || has != v {
			return false
		}
	}
	return true
}
