// Package spec holds what a sandbox and a container are asked to be: plain values, checked once at the CRI's border, that
// stand in podlet's records and from which package launch makes tapes.
//
// It owns the rules by which a request becomes a process: entrypoint and arguments, environment, capabilities, default
// mounts, masked paths. Everything here is a pure function of its arguments. It opens no file, looks nothing up and keeps no
// state; what the image and the machine have to say comes in as values (Image, Identity, Machine).
//
// Image data has types and bounds here as everywhere: no label, annotation or variable of an image steers podlet.
package spec
