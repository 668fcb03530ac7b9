/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMware disk images: what vmdk.c (extents, mapping) and vmdk_text.c (descriptor) share. */
#ifndef BLOCK_VMDK_H
#define BLOCK_VMDK_H

#include "block/mapped.h"

#define VMDK_NO_PARENT 0xffffffffu
#define VMDK_EXTENTS   4096 /* of one image, at most */
#define VMDK_TEXT_MAX  (1u << 20)

/* One "RW 4192256 SPARSE "disk-s001.vmdk" 0" of a descriptor. */
typedef struct VmdkLine {
    uint64_t sectors;
    char *type;
    char *name;      /* NULL: the type needs none */
    uint64_t offset; /* sectors into the file */
} VmdkLine;

typedef struct VmdkText {
    uint32_t cid, parent_cid;
    char *create_type, *parent_hint; /* may be NULL */
    GArray *lines;                   /* of VmdkLine */
} VmdkText;

/* text ends at its first NUL. On failure nothing is to be freed. */
bool vmdk_text_parse(VmdkText *text, const char *data, size_t length, GError **error);
void vmdk_text_clear(VmdkText *text);

#endif
