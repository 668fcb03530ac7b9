/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files in memory whose power can fail. The protocol driver "logged" remembers every write and
 * flush of them; power_cut() puts the files together as they may have been at any moment: with all
 * that a flush had covered, and with each sector written since, or not.
 */
#ifndef TESTS_UNIT_POWER_KIT_H
#define TESTS_UNIT_POWER_KIT_H

#include "block/image.h"
#include "block/internal.h"

#define POWER_SECTOR 512

typedef struct Power Power;

extern const BlockDriver power_driver; /* for block_test_driver */
extern Power *power_used;              /* whose files are opened */

Power *power_new(void);
void power_free(Power *p);
/* A file that is on the disk from the start; data may be NULL: empty. */
void power_add_file(Power *p, const char *name, const void *data, uint64_t length);
/* The moment, which goes on by one. Any thread. */
unsigned power_tick(Power *p);
unsigned power_time(Power *p); /* the last one given */
/* The same files after the power failed behind moment `when`. */
Power *power_cut(Power *p, unsigned when, GRand *rand);
/* Writes and flushes from the `after`th on from now, `count` of them, fail with -EIO; a failed
 * write leaves its first half. */
void power_break(Power *p, unsigned after, unsigned count);
/* One byte of the file as it is now: 0 behind its end. */
uint8_t power_byte(Power *p, const char *name, uint64_t offset);

/* Opens a file of power_used as an image; more: further options, or "". */
BlockNode *power_open(const char *name, const char *format, const char *more,
                      const BlockOpenMode *mode, GError **error);
/* Vireo's check of a qcow2 image of power_used, which must come to its end. */
BlockCheckResult power_check(const char *name, unsigned fix);
void power_save(Power *p, const char *name, const char *path);

#endif
