// Package logfile opens the files to which pause writes containers' output.
//
// The kubelet names them: a directory a pod (CRI PodSandboxConfig.log_directory)
// and below it a path a container (ContainerConfig.log_path). The directory is
// the kubelet's word and is opened as it is, through links too (/var/log is one
// on many nodes). What is below is walked by fd and through no link, and the file
// must be a regular one with one name, so that a path made up of a pod's or an
// image's words leads nowhere else (CVE-2024-5154).
//
// The only state is which directories hang (context.go); its lock is held over no call.
package logfile
