// Package machine drives the guest: it starts an emulator, runs commands in it through the agent (package wire), and ends it.
//
// A Machine owns one qemu process and its ends of two sockets, one to the guest and one to qemu itself, which were made as pairs: no path, no port, nothing to connect to, and either side's end is the other's end of file. The process can't outlive this one: the kernel kills it with the thread that started it, and that thread is kept.
// Emulation is by software alone, so that the guest is the same wherever it runs, hypervisors that lend out no virtualisation among them.
//
// The guest has no network. Its root disk is a snapshot that ends with it; the payload disk is the caller's, and so is the data disk, which alone is meant to outlive the machine. Kill is the power cut: what the guest had not yet written to a disk is lost, what it had is not.
package machine
