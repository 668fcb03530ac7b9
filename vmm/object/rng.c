/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object rng-builtin, rng-random. */
#include "vmm/object/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>
#include "vmm/util/fdset.h"

typedef struct RngRandom {
    Object obj;
    char *filename;
    int fd;
} RngRandom;

static const Property builtin_props[] = {
    PROP_END,
};

static const Property random_props[] = {
    PROP_STRING("filename", RngRandom, filename, "/dev/urandom",
                "the character device that is read"),
    PROP_END,
};

static bool rng_random_complete(Object *obj, GError **error)
{
    RngRandom *rng = (RngRandom *)obj;
    int flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC;
    rng->fd = fdset_open(rng->filename, flags, 0);
    if (rng->fd < 0) {
        return fdset_open_failed(error, errno, rng->filename, flags);
    }
    return true;
}

static void rng_random_finalize(Object *obj)
{
    fdset_close(((RngRandom *)obj)->fd);
}

const ObjectClass rng_builtin_class = {
    .name = "rng-builtin",
    .base = "rng-backend",
    .desc = "Random numbers from the host kernel's generator",
    .size = sizeof(Object),
    .props = builtin_props,
};

const ObjectClass rng_random_class = {
    .name = "rng-random",
    .base = "rng-backend",
    .desc = "Random numbers from a character device of the host",
    .size = sizeof(RngRandom),
    .props = random_props,
    .complete = rng_random_complete,
    .finalize = rng_random_finalize,
};

ssize_t rng_read(Object *obj, void *data, size_t len)
{
    ssize_t got;
    if (obj && obj->cls == &rng_random_class) {
        got = read(((RngRandom *)obj)->fd, data, len);
    } else {
        got = getrandom(data, len, GRND_NONBLOCK);
    }
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    }
    return got;
}
