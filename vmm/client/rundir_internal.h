/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two sides of the run directory share. */
#ifndef VMM_CLIENT_RUNDIR_INTERNAL_H
#define VMM_CLIENT_RUNDIR_INTERNAL_H

#include "vmm/client/rundir.h"

typedef enum LockResult {
    LOCK_GOT,
    LOCK_TAKEN,  /* by a machine that runs */
    LOCK_GONE,   /* the folder was removed meanwhile */
    LOCK_FAILED, /* errno */
} LockResult;

extern const char *const rundir_files[]; /* a folder's, without its lock */

/* A descriptor of the directory; *where (may be NULL): its path. -1 with error, and without when it
 * is missing and not made. */
int rundir_open_root(bool create, char **where, GError **error);
/* A regular file and nothing else; -1 and errno, EINVAL when it is another thing. */
int rundir_open_regular(int dir, const char *name, int flags);
LockResult rundir_lock(int lock);
/* Removes a folder whose lock the caller has. */
void rundir_remove_folder(int root, int dir, const char *name);

#endif
