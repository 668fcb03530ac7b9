/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sets of descriptors that somebody else opened (-add-fd, QMP add-fd). A file name /dev/fdset/N
 * stands for whichever descriptor of set N has the access mode that is asked for; each opening gets
 * a duplicate. A set goes when it has neither descriptors nor users. Any thread, unless said.
 */
#ifndef VMM_UTIL_FDSET_H
#define VMM_UTIL_FDSET_H

#include <stdint.h>
#include <sys/types.h>
#include "vmm/cli/opts.h"
#include "vmm/error.h"

#define FDSET_ANY      (-1) /* of fdset_add(): the least number that is free */
#define FDSET_ALL      (-1) /* of fdset_remove(): every descriptor of the set */
#define FDSET_FIRST_FD 3    /* the least number a descriptor of ours gets */

typedef struct FdsetMember {
    int fd;
    char *opaque; /* whatever the one who added it says; NULL: nothing */
    bool lasting; /* stays although no monitor is connected: from the command line */
} FdsetMember;

/* ---- Sets ---- */
/* Takes fd, also when it fails. Returns the set's number, or -1 and error. */
int64_t fdset_add(int64_t set, int fd, const char *opaque, bool lasting, GError **error);
/* Users keep their duplicates. */
bool fdset_remove(int64_t set, int64_t fd, GError **error);
/* By falling number; members in the order in which they came. fn must not call this file. */
void fdset_foreach(void (*fn)(int64_t set, const FdsetMember *members, unsigned count,
                              void *opaque),
                   void *opaque);
/* Whether descriptors of sets without users stay, but for lasting ones: true at the start. */
void fdset_keep_unused(bool keep);
void fdset_close_all(void); /* at exit, when nobody uses one any more */

/* "fd=N,set=M[,opaque=TEXT]" of -add-fd, duplicated: N stays open, so that it can be in several
 * sets, until fdset_close_inherited(). Main thread. */
bool fdset_add_inherited(Opts *options, GError **error);
void fdset_close_inherited(void);

/* ---- Files ---- */
/* open(2), which also takes /dev/fdset/N: there errno is EBADF when N is no number, ENOENT without
 * that set, EACCES when it has no descriptor of the access mode. */
int fdset_open(const char *path, int flags, mode_t mode);
/* Sets "cannot open 'PATH' ...: REASON" for an errno of fdset_open(); returns false. */
bool fdset_open_failed(GError **error, int errnum, const char *path, int flags);
/* close(2) for what fdset_open() gave. */
void fdset_close(int fd);

#endif
