/* launch.h - the exit code of a child whose tape failed; the true reason is in its status slot. */
#ifndef PODLET_LAUNCH_H
#define PODLET_LAUNCH_H

#define LAUNCH_FAILED 127

#endif
