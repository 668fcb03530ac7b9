/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See small-disk.h. */
#include "tests/unit/small-disk.h"

#include <fcntl.h>
#include <glib.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

bool small_disk_mount(const char *folder, uint64_t bytes)
{
    g_autofree char *options = g_strdup_printf("size=%" G_GUINT64_FORMAT, bytes);
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("vireo", folder, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0;
}

void small_disk_unmount(const char *folder)
{
    g_assert_cmpint(umount(folder), ==, 0);
}

uint64_t small_disk_free(const char *folder)
{
    struct statvfs info;
    g_assert_cmpint(statvfs(folder, &info), ==, 0);
    return (uint64_t)info.f_bavail * info.f_frsize;
}

void small_disk_leave(const char *folder, uint64_t bytes)
{
    g_autofree char *path = g_build_filename(folder, "ballast", NULL);
    struct stat info;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fstat(fd, &info), ==, 0);
    uint64_t left = small_disk_free(folder), has = (uint64_t)info.st_size;
    if (left > bytes) {
        g_assert_cmpint(posix_fallocate(fd, (off_t)has, (off_t)(left - bytes)), ==, 0);
    } else {
        g_assert_cmpint(ftruncate(fd, (off_t)(has - MIN(has, bytes - left))), ==, 0);
    }
    close(fd);
}
