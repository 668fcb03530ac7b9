/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IPv4 fragments of a guest, put together before libslirp sees them: its own reassembly (4.7) can
 * be made to follow wild pointers, so it never gets a fragment. Bounded: a few datagrams at a time,
 * overlaps refused. RFC 791, section 3.2; RFC 1858.
 */
#ifndef NET_FRAGMENTS_H
#define NET_FRAGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Fragments Fragments;

Fragments *fragments_new(void);
void fragments_free(Fragments *fragments);

/* Whether the Ethernet frame carries a part of an IPv4 datagram. */
bool fragments_is_part(const uint8_t *frame, size_t size);

/* Takes such a frame at a time in ns. Returns the whole datagram's frame, valid until the next
 * call, and its *size when this was the last part that was missing, else NULL. A bad one is
 * dropped. */
const uint8_t *fragments_take(Fragments *fragments, const uint8_t *frame, size_t *size,
                              int64_t now);

#endif
