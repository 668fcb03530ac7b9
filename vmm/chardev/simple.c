/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The character back ends without a host side: null and ringbuf. */
#include "vmm/chardev/internal.h"

#include <string.h>

#define RINGBUF_DEFAULT (64u << 10)
#define RINGBUF_MAX     (64u << 20)

static bool null_open(Chardev *c, Opts *options, GError **error)
{
    chardev_set_connected(c, true);
    return true;
}

static size_t null_write(Chardev *c, const uint8_t *data, size_t len)
{
    return len;
}

const ChardevClass chardev_null_class = {
    .name = "null",
    .desc = "takes everything, gives nothing",
    .size = sizeof(Chardev),
    .open = null_open,
    .write = null_write,
};

/* The newest bytes written, in a ring of a power of two; positions count for ever. */
typedef struct RingbufChardev {
    Chardev base;
    uint8_t *ring;
    size_t size;
    uint64_t written, taken; /* under base.lock */
} RingbufChardev;

static bool ringbuf_open(Chardev *c, Opts *options, GError **error)
{
    RingbufChardev *r = (RingbufChardev *)c;
    uint64_t size = RINGBUF_DEFAULT;
    if (!opts_get_size(options, "size", &size, error)) {
        return false;
    }
    if (!size || (size & (size - 1)) || size > RINGBUF_MAX) {
        return error_set(error, "chardev '%s': size must be a power of two, at most %u MiB", c->id,
                         RINGBUF_MAX >> 20);
    }
    r->size = size;
    r->ring = g_malloc(size);
    chardev_set_connected(c, true);
    return true;
}

static void ringbuf_close(Chardev *c)
{
    g_free(((RingbufChardev *)c)->ring);
}

static size_t ringbuf_write(Chardev *c, const uint8_t *data, size_t len)
{
    RingbufChardev *r = (RingbufChardev *)c;
    size_t skip = len > r->size ? len - r->size : 0;
    r->written += skip;
    for (size_t i = skip; i < len; i++) {
        r->ring[r->written++ & (r->size - 1)] = data[i];
    }
    if (r->written - r->taken > r->size) {
        r->taken = r->written - r->size;
    }
    return len;
}

static const char *const ringbuf_options[] = { "size", NULL };

const ChardevClass chardev_ringbuf_class = {
    .name = "ringbuf",
    .desc = "keeps the newest output in memory for ringbuf-read (size=)",
    .size = sizeof(RingbufChardev),
    .options = ringbuf_options,
    .open = ringbuf_open,
    .close = ringbuf_close,
    .write = ringbuf_write,
};

static RingbufChardev *ringbuf_cast(Chardev *c, GError **error)
{
    if (c->cls != &chardev_ringbuf_class) {
        error_set(error, "chardev '%s' is not a ringbuf", c->id);
        return NULL;
    }
    return (RingbufChardev *)c;
}

bool chardev_ringbuf_read(Chardev *c, size_t max, GByteArray *out, GError **error)
{
    RingbufChardev *r = ringbuf_cast(c, error);
    if (!r) {
        return false;
    }
    g_mutex_lock(&c->lock);
    while (max-- && r->taken < r->written) {
        g_byte_array_append(out, &r->ring[r->taken++ & (r->size - 1)], 1);
    }
    g_mutex_unlock(&c->lock);
    return true;
}

bool chardev_ringbuf_write(Chardev *c, const uint8_t *data, size_t len, GError **error)
{
    if (!ringbuf_cast(c, error)) {
        return false;
    }
    g_mutex_lock(&c->lock);
    ringbuf_write(c, data, len);
    g_mutex_unlock(&c->lock);
    return true;
}
