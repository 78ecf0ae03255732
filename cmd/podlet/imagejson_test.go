package main

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"testing"

	"podlet/internal/image"
	"podlet/internal/registry"
)

// TestJSONSpelling: what -o json prints has its keys in lower camel case, and [] for a list without anything.
func TestJSONSpelling(t *testing.T) {
	wrong := regexp.MustCompile(`null|"[A-Z]\w*":`)
	for _, v := range []any{
		imagesJSON(nil),
		inspectJSON([]image.Details{{}, {Layers: []image.LayerDetails{{NotExportable: "its headers"}}}}),
		pruneJSON(image.Pruned{}),
		pruneJSON(image.Pruned{Images: make([]image.Image, 1)}),
		checkJSON(&image.CheckReport{}),
		checkJSON(&image.CheckReport{Findings: []image.Finding{{Kept: "in use"}}}),
		exportJSON(exported{}),
		registry.Explanation{Hosts: []registry.ExplainedHost{{}}},
		networkPod{IPs: []netip.Addr{}, HostPorts: []networkPort{{}}},
	} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if bad := wrong.FindAllString(string(text), -1); len(bad) > 0 {
			t.Errorf("%q in %s", bad, text)
		}
	}
}
