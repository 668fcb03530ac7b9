/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See crash-model.h. */
#include "tests/unit/crash-model.h"

#include "tests/unit/power-kit.h"
#include "vmm/util/bytes.h"

void crash_model_init(CrashModel *m, uint64_t sectors)
{
    *m = (CrashModel){ .sectors = sectors };
    m->flushes = g_array_new(FALSE, FALSE, sizeof(CrashVersion));
    m->versions = g_new(GArray *, sectors);
    for (uint64_t i = 0; i < sectors; i++) {
        CrashVersion v = { 0 };
        m->versions[i] = g_array_new(FALSE, FALSE, sizeof(CrashVersion));
        g_array_append_val(m->versions[i], v);
    }
}

void crash_model_clear(CrashModel *m)
{
    for (uint64_t i = 0; i < m->sectors; i++) {
        g_array_unref(m->versions[i]);
    }
    g_array_unref(m->flushes);
    g_free(m->versions);
}

static CrashVersion *last(const CrashModel *m, uint64_t sector)
{
    GArray *all = m->versions[sector];
    return &g_array_index(all, CrashVersion, all->len - 1);
}

void crash_model_begin(CrashModel *m, uint64_t first, uint64_t count, uint32_t value, bool hint,
                       unsigned issued)
{
    for (uint64_t i = first; i < first + count; i++) {
        CrashVersion v = { .value = value, .hint = hint, .issued = issued };
        g_array_append_val(m->versions[i], v);
    }
}

void crash_model_end(CrashModel *m, uint64_t first, uint64_t count, unsigned ended)
{
    for (uint64_t i = first; i < first + count; i++) {
        last(m, i)->ended = ended;
    }
}

void crash_model_learn(CrashModel *m, uint64_t sector, uint32_t value)
{
    last(m, sector)->value = value;
    last(m, sector)->hint = false;
}

void crash_model_flushed(CrashModel *m, unsigned issued, unsigned ended)
{
    CrashVersion v = { .issued = issued, .ended = ended };
    g_array_append_val(m->flushes, v);
}

uint32_t crash_model_value(const CrashModel *m, uint64_t sector)
{
    return last(m, sector)->value;
}

void crash_fill(uint8_t *data, uint64_t sector, uint32_t value)
{
    for (int i = 0; i < POWER_SECTOR; i += 8) {
        store_be64(data + i, value ? (uint64_t)value << 32 | sector : 0);
    }
}

uint32_t crash_value(const uint8_t *data, uint64_t sector)
{
    uint64_t first = load_be64(data);
    if (memcmp(data, data + 8, POWER_SECTOR - 8) != 0) {
        return CRASH_NO_VALUE;
    }
    return !first ? 0 : (uint32_t)first == sector ? (uint32_t)(first >> 32) : CRASH_NO_VALUE;
}

unsigned crash_model_flushed_until(const CrashModel *m, unsigned when)
{
    unsigned flushed = 0;
    for (guint i = 0; i < m->flushes->len; i++) {
        const CrashVersion *f = &g_array_index(m->flushes, CrashVersion, i);
        flushed = f->ended <= when ? MAX(flushed, f->issued) : flushed;
    }
    return flushed;
}

bool crash_model_allows(const CrashModel *m, uint64_t sector, uint32_t value, unsigned flushed,
                        unsigned when)
{
    const GArray *all = m->versions[sector];
    bool allowed = false;
    for (guint i = 0; i < all->len; i++) {
        const CrashVersion *v = &g_array_index(all, CrashVersion, i);
        if (v->issued > when) {
            break;
        }
        if (v->ended && v->ended <= flushed && !v->hint) {
            allowed = false; /* what was there before is no longer a choice */
        }
        allowed |= v->value == value;
    }
    return allowed;
}

void crash_model_check(const CrashModel *m, const uint8_t *data, uint64_t sectors, unsigned when,
                       const char *what)
{
    unsigned flushed = crash_model_flushed_until(m, when);
    for (uint64_t i = 0; i < sectors; i++) {
        uint32_t value = crash_value(data + i * POWER_SECTOR, i);
        if (!crash_model_allows(m, i, value, flushed, when)) {
            g_error("%s: power lost at %u, flushed until %u: sector %" G_GUINT64_FORMAT
                    " has version %u, not %u",
                    what, when, flushed, i, value, crash_model_value(m, i));
        }
    }
}
