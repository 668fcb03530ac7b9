/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unaligned little- and big-endian loads and stores, and ranges that cannot overflow. */
#ifndef VMM_UTIL_BYTES_H
#define VMM_UTIL_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define BYTES_ACCESSORS(bits)                                                                      \
    static inline uint##bits##_t load_le##bits(const void *p)                                      \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof(v));                                                                  \
        return le##bits##toh(v);                                                                   \
    }                                                                                              \
    static inline uint##bits##_t load_be##bits(const void *p)                                      \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof(v));                                                                  \
        return be##bits##toh(v);                                                                   \
    }                                                                                              \
    static inline void store_le##bits(void *p, uint##bits##_t v)                                   \
    {                                                                                              \
        v = htole##bits(v);                                                                        \
        memcpy(p, &v, sizeof(v));                                                                  \
    }                                                                                              \
    static inline void store_be##bits(void *p, uint##bits##_t v)                                   \
    {                                                                                              \
        v = htobe##bits(v);                                                                        \
        memcpy(p, &v, sizeof(v));                                                                  \
    }

BYTES_ACCESSORS(16)
BYTES_ACCESSORS(32)
BYTES_ACCESSORS(64)
#undef BYTES_ACCESSORS

/* Little-endian load of 1 to 8 bytes. */
static inline uint64_t load_le(const void *p, unsigned size)
{
    uint64_t v = 0;
    memcpy(&v, p, size);
    return le64toh(v);
}

static inline void store_le(void *p, uint64_t value, unsigned size)
{
    value = htole64(value);
    memcpy(p, &value, size);
}

/* Whether [start, start + len) lies inside [0, size), for any values of the three. */
static inline bool range_inside(uint64_t start, uint64_t len, uint64_t size)
{
    return start <= size && len <= size - start;
}

#define KIB (1024ULL)
#define MIB (1024ULL * KIB)
#define GIB (1024ULL * MIB)

#define ALIGN_UP(x, a)        (((x) + (a)-1) / (a) * (a))
#define ALIGN_DOWN(x, a)      ((x) / (a) * (a))
#define container_of(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))

#endif
