/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a qcow2 image that loses its power, and the judge of what is left. */
#ifndef TESTS_UNIT_CRASH_LIFE_H
#define TESTS_UNIT_CRASH_LIFE_H

#include "tests/unit/crash-model.h"
#include "tests/unit/power-kit.h"
#include "vmm/util/bytes.h"

#define SECTOR          POWER_SECTOR
#define BACKING         "backing.driver=raw,backing.file.driver=logged,backing.file.filename=base"
#define DATA_FILE       "data-file.driver=logged,data-file.filename=data"
#define BASE_VALUE      0xba5eu
#define MOST_SNAPS      4
#define VERSION_AT      7  /* the lowest byte of the header's version */
#define INCOMPATIBLE_AT 79 /* the lowest byte of the header's incompatible features */

typedef struct Layout {
    const char *name, *options;
    uint64_t size, most; /* at first, and ever */
    uint64_t cluster;
    bool backing, old;
    int writes;     /* between two changes of the image */
    int bytes;      /* of a write at most */
    bool data_file; /* external and, at first, raw */
} Layout;

/* Something that was asked for and done, and then undone. */
typedef struct Span {
    unsigned issued, ended; /* moments; ended 0: not yet */
} Span;

typedef struct Snap {
    char *id;
    Span made, gone;
    uint64_t sectors;
    uint32_t *values;
} Snap;

typedef struct Length {
    uint64_t sectors;
    Span set;
} Length;

typedef struct LifeBitmap LifeBitmap; /* crash-bitmaps.c */

typedef struct Life {
    const Layout *layout;
    uint32_t seed;
    GRand *rand;
    Power *power;
    BlockNode *node;
    CrashModel model;
    GArray *lengths; /* of Length */
    GPtrArray *snaps;
    GPtrArray *bitmaps; /* of LifeBitmap; NULL: there was none */
    Span created;
    GString *story; /* what was done when */
    unsigned cuts;
} Life;

extern char *life_folder; /* for files that qemu-img looks at; the working directory */

uint64_t life_draw(Life *l, uint64_t below);    /* at random */
uint64_t life_sectors(const Life *l);           /* of the disk, now */
unsigned life_begin(Life *l, const char *what); /* a change, for the story: its first moment */
void life_set_length(Life *l, uint64_t sectors, unsigned issued);
bool life_is_old(Power *p); /* the image is of version 2 */
Snap *life_find_snap(const Life *l, const char *id);
/* The power fails at moment `when`: what is left is an image that opens, in which check finds leaks
 * at most, or which says that it is to be repaired; it holds what was promised. */
void life_crash_at(Life *l, unsigned when);

#endif
