/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving up what only the start needs: -run-with chroot=, user=. Names are looked up while the
 * command line is read; privileges_drop() comes once, when files and sockets are open and threads
 * have begun, but no guest runs. Main thread.
 */
#ifndef VMM_SANDBOX_PRIVILEGES_H
#define VMM_SANDBOX_PRIVILEGES_H

#include <sys/types.h>
#include "vmm/error.h"

typedef struct Privileges {
    char *root; /* the directory; NULL: the one that is */
    char *user; /* as it was given; NULL: who it is */
    uid_t uid;  /* of user */
    gid_t gid;
    gid_t *groups; /* all of the user's, gid among them */
    int group_count;
} Privileges;

/* NAME, or UID:GID, which has no other groups. */
bool privileges_set_user(Privileges *privileges, const char *text, GError **error);
/* An existing directory. */
bool privileges_set_root(Privileges *privileges, const char *directory, GError **error);
/* For the whole process, all threads; and sees that there is no way back. After an error the
 * process has to end. */
bool privileges_drop(const Privileges *privileges, GError **error);
void privileges_clear(Privileges *privileges);

#endif
