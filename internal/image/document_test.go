package image

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

var someDigest = "sha256:" + strings.Repeat("ab", 32)

func descriptorJSON(mediaType string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":3}`, mediaType, someDigest)
}

func manifestJSON() string {
	return fmt.Sprintf(`"config":%s,"layers":[%s]`, descriptorJSON(typeOCIConfig), descriptorJSON("application/vnd.oci.image.layer.v1.tar+gzip"))
}

func indexJSON() string { return fmt.Sprintf(`"manifests":[%s]`, descriptorJSON(typeOCIManifest)) }

// TestDocumentAgreement: what the descriptor, the document and its content say must be one thing (GHSA-5j5w-g665-5m35).
func TestDocumentAgreement(t *testing.T) {
	types := []string{"", typeOCIIndex, typeOCIManifest, typeDockerIndex, typeDockerManifest, "text/plain"}
	contents := map[string]string{"index": indexJSON(), "manifest": manifestJSON(), "both": indexJSON() + "," + manifestJSON(), "half": indexJSON() + `,"layers":[]`, "neither": `"a":1`}
	for _, outer := range types {
		for _, inner := range types {
			for name, content := range contents {
				member := ""
				if inner != "" {
					member = fmt.Sprintf(`"mediaType":%q,`, inner)
				}
				doc, kind, err := parseDocument([]byte(`{"schemaVersion":2,`+member+content+`}`), outer)
				said := outer + inner
				if outer == inner {
					said = outer
				}
				named, known := kindOfType(said)
				want := (name == "index" || name == "manifest") && (said == "" || known && (named == kindIndex) == (name == "index"))
				if (err == nil) != want {
					t.Errorf("descriptor %q, document %q, content %s: %v", outer, inner, name, err)
				}
				if err != nil && (doc != nil || !errors.Is(err, ErrInvalid)) {
					t.Errorf("%v", err)
				}
				if err == nil && (kind == kindIndex) != (name == "index") {
					t.Errorf("content %s is kind %d", name, kind)
				}
			}
		}
	}
}

