/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors that a monitor's client hands over with its commands (SCM_RIGHTS): kept under names
 * (getfd) until a command takes them (fd=NAME) or they are closed. Main thread.
 */
#ifndef VMM_UTIL_PASSED_FDS_H
#define VMM_UTIL_PASSED_FDS_H

#include "vmm/error.h"

typedef struct PassedFds {
    GHashTable *names;         /* of getfd */
    int (*next)(void *opaque); /* what came with the command that runs, the caller's; -1: none */
    void *opaque;
} PassedFds;

/* ---- A monitor's side ---- */
void passed_fds_init(PassedFds *fds, int (*next)(void *opaque), void *opaque);
void passed_fds_clear(PassedFds *fds); /* closes what has names */
/* The monitor whose command runs from now on (NULL: none); returns the one before. */
PassedFds *passed_fds_set_current(PassedFds *fds);

/* ---- The commands' side: of the monitor whose command runs ---- */
/* What came with the command, close-on-exec and the caller's; -1 and error without one. */
int passed_fds_take(GError **error);
/* Takes fd; an older one of that name is closed. */
bool passed_fds_name(const char *name, int fd, GError **error);
bool passed_fds_close(const char *name, GError **error);

/* fd=TEXT of a back end: a name of getfd, or the number of a descriptor that Vireo was started
 * with. Whoever uses it makes it close-on-exec, so that it can be given once. *named says which it
 * is: who fails has to close a named one. -1 and error. */
int passed_fd_param(const char *text, bool *named, GError **error);
/* The same for a socket, listening or not as is said; close-on-exec and non-blocking now. */
int passed_socket_param(const char *text, bool listening, GError **error);

#endif
