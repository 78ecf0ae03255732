package pod

import (
	"context"
	"fmt"

	"podlet/internal/logfile"
)

// ReopenLog makes pause write the container's output from here on to the file that stands at its log path now, after the kubelet has
// renamed the one before. If that file can't be had the old one is written on, and nothing is made.
func (r *Runtime) ReopenLog(ctx context.Context, id string) error {
	c, err := r.container(ctx, id)
	if err != nil {
		return err
	}
	if st := c.status.Load(); st.State != Running {
		return fmt.Errorf("reopen the log of container %s: it is %s, not running: %w", c.name(), st.State, ErrState)
	}
	if c.logPath() == "" {
		return fmt.Errorf("reopen the log of container %s: it has none: %w", c.name(), ErrState)
	}
	file, err := logfile.ReopenContext(ctx, c.pod.spec.LogDirectory, c.spec.LogPath)
	if err != nil {
		return fmt.Errorf("reopen the log of container %s: %w", c.name(), err)
	}
	defer file.Close()
	conn := c.pod.conn()
	if conn == nil {
		return fmt.Errorf("reopen the log of container %s: %w", c.name(), errNoPause)
	}
	if err := conn.Log(ctx, pauseID(c.id), file); err != nil {
		return fmt.Errorf("reopen the log of container %s: %w", c.name(), err)
	}
	return nil
}
