/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing the header of an image that has data. A lost power leaves any of the sectors that were
 * being written, or not: so everything changes in the first sector, at once. A backing file's name
 * that does not fit there is written first, to a place that the old header does not use.
 */
#include "block/qcow2/qcow2.h"
#include "vmm/error.h"

/* Where the old header's extensions end. */
static uint64_t extensions_end(const uint8_t *old, uint64_t length)
{
    uint64_t at = load_be32(old + QCOW2_H_VERSION) >= 3 ? load_be32(old + QCOW2_H_HEADER_LENGTH)
                                                        : QCOW2_H_V2_LENGTH;
    while (at + 8 <= length && load_be32(old + at) != QCOW2_EXT_END) {
        at += 8 + ALIGN_UP((uint64_t)load_be32(old + at + 4), 8);
    }
    return MAX(ALIGN_UP(at + 8, QCOW2_H_SECTOR), QCOW2_H_SECTOR);
}

/* A place for the new name, in sectors that the old header does not need; 0: none. */
static uint64_t find_place(const uint8_t *old, uint64_t length, size_t name)
{
    uint64_t first = extensions_end(old, length);
    uint64_t before = load_be64(old + QCOW2_H_BACKING_OFFSET);
    uint64_t after = MIN(before, length) + load_be32(old + QCOW2_H_BACKING_SIZE);
    uint64_t second = MAX(first, ALIGN_UP(after, QCOW2_H_SECTOR));
    if (!before || first + ALIGN_UP(name, QCOW2_H_SECTOR) <= ALIGN_DOWN(before, QCOW2_H_SECTOR)) {
        second = first;
    }
    return second + name <= length ? second : 0;
}

static int write_sectors(Qcow2 *s, const uint8_t *data, uint64_t from, uint64_t bytes)
{
    int ret = node_pwrite(s->node->file, from, data + from, bytes);
    return ret ? ret : node_flush(s->node->file);
}

/* The name behind the first sector, then the sector that shows it. */
static int write_apart(Qcow2 *s, const uint8_t *old, uint8_t *data)
{
    size_t name = strlen(s->h.backing_file);
    uint64_t at = find_place(old, s->cluster_size, name);
    if (!at || !qcow2_header_write_short(&s->h, data, s->cluster_size, at)) {
        return -E2BIG;
    }
    int ret = write_sectors(s, data, at, name);
    return ret ? ret : write_sectors(s, data, 0, QCOW2_H_SECTOR);
}

static int update(Qcow2 *s, const uint8_t *old, uint8_t *data)
{
    uint64_t behind = s->cluster_size - QCOW2_H_SECTOR;
    if (!memcmp(old + QCOW2_H_SECTOR, data + QCOW2_H_SECTOR, behind)) {
        return write_sectors(s, data, 0, QCOW2_H_SECTOR);
    }
    g_autofree uint8_t *other = g_malloc0(s->cluster_size);
    if (qcow2_header_write_short(&s->h, other, s->cluster_size, 0)) {
        return write_sectors(s, other, 0, QCOW2_H_SECTOR);
    }
    int ret = s->h.backing_file ? write_apart(s, old, other) : -E2BIG;
    /* Extensions of other programs fill the first sector: there is no safe way. */
    return ret != -E2BIG ? ret : write_sectors(s, data, 0, s->cluster_size);
}

bool qcow2_update_header(Qcow2 *s, GError **error)
{
    g_autofree uint8_t *data = g_malloc0(s->cluster_size);
    g_autofree uint8_t *old = g_malloc0(s->cluster_size);
    if (!qcow2_header_write(&s->h, data, s->cluster_size, error)) {
        return false;
    }
    int ret = node_pread(s->node->file, 0, old, s->cluster_size);
    ret = ret ? ret : update(s, old, data);
    return ret == 0 ||
           error_set_errno(error, -ret, "'%s': cannot write its header", s->node->filename);
}
