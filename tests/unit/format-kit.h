/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of read-only image formats: a folder of images that qemu-img made, and changed ones. */
#ifndef TESTS_UNIT_FORMAT_KIT_H
#define TESTS_UNIT_FORMAT_KIT_H

#include "block/image.h"

void kit_start(void); /* makes the folder and goes into it */
void kit_stop(void);  /* removes it */

/* Runs a command, which must succeed. */
void kit_run(const char *format, ...) G_GNUC_PRINTF(1, 2);
char *kit_output(const char *format, ...) G_GNUC_PRINTF(1, 2); /* g_free */

/* A file of `size` bytes with data here and there; its content (g_free). */
uint8_t *kit_make_raw(const char *name, uint64_t size, unsigned seed);
uint8_t *kit_read_file(const char *name, size_t *size);
void kit_write_file(const char *name, const void *data, size_t size);
/* A copy with `bytes` of it changed at `offset` (counted from the end when negative). */
void kit_patch(const char *from, const char *to, int64_t offset, const void *data, size_t bytes);

/* Read-only. */
BlockNode *kit_try_open(const char *name, const char *format, GError **error);
BlockNode *kit_open(const char *name, const char *format);
/* It is refused, with a message that has the file's name and `text`. */
void kit_refused(const char *name, const char *format, const char *text);

/* Everything of node equals data, zeroes behind its end: read in pieces by the blocking calls. */
void kit_compare(BlockNode *node, const uint8_t *data, uint64_t size);

#endif
