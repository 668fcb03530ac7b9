/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a disk may hold after the power failed: every version that a sector ever had, with the
 * moments when it was asked for and when it was done, and the flushes.
 */
#ifndef TESTS_UNIT_CRASH_MODEL_H
#define TESTS_UNIT_CRASH_MODEL_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct CrashVersion {
    uint32_t value; /* 0: zeroes */
    bool hint;      /* a discard: it may have left what was there */
    unsigned issued, ended;
} CrashVersion;

typedef struct CrashModel {
    uint64_t sectors;
    GArray **versions; /* of CrashVersion, a sector each */
    GArray *flushes;   /* of CrashVersion: ended ones */
    uint32_t last_value;
} CrashModel;

#define CRASH_NO_VALUE UINT32_MAX

void crash_model_init(CrashModel *m, uint64_t sectors); /* of zeroes */
void crash_model_clear(CrashModel *m);
/* Asked for at `issued`; `ended` later. */
void crash_model_begin(CrashModel *m, uint64_t first, uint64_t count, uint32_t value, bool hint,
                       unsigned issued);
void crash_model_end(CrashModel *m, uint64_t first, uint64_t count, unsigned ended);
/* The last version is this value for certain: it was read. */
void crash_model_learn(CrashModel *m, uint64_t sector, uint32_t value);
void crash_model_flushed(CrashModel *m, unsigned issued, unsigned ended);
uint32_t crash_model_value(const CrashModel *m, uint64_t sector); /* the last */

/* A sector's bytes of this version, and back: CRASH_NO_VALUE: none that ever was. */
void crash_fill(uint8_t *data, uint64_t sector, uint32_t value);
uint32_t crash_value(const uint8_t *data, uint64_t sector);
/* The moment until which the guest's flushes that had ended by `when` reach. */
unsigned crash_model_flushed_until(const CrashModel *m, unsigned when);
bool crash_model_allows(const CrashModel *m, uint64_t sector, uint32_t value, unsigned flushed,
                        unsigned when);
/* The disk's first `sectors` must be as they may be; `what` goes into the message. */
void crash_model_check(const CrashModel *m, const uint8_t *data, uint64_t sectors, unsigned when,
                       const char *what);

#endif
