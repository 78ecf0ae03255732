package pod

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"podlet/pause"
)

// exited records the end of the container's process and sees to what it leaves behind. It gives false where the record can't be written.
func (c *Container) exited(s pause.State) (saved bool) {
	c.pod.mu.Lock()
	if c.takenBack != nil {
		close(c.takenBack)
		c.takenBack = nil
		c.dropPidfdLocked()
		c.pod.mu.Unlock()
		return true
	}
	if c.rec.State != Running && c.rec.State != Starting {
		saved := !c.unsaved
		c.pod.mu.Unlock()
		return saved
	}
	end := c.verdict(s)
	end.lost = LogLoss{s.DroppedLines, s.DroppedBytes}
	c.unsaved = !c.endLocked(end)
	saved = !c.unsaved
	c.pod.mu.Unlock()
	if end.lost.Lines > 0 {
		c.pod.rt.log.Warn("a container's log lacks lines: they could not be written", "container", c.name(), "id", c.id, "lines", end.lost.Lines, "bytes", end.lost.Bytes)
	}
	c.pod.rt.janitor.clear(c)
	return saved
}

// killedWithPod records that the container ended as its pod did, if it ran.
func (c *Container) killedWithPod(why string) {
	c.pod.mu.Lock()
	if c.rec.State != Running && c.rec.State != Starting {
		c.pod.mu.Unlock()
		return
	}
	c.endLocked(ending{at: time.Now(), code: exitKilled, reason: reasonError, message: why})
	c.pod.mu.Unlock()
	c.pod.rt.janitor.clear(c)
}

// ending is how a container ended.
type ending struct {
	at              time.Time
	code            int
	reason, message string
	lost            LogLoss
}

// endLocked makes the container exited, and says whether that could be written down. It is called once, of a container that was starting or running.
func (c *Container) endLocked(e ending) (saved bool) {
	saved = c.forceLocked(func(rec *containerRecord) {
		rec.State, rec.Finished = Exited, e.at
		rec.ExitCode, rec.Reason, rec.Message, rec.LogLoss = e.code, e.reason, e.message, e.lost
	})
	c.dropPidfdLocked()
	close(c.done)
	c.pod.tellLocked(c.id, EventStopped)
	return saved
}

func (c *Container) dropPidfdLocked() {
	if c.pidfd != nil {
		c.pidfd.Close()
		c.pidfd = nil
	}
}

// verdict tells from pause's words and the cgroup's counters why the process ended. The counter is read before the cgroup goes.
func (c *Container) verdict(s pause.State) ending {
	if s.Errno != 0 {
		c.failed = c.starvedLocked(c.launchFailure(s))
		return ending{at: s.Exited, code: exitCannotRun, reason: reasonCannotRun, message: c.failed.Error()}
	}
	e := ending{at: s.Exited, code: exitCode(s), reason: reasonError}
	if e.code == 0 {
		e.reason = reasonCompleted
	}
	if !s.Status.Signaled() || s.Status.Signal() != unix.SIGKILL || c.group == nil {
		return e
	}
	kills, err := c.group.OOMKills()
	if err != nil {
		c.pod.rt.log.Warn("can't read whether a container was killed for want of memory", "container", c.name(), "error", err)
		return e
	}
	// The counter is cumulative and counts children as well: only a kill since the last look, of a process that ended by SIGKILL, is meant.
	if kills > c.rec.OOMKills {
		e.reason = reasonOOMKilled
		e.message = fmt.Sprintf("the container's first process was killed for want of memory; the container's limit is %s", memoryLimit(c.rec.Spec.Resources.MemoryLimitBytes))
	}
	return e
}

// starvedLocked says of a failed launch whether its process was killed for want of memory: the step that it was at is not what failed.
func (c *Container) starvedLocked(failure error) error {
	if c.group == nil {
		return failure
	}
	if kills, err := c.group.OOMKills(); err != nil || kills == 0 {
		return failure
	}
	return fmt.Errorf("killed for want of memory before its program ran; the container's limit is %s: %w", memoryLimit(c.rec.Spec.Resources.MemoryLimitBytes), failure)
}

func memoryLimit(bytes int64) string {
	if bytes <= 0 {
		return "none, so it was the pod's or the node's"
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// launchFailure puts a failed launch into words. After a restart of podlet its tape is gone, and with it the words for the step.
func (c *Container) launchFailure(s pause.State) error {
	if c.playing == nil {
		return fmt.Errorf("its launch was cut short at step %d as podlet ended: %w", s.Step, s.Errno)
	}
	return c.playing.Error(s.Step, int32(s.Errno))
}
