/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Little-endian byte streams, written to a GByteArray and read from a bounded, hostile buffer. */
#ifndef VMM_DEVICE_STREAM_H
#define VMM_DEVICE_STREAM_H

#include <glib.h>
#include <string.h>
#include "vmm/util/bytes.h"

#define STREAM_NAME_SIZE 256

static inline void stream_put_bytes(GByteArray *out, const void *data, size_t length)
{
    if (length) {
        g_byte_array_append(out, data, (guint)length);
    }
}

static inline void stream_put_u8(GByteArray *out, uint8_t value)
{
    stream_put_bytes(out, &value, 1);
}

static inline void stream_put_u16(GByteArray *out, uint16_t value)
{
    value = htole16(value);
    stream_put_bytes(out, &value, 2);
}

static inline void stream_put_u32(GByteArray *out, uint32_t value)
{
    value = htole32(value);
    stream_put_bytes(out, &value, 4);
}

static inline void stream_put_u64(GByteArray *out, uint64_t value)
{
    value = htole64(value);
    stream_put_bytes(out, &value, 8);
}

static inline void stream_put_name(GByteArray *out, const char *name)
{
    size_t length = strlen(name);
    g_assert(length < STREAM_NAME_SIZE);
    stream_put_u8(out, (uint8_t)length);
    stream_put_bytes(out, name, length);
}

/* A part with its length in front: what is put between open and close. */
static inline guint stream_open(GByteArray *out)
{
    stream_put_u32(out, 0);
    return out->len;
}

static inline void stream_close(GByteArray *out, guint opened)
{
    store_le32(out->data + opened - 4, out->len - opened);
}

/* Reading: what is not there reads as zero and sets `bad`. */
typedef struct Stream {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
} Stream;

static inline size_t stream_left(const Stream *in)
{
    return (size_t)(in->end - in->at);
}

static inline bool stream_done(const Stream *in)
{
    return !in->bad && in->at == in->end;
}

static inline uint64_t stream_get(Stream *in, unsigned size)
{
    if (stream_left(in) < size) {
        in->bad = true;
        in->at = in->end;
        return 0;
    }
    uint64_t value = load_le(in->at, size);
    in->at += size;
    return value;
}

static inline uint8_t stream_get_u8(Stream *in)
{
    return (uint8_t)stream_get(in, 1);
}

static inline uint16_t stream_get_u16(Stream *in)
{
    return (uint16_t)stream_get(in, 2);
}

static inline uint32_t stream_get_u32(Stream *in)
{
    return (uint32_t)stream_get(in, 4);
}

static inline uint64_t stream_get_u64(Stream *in)
{
    return stream_get(in, 8);
}

static inline void stream_get_name(Stream *in, char name[STREAM_NAME_SIZE])
{
    size_t length = stream_get_u8(in);
    if (stream_left(in) < length) {
        in->bad = true;
        length = 0;
    }
    if (length) {
        memcpy(name, in->at, length);
    }
    name[length] = '\0';
    in->at += length;
}

static inline Stream stream_get_part(Stream *in)
{
    size_t length = stream_get_u32(in);
    if (stream_left(in) < length) {
        in->bad = true;
        length = 0;
    }
    Stream part = { .at = in->at, .end = in->at + length, .bad = in->bad };
    in->at += length;
    return part;
}

#endif
