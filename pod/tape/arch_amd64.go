package tape

import "golang.org/x/sys/unix"

// arch is what the step numbers belong to.
const arch = unix.AUDIT_ARCH_X86_64
