package cri

import (
	"encoding/json"
	"strings"
	"testing"

	"podlet/pod/spec"
)

// What crictl inspect prints of a container's spec has its variables' names, and no value of any.
func TestWithoutSecrets(t *testing.T) {
	c := &spec.Container{Name: "app", Args: []string{"serve"}, Env: []spec.Var{{Name: "TOKEN", Value: "hunter2"}, {Name: "EMPTY"}}}
	text, err := json.Marshal(withoutSecrets(c))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"serve"`, `"TOKEN"`, `"(7 bytes)"`, `"EMPTY"`, `"(0 bytes)"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s\nlacks %s", text, want)
		}
	}
	if strings.Contains(string(text), "hunter2") {
		t.Errorf("%s\nhas a variable's value", text)
	}
	if c.Env[0].Value != "hunter2" {
		t.Error("the container's own spec was changed")
	}
}
