/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which seeds a random suite takes: docs/block.md, "Tests of qcow2". */
#ifndef TESTS_UNIT_SEEDS_H
#define TESTS_UNIT_SEEDS_H

#include <glib.h>
#include <stdlib.h>

typedef struct Seeds {
    uint32_t from, end;
} Seeds;

/* QCOW2_SEEDS of them (else `preset`), from QCOW2_FIRST (else 1) on. */
static inline Seeds seeds_of_environment(uint32_t preset)
{
    const char *count = g_getenv("QCOW2_SEEDS"), *first = g_getenv("QCOW2_FIRST");
    uint32_t from = first ? (uint32_t)atoi(first) : 1;
    return (Seeds){ from, from + (count ? (uint32_t)atoi(count) : preset) };
}

#endif
