/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work on I/O vectors. */
#include "block/internal.h"

void iov_zero_from(const struct iovec *iov, int count, uint64_t skip)
{
    for (int i = 0; i < count; i++) {
        if (skip < iov[i].iov_len) {
            memset((char *)iov[i].iov_base + skip, 0, iov[i].iov_len - skip);
            skip = 0;
        } else {
            skip -= iov[i].iov_len;
        }
    }
}

static bool buffer_is_zero(const char *data, size_t length)
{
    static const char zeroes[4096];
    while (length) {
        size_t n = MIN(length, sizeof(zeroes));
        if (memcmp(data, zeroes, n) != 0) {
            return false;
        }
        data += n;
        length -= n;
    }
    return true;
}

bool iov_is_zero(const struct iovec *iov, int count)
{
    for (int i = 0; i < count; i++) {
        if (!buffer_is_zero(iov[i].iov_base, iov[i].iov_len)) {
            return false;
        }
    }
    return true;
}

void iov_copy(const struct iovec *iov, int count, uint64_t skip, void *data, uint64_t bytes,
              bool to_iov)
{
    char *p = data;
    for (int i = 0; i < count && bytes; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        size_t n = MIN(bytes, iov[i].iov_len - skip);
        char *part = (char *)iov[i].iov_base + skip;
        memcpy(to_iov ? part : p, to_iov ? p : part, n);
        p += n;
        bytes -= n;
        skip = 0;
    }
}

struct iovec *iov_rest(const struct iovec *iov, int count, uint64_t skip, int max, int *rest_count)
{
    int first = 0;
    while (first < count && skip >= iov[first].iov_len) {
        skip -= iov[first++].iov_len;
    }
    int n = MIN(count - first, max);
    struct iovec *rest = g_new(struct iovec, MAX(n, 1));
    memcpy(rest, iov + first, n * sizeof(*rest));
    if (n) {
        rest[0].iov_base = (char *)rest[0].iov_base + skip;
        rest[0].iov_len -= skip;
    }
    *rest_count = n;
    return rest;
}

struct iovec *iov_slice(const struct iovec *iov, int count, uint64_t skip, uint64_t bytes,
                        int *slice_count)
{
    struct iovec *slice = g_new(struct iovec, MAX(count, 1));
    int n = 0;
    for (int i = 0; i < count && bytes; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        size_t part = MIN(bytes, iov[i].iov_len - skip);
        slice[n++] = (struct iovec){ (char *)iov[i].iov_base + skip, part };
        bytes -= part;
        skip = 0;
    }
    *slice_count = n;
    return slice;
}
