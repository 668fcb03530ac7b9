/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image locking, understood by QEMU too: open-file-description locks on single bytes. A holder of
 * permission i has a shared lock on byte 100+i; one who does not tolerate i in others has one on
 * byte 200+i. Whoever wants i looks for locks on 200+i, whoever does not share it on 100+i.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "block/file.h"

#define PERM_BASE   100
#define SHARED_BASE 200
#define PERM_COUNT  4

static const char *const perm_names[PERM_COUNT] = { "consistent read", "write", "write unchanged",
                                                    "resize" };

static int lock_byte(int fd, off_t byte, short type)
{
    struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

/* Whether somebody else has a lock on the byte: 1, 0 or -errno. */
static int byte_is_locked(int fd, off_t byte)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    if (fcntl(fd, F_OFD_GETLK, &fl) < 0) {
        return -errno;
    }
    return fl.l_type != F_UNLCK;
}

bool file_lock_supported(int fd)
{
    return byte_is_locked(fd, PERM_BASE) >= 0;
}

static int set_locks(int fd, unsigned perm, unsigned shared, bool unlock_others)
{
    for (int i = 0; i < PERM_COUNT; i++) {
        bool held = perm & 1u << i, unshared = !(shared & 1u << i);
        int ret = 0;
        if (held || unlock_others) {
            ret = lock_byte(fd, PERM_BASE + i, held ? F_RDLCK : F_UNLCK);
        }
        if (ret == 0 && (unshared || unlock_others)) {
            ret = lock_byte(fd, SHARED_BASE + i, unshared ? F_RDLCK : F_UNLCK);
        }
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static bool refuse(GError **error, const char *filename, const char *what, int i)
{
    return error_set(error,
                     "'%s' is locked: another process has it open (%s \"%s\"); end that "
                     "one, or open it read-only on both sides",
                     filename, what, perm_names[i]);
}

static bool check_others(int fd, const char *filename, unsigned perm, unsigned shared,
                         GError **error)
{
    for (int i = 0; i < PERM_COUNT; i++) {
        if (perm & 1u << i && byte_is_locked(fd, SHARED_BASE + i) == 1) {
            return refuse(error, filename, "exclusive", i);
        }
        if (!(shared & 1u << i) && byte_is_locked(fd, PERM_BASE + i) == 1) {
            return refuse(error, filename, "shared", i);
        }
    }
    return true;
}

bool file_lock_apply(int fd, const char *filename, unsigned perm, unsigned shared, GError **error)
{
    /* Taken first, then looked around: of two who come together at least one sees the other. */
    int ret = set_locks(fd, perm, shared, false);
    if (ret < 0) {
        return error_set_errno(error, -ret, "'%s': cannot lock the image", filename);
    }
    if (!check_others(fd, filename, perm, shared, error)) {
        return false;
    }
    set_locks(fd, perm, shared, true); /* gives back what is no longer needed */
    return true;
}
