/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps of an image that loses its power: what each was on the disk at every moment, so that what
 * a crash left of it can be judged. It is the truth, or says that it is not: it is in use.
 */
#ifndef TESTS_UNIT_CRASH_BITMAPS_H
#define TESTS_UNIT_CRASH_BITMAPS_H

#include "tests/unit/crash-life.h"

/* Ops of a life: false when there is nothing to do. */
bool life_bitmap_add(Life *l);
bool life_bitmap_remove(Life *l);
bool life_bitmap_clear(Life *l);
bool life_bitmap_merge(Life *l);
bool life_bitmap_switch(Life *l); /* enabled or not */

/* Around each opening for writing and each close of l->node; `issued`: the moment before it. */
void life_bitmaps_opened(Life *l, unsigned issued);
void life_bitmaps_closing(Life *l, unsigned issued);
void life_bitmaps_closed(Life *l);
/* The disk has another length, or other contents altogether. */
void life_bitmaps_resized(Life *l);
void life_bitmaps_free(Life *l);

/* The bitmaps of the image as the crash at `when` left it, open as `node`. touched: it was opened
 * for writing since, so that any may be in use. */
void crash_bitmaps_check(Life *l, BlockNode *node, unsigned when, bool touched, const char *what);
/* Inconsistent ones can be removed; the others go on: a new write is marked. Writes to the node. */
void crash_bitmaps_use(Life *l, BlockNode *node);
/* ... which was closed, and is open again. */
void crash_bitmaps_check_used(BlockNode *node, const char *what);

#endif
