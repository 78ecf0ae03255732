package pod

import (
	"time"

	"podlet/pod/spec"
)

// PodState is the state of a sandbox; the package documentation draws how it changes.
type PodState string

const (
	PodCreating PodState = "creating"
	PodReady    PodState = "ready"
	PodNotReady PodState = "notready"
	podRemoved  PodState = "removed"
)

// ContainerState is the state of a container; the package documentation draws how it changes.
type ContainerState string

const (
	Created  ContainerState = "created"
	Starting ContainerState = "starting"
	Running  ContainerState = "running"
	Exited   ContainerState = "exited"
	removed  ContainerState = "removed"
)

// The reasons of an end, in the words that other runtimes use and users look for.
const (
	reasonCompleted = "Completed"
	reasonError     = "Error"
	reasonOOMKilled = "OOMKilled"
	reasonCannotRun = "ContainerCannotRun"
	reasonRebooted  = "NodeRebooted"
	reasonUnknown   = "Unknown"
)

// Exit codes of containers that had none of their own.
const (
	exitCannotRun    = 128
	exitKilled       = 137
	exitNodeRebooted = 255
	exitUnknown      = 255
)

// PodStatus is a pod at one moment. What it points to is shared and must not be changed.
type PodStatus struct {
	ID      string
	Spec    *spec.Sandbox
	State   PodState
	Created time.Time
	// Network is what it has of the pod network: nil in the node's network, without a pod network, and after StopPod.
	Network *Attachment
}

// ContainerStatus is a container at one moment. What it points to is shared and must not be changed.
type ContainerStatus struct {
	ID, PodID string
	Spec      *spec.Container
	// Process is how it runs or is going to run.
	Process *spec.Process
	State   ContainerState
	// Recovering: podlet has just started and the pod's pause has not said yet what became of the container.
	Recovering bool
	// Started and Finished are zero as long as they haven't happened.
	Created, Started, Finished time.Time
	ExitCode                   int
	// Reason and Message are set once it is exited.
	Reason, Message string
	// LogPath is the absolute path of the log, or empty.
	LogPath string
	// StopSignal is the signal that asks it to end.
	StopSignal int
}
