package streaming

import (
	"encoding/json"
	"net/http"
	"strconv"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// status is how a session ended, as clients read it from its error stream: the part of Kubernetes' metav1.Status that they look at.
type status struct {
	Status  string   `json:"status"` // Success or Failure
	Message string   `json:"message,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	Details *details `json:"details,omitempty"`
	Code    int      `json:"code,omitempty"` // of HTTP
}

type details struct {
	Causes []cause `json:"causes"`
}

type cause struct {
	Type    string `json:"reason"`
	Message string `json:"message"`
}

func statusOf(code int, err error) status {
	switch {
	case err != nil:
		return status{Status: "Failure", Reason: "InternalError", Message: err.Error(), Code: http.StatusInternalServerError}
	case code != 0:
		text := strconv.Itoa(code)
		return status{
			Status: "Failure", Reason: remotecommand.NonZeroExitCodeReason, Message: "command terminated with non-zero exit code: " + text,
			Details: &details{[]cause{{remotecommand.ExitCodeCauseType, text}}},
		}
	}
	return status{Status: "Success"}
}

// bytes is what is written: JSON, or for clients of before version 4 the message alone, nothing being success.
func (s status) bytes(v4 bool) []byte {
	if !v4 {
		return []byte(s.Message)
	}
	text, _ := json.Marshal(s) // strings and numbers can't fail
	return text
}
