/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Telnet input: however a stream is cut into reads, the same bytes and breaks come out. */
#include <glib.h>
#include <string.h>
#include "vmm/chardev/telnet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Input: byte 0: the length of the pieces; the rest: the stream. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    size_t piece = data[0] % 7 + 1, len = size - 1, kept = 0;
    g_autofree uint8_t *whole = g_malloc(size), *pieces = g_malloc(size);
    unsigned whole_breaks, breaks = 0;
    TelnetParser parser;
    memcpy(whole, data + 1, len);
    telnet_reset(&parser);
    size_t whole_kept = telnet_decode(&parser, whole, len, &whole_breaks);
    telnet_reset(&parser);
    for (size_t at = 0; at < len; at += piece) {
        uint8_t part[7];
        size_t n = MIN(piece, len - at);
        unsigned more;
        memcpy(part, data + 1 + at, n);
        size_t left = telnet_decode(&parser, part, n, &more);
        g_assert_cmpuint(left, <=, n);
        memcpy(pieces + kept, part, left);
        kept += left;
        breaks += more;
    }
    g_assert_cmpmem(whole, whole_kept, pieces, kept);
    g_assert_cmpuint(whole_breaks, ==, breaks);
    return 0;
}
