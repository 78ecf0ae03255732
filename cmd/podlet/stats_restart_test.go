package main

import "testing"

// TestStatsAfterRestart: a new podlet goes on where the old one was.
func TestStatsAfterRestart(t *testing.T) {
	n := newNode(t)
	p := n.newPod(n.inOwnCgroup("lasts"))
	c := p.start(container("app", "sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 1000"))
	before := n.containerStats(c)
	network := n.podStats(p.id).Linux.Network.GetDefaultInterface()
	n.kill()
	n.start()
	after := n.containerStats(c)
	if after.Cpu == nil || after.Cpu.UsageCoreNanoSeconds.Value < before.Cpu.UsageCoreNanoSeconds.Value || after.Cpu.UsageNanoCores != nil {
		t.Errorf("CPU %v before, %v after", before.Cpu, after.Cpu)
	}
	again := n.podStats(p.id).Linux
	if again.Network.GetDefaultInterface().GetName() != network.GetName() || again.Cpu == nil {
		t.Errorf("pod after the restart: %v", again)
	}
}
