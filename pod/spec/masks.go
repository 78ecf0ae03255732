package spec

// What containers may not see or change, for requests that bring no list of their own; the kubelet's are the same but for the
// directory of each CPU (kubernetes/pkg/securitycontext).
var (
	defaultMaskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	defaultReadOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// Masked are the paths hidden from the container.
func (c *Container) Masked() []string {
	if c.Privileged {
		return nil
	}
	if c.MaskedPaths == nil {
		return defaultMaskedPaths
	}
	return c.MaskedPaths
}

// ReadOnly are the paths that the container can't change.
func (c *Container) ReadOnly() []string {
	if c.Privileged {
		return nil
	}
	if c.ReadOnlyPaths == nil {
		return defaultReadOnlyPaths
	}
	return c.ReadOnlyPaths
}
