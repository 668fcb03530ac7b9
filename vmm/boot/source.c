/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel files, read piece by piece: a file that shrinks meanwhile is an error, not a signal. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vmm/boot/boot_private.h"

BootSource *boot_source_open(const char *path, GError **error)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        error_set_errno(error, errno, "could not open '%s'", path);
    } else if (!S_ISREG(st.st_mode)) {
        error_set(error, "could not load '%s': it is not a regular file", path);
    } else if (st.st_size == 0) {
        error_set(error, "could not load '%s': the file is empty", path);
    } else {
        BootSource *source = g_new0(BootSource, 1);
        source->name = g_strdup(path);
        source->fd = fd;
        source->size = (uint64_t)st.st_size;
        return source;
    }
    if (fd >= 0) {
        close(fd);
    }
    return NULL;
}

BootSource *boot_source_new_memory(const char *name, const uint8_t *data, uint64_t size)
{
    BootSource *source = g_new0(BootSource, 1);
    source->name = g_strdup(name);
    source->fd = -1;
    source->memory = data;
    source->size = size;
    return source;
}

void boot_source_free(BootSource *source)
{
    if (!source) {
        return;
    }
    if (source->fd >= 0) {
        close(source->fd);
    }
    g_free(source->name);
    g_free(source);
}

bool boot_source_read(BootSource *source, uint64_t offset, void *data, uint64_t len, GError **error)
{
    if (!range_inside(offset, len, source->size)) {
        return error_set(error, "could not load '%s': it is cut short (%" PRIu64 " bytes)",
                         source->name, source->size);
    }
    if (source->fd < 0) {
        memcpy(data, source->memory + offset, len);
        return true;
    }
    uint8_t *to = data;
    while (len > 0) {
        ssize_t got = pread(source->fd, to, len, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return error_set_errno(error, errno, "could not read '%s'", source->name);
        }
        if (got == 0) {
            return error_set(error, "could not load '%s': it became shorter meanwhile",
                             source->name);
        }
        to += got;
        offset += (uint64_t)got;
        len -= (uint64_t)got;
    }
    return true;
}