func TestDocumentRefuses(t *testing.T) {
	many := func(n int, one string) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	layer := descriptorJSON("application/vnd.oci.image.layer.v1.tar")
	for name, text := range map[string]string{
		"empty":                  ``,
		"null":                   `null`,
		"array":                  `[]`,
		"truncated":              `{"schemaVersion":2,` + indexJSON(),
		"two documents":          `{"schemaVersion":2,` + indexJSON() + `}{}`,
		"schema 1":               `{"schemaVersion":1,"fsLayers":[]}`,
		"schema 3":               `{"schemaVersion":3,` + indexJSON() + `}`,
		"no schema":              `{` + indexJSON() + `}`,
		"key twice":              `{"schemaVersion":2,` + indexJSON() + `,` + indexJSON() + `}`,
		"key in another case":    `{"schemaVersion":2,` + strings.Replace(indexJSON(), "manifests", "Manifests", 1) + `}`,
		"both by case":           `{"schemaVersion":2,` + manifestJSON() + `,"MANIFESTS":[]}`,
		"deep key twice":         `{"schemaVersion":2,"manifests":[{"digest":"` + someDigest + `","digest":"` + someDigest + `"}]}`,
		"deep key in other case": `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"` + someDigest + `","Digest":"` + someDigest + `","size":1}]}`,
		"annotation twice":       `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"` + someDigest + `","size":1,"annotations":{"a":"1","a":"2"}}]}`,
		"bad digest":             `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:../x","size":1}]}`,
		"no digest":              `{"schemaVersion":2,"manifests":[{"mediaType":"x","size":1}]}`,
		"null digest":            `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":null,"size":1}]}`,
		"null descriptor":        `{"schemaVersion":2,"manifests":[null]}`,
		"negative size":          `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"` + someDigest + `","size":-1}]}`,
		"size of 2^70":           `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"` + someDigest + `","size":1180591620717411303424}]}`,
		"size 1.5":               `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"` + someDigest + `","size":1.5}]}`,
		"too many manifests":     `{"schemaVersion":2,"manifests":[` + many(maxDescriptors+1, layer) + `]}`,
		"too many layers":        `{"schemaVersion":2,"config":` + descriptorJSON(typeOCIConfig) + `,"layers":[` + many(maxLayers+1, layer) + `]}`,
		"no layers":              `{"schemaVersion":2,"config":` + descriptorJSON(typeOCIConfig) + `,"layers":[]}`,
		"no config":              `{"schemaVersion":2,"layers":[` + layer + `]}`,
		"encrypted layer":        `{"schemaVersion":2,"config":` + descriptorJSON(typeOCIConfig) + `,"layers":[` + descriptorJSON("application/vnd.oci.image.layer.v1.tar+gzip+encrypted") + `]}`,
		"huge config":            `{"schemaVersion":2,"config":{"mediaType":"` + typeOCIConfig + `","digest":"` + someDigest + `","size":99999999},"layers":[` + layer + `]}`,
		"nested deep":            `{"schemaVersion":2,"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		"nested very deep":       strings.Repeat(`{"x":`, 1<<20),
	} {
		if _, _, err := parseDocument([]byte(text), ""); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		} else if len(err.Error()) > 2000 {
			t.Errorf("%s: error of %d bytes", name, len(err.Error()))
		}
	}
}

// TestDocumentMemory: three bytes of a list become a descriptor of sixty, so a list ends at a bound before it is decoded.
func TestDocumentMemory(t *testing.T) {
	manyKeys := func(size int) string {
		var b strings.Builder
		for n := 0; b.Len() < size; n++ {
			fmt.Fprintf(&b, `"%x":"",`, n)
		}
		return b.String() + `"z":""`
	}
	empty := strings.Repeat("{},", maxManifestBytes/3-100) + "{}"
	document := func(data []byte) error { _, _, err := parseDocument(data, ""); return err }
	docker := func(data []byte) error { _, err := parseDockerManifest(data); return err }
	config := func(data []byte) error { _, err := parseConfig(data); return err }
	for _, c := range []struct {
		name, text string
		parse      func(data []byte) error
	}{
		{"layers", `{"schemaVersion":2,"layers":[` + empty + `]}`, document},
		{"manifests", `{"schemaVersion":2,"manifests":[` + empty + `]}`, document},
		{"layers of schema 1", `{"schemaVersion":1,"fsLayers":[` + empty + `]}`, document},
		{"lists of schema 1", `{"schemaVersion":1,"fsLayers":[` + strings.Repeat("["+strings.Repeat("{},", 9999)+"{}],", 60) + `[]]}`, document},
		{"annotations", `{"schemaVersion":2,"manifests":[{"annotations":{` + manyKeys(2<<20) + `}}]}`, document},
		{"docker", "[" + empty + "]", docker},
		{"labels", `{"config":{"Labels":{` + manyKeys(3<<20) + `}}}`, config},
		{"what nobody reads", `{"x":{` + manyKeys(3<<20) + `}}`, config},
	} {
		data := []byte(c.text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := c.parse(data)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, ErrInvalid) || got > 48<<20 {
			t.Errorf("%s: %d MB, %v", c.name, got>>20, err)
		}
	}
}

func TestChoose(t *testing.T) {
	arch := hostPlatform.Architecture
	p := func(os, arch, variant string) descriptor {
		return descriptor{MediaType: typeOCIManifest, Platform: &platform{OS: os, Architecture: arch, Variant: variant}}
	}
	none := descriptor{MediaType: typeOCIManifest}
	for _, c := range []struct {
		list []descriptor
		want int
	}{
		{[]descriptor{p("linux", "other", ""), p("linux", arch, "")}, 1},
		{[]descriptor{none, p("linux", arch, "")}, 1},
		{[]descriptor{p("unknown", "unknown", ""), none}, 1}, // buildkit's attestations stand as unknown/unknown
		{[]descriptor{p("windows", arch, "")}, -1},
		{[]descriptor{p("linux", arch, "v99")}, -1},
		{[]descriptor{{MediaType: "text/plain"}, none}, 1},
		{nil, -1},
	} {
		got, err := choose(c.list)
		if c.want < 0 {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%v: %v", c.list, err)
			}
			continue
		}
		if err != nil || got.Platform != c.list[c.want].Platform {
			t.Errorf("%v: %v, %v", c.list, got, err)
		}
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,`+indexJSON()+`}`), "")
	f.Add([]byte(`{"schemaVersion":2,`+manifestJSON()+`}`), typeOCIManifest)
	f.Fuzz(func(t *testing.T, data []byte, mediaType string) {
		doc, kind, err := parseDocument(data, mediaType)
		if err != nil {
			return
		}
		if kind == kindIndex {
			for _, d := range *doc.Manifests {
				if d.Digest.IsZero() || d.Size < 0 {
					t.Errorf("%+v", d)
				}
			}
			choose(*doc.Manifests)
			return
		}
		if doc.Config.Digest.IsZero() || len(*doc.Layers) == 0 || len(*doc.Layers) > maxLayers {
			t.Errorf("%+v", doc)
		}
	})
}
