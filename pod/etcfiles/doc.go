// Package etcfiles writes the three files of /etc that a pod's containers share:
// hostname, hosts and resolv.conf.
//
// It gives contents and writes no file. What goes into them comes from a request
// and is checked to be what it is meant to be, for a line break in a name would
// be a line of the requester's own making. What a pod takes from its node is
// read as it is.
package etcfiles
