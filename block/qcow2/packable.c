/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether packing a cluster may make it smaller, told without packing it. A coder gains from bytes
 * that come more often than others, and from strings that come again; media, archives and
 * encrypted data have neither, and packing them takes as long as anything else.
 */
#include "block/qcow2/qcow2.h"

#define LEAST     (4 * 1024) /* of less there is nothing to be told */
#define HASH_BITS 14
#define FAR       (32 * 1024)

/* The sum of squared counts is length^2 / 256 and about `length` more for bytes at random. Below
 * 1.02 times that, a coder of single bytes gains less than half a percent. */
static bool is_even(const uint8_t *data, size_t length)
{
    uint32_t counts[2][256] = { 0 };
    for (size_t i = 0; i + 1 < length; i += 2) {
        counts[0][data[i]]++;
        counts[1][data[i + 1]]++;
    }
    double sum = 0, n = (double)length;
    for (unsigned i = 0; i < 256; i++) {
        double count = (double)counts[0][i] + counts[1][i];
        sum += count * count;
    }
    return sum < n * n / 256 * 1.02 + n;
}

/* Places where three bytes come again, not far behind: a coder saves less than a byte by each. By
 * chance it is one place in 500 or fewer. */
static bool has_repeats(const uint8_t *data, size_t length)
{
    g_autofree uint32_t *last = g_new0(uint32_t, 1 << HASH_BITS);
    size_t repeats = 0;
    for (uint32_t i = 1; i + 3 <= length; i++) {
        uint32_t word = data[i] | data[i + 1] << 8 | data[i + 2] << 16;
        uint32_t *place = &last[word * 2654435761u >> (32 - HASH_BITS)];
        repeats += memcmp(data + *place, data + i, 3) == 0 && i - *place <= FAR;
        *place = i;
    }
    return repeats > length / 128;
}

bool qcow2_is_packable(const uint8_t *data, size_t length)
{
    return length < LEAST || !is_even(data, length) || has_repeats(data, length);
}
