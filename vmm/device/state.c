/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state. A section is
 *     name (u8 length, bytes), version u16, body length u32, body
 * and its body a list of items
 *     kind u8, name (u8 length, bytes), payload length u32, payload
 * where kind is a StateKind, or ITEM_SUBSECTION whose payload is a section. Little-endian.
 */
#include "vmm/device/state.h"

#include <string.h>
#include "vmm/device/stream.h"
#include "vmm/error.h"

#define ITEM_SUBSECTION 0x80
#define MAX_DEPTH       8

/* ---- Writing ---- */

static uint32_t read_count(const void *base, const StateField *field)
{
    return *(const uint32_t *)(const void *)((const uint8_t *)base + field->count_offset);
}

static void put_uints(GByteArray *out, const uint8_t *at, size_t size, size_t count)
{
    stream_put_u8(out, (uint8_t)size);
    for (size_t i = 0; i < count; i++, at += size) {
        uint64_t value = 0;
        memcpy(&value, at, size); /* little-endian hosts only, as the whole program */
        stream_put_bytes(out, &value, size);
    }
}

/* Timers of a clock that other hosts do not share are saved relative to its now. */
static int64_t timer_base(const Timer *timer)
{
    return timer->clock == VM_CLOCK_REALTIME ? clock_now(VM_CLOCK_REALTIME) : 0;
}

static void put_timer(GByteArray *out, Timer *timer)
{
    if (timer->lock) {
        g_mutex_lock(timer->lock);
    }
    int64_t expires = timer_expires(timer);
    if (timer->lock) {
        g_mutex_unlock(timer->lock);
    }
    stream_put_u8(out, expires >= 0);
    stream_put_u64(out, expires >= 0 ? (uint64_t)(expires - timer_base(timer)) : 0);
}

static void put_structs(GByteArray *out, uint8_t *at, const StateField *field, uint32_t count)
{
    stream_put_u32(out, count);
    for (uint32_t i = 0; i < count; i++) {
        state_save(field->section, at + i * field->size, out);
    }
}

static void put_field(GByteArray *out, uint8_t *base, const StateField *field)
{
    uint8_t *at = base + field->offset;
    switch (field->kind) {
    case STATE_KIND_UINT:
        put_uints(out, at, field->size, field->count);
        break;
    case STATE_KIND_BOOL:
        stream_put_u8(out, *(bool *)at);
        break;
    case STATE_KIND_BUFFER:
        stream_put_bytes(out, at, field->size);
        break;
    case STATE_KIND_VBUFFER:
        stream_put_bytes(out, *(uint8_t **)(void *)at, read_count(base, field));
        break;
    case STATE_KIND_TIMER:
        put_timer(out, (Timer *)(void *)at);
        break;
    case STATE_KIND_STRUCT:
        put_structs(out, at, field, (uint32_t)field->count);
        break;
    case STATE_KIND_STRUCT_PTR:
        put_structs(out, *(uint8_t **)(void *)at, field, read_count(base, field));
        break;
    }
}

void state_save(const StateSection *section, void *base, GByteArray *out)
{
    if (section->pre_save) {
        section->pre_save(base);
    }
    stream_put_name(out, section->name);
    stream_put_u16(out, section->version);
    guint body = stream_open(out);
    for (const StateField *field = section->fields; field && field->name; field++) {
        stream_put_u8(out, (uint8_t)field->kind);
        stream_put_name(out, field->name);
        guint payload = stream_open(out);
        put_field(out, base, field);
        stream_close(out, payload);
    }
    for (const StateSection *const *sub = section->subsections; sub && *sub; sub++) {
        if (!(*sub)->needed || (*sub)->needed(base)) {
            stream_put_u8(out, ITEM_SUBSECTION);
            stream_put_name(out, (*sub)->name);
            guint payload = stream_open(out);
            state_save(*sub, base, out);
            stream_close(out, payload);
        }
    }
    stream_close(out, body);
}

/* ---- Reading ---- */

typedef struct Loader {
    const StateSection *section;
    uint8_t *base;
    uint16_t version;
    unsigned depth;
} Loader;

static bool load_section(const StateSection *section, void *base, Stream *in, unsigned depth,
                         GError **error);

static bool fail(const Loader *loader, const char *name, const char *what, GError **error)
{
    return error_set(error, "saved state: '%s.%s' %s", loader->section->name, name, what);
}

static bool get_uints(const Loader *loader, const StateField *field, Stream *in, GError **error)
{
    uint8_t size = stream_get_u8(in);
    if (size != field->size || stream_left(in) != field->size * field->count) {
        return fail(loader, field->name, "has another size", error);
    }
    memcpy(loader->base + field->offset, in->at, field->size * field->count);
    in->at = in->end;
    return true;
}

static bool get_bool(const Loader *loader, const StateField *field, Stream *in, GError **error)
{
    uint8_t value = stream_get_u8(in);
    if (!stream_done(in) || value > 1) {
        return fail(loader, field->name, "is not a boolean", error);
    }
    *(bool *)(loader->base + field->offset) = value;
    return true;
}

static bool get_buffer(const Loader *loader, const StateField *field, Stream *in, GError **error)
{
    if (stream_left(in) != field->size) {
        return fail(loader, field->name, "has another size", error);
    }
    memcpy(loader->base + field->offset, in->at, field->size);
    in->at = in->end;
    return true;
}

static bool get_vbuffer(const Loader *loader, const StateField *field, Stream *in, GError **error)
{
    size_t length = stream_left(in);
    if (length > field->size) {
        return fail(loader, field->name, "is longer than the device takes", error);
    }
    uint8_t **at = (uint8_t **)(void *)(loader->base + field->offset);
    g_free(*at);
    *at = length ? g_memdup2(in->at, length) : NULL;
    uint32_t stored = (uint32_t)length;
    memcpy(loader->base + field->count_offset, &stored, sizeof(stored));
    in->at = in->end;
    return true;
}

static bool get_timer(const Loader *loader, const StateField *field, Stream *in, GError **error)
{
    uint8_t armed = stream_get_u8(in);
    int64_t expires = (int64_t)stream_get_u64(in);
    if (!stream_done(in) || armed > 1) {
        return fail(loader, field->name, "is not a timer", error);
    }
    Timer *timer = (Timer *)(void *)(loader->base + field->offset);
    if (timer->lock) {
        g_mutex_lock(timer->lock);
    }
    if (armed) {
        int64_t when;
        bool overflow = __builtin_add_overflow(expires, timer_base(timer), &when);
        timer_arm(timer, overflow ? INT64_MAX : MAX(when, 0));
    } else {
        timer_cancel(timer);
    }
    if (timer->lock) {
        g_mutex_unlock(timer->lock);
    }
    return true;
}

static bool get_structs(const Loader *loader, const StateField *field, Stream *in, GError **error)
{
    uint8_t *at = loader->base + field->offset;
    uint32_t expected = (uint32_t)field->count;
    if (field->kind == STATE_KIND_STRUCT_PTR) {
        at = *(uint8_t **)(void *)at;
        expected = read_count(loader->base, field);
    }
    if (stream_get_u32(in) != expected || in->bad) {
        return fail(loader, field->name, "has another number of elements", error);
    }
    for (uint32_t i = 0; i < expected; i++) {
        if (!load_section(field->section, at + i * field->size, in, loader->depth + 1, error)) {
            return false;
        }
    }
    return stream_done(in) || fail(loader, field->name, "has bytes left over", error);
}

static bool get_field(const Loader *loader, const StateField *field, Stream *in, GError **error)
{
    switch (field->kind) {
    case STATE_KIND_UINT:
        return get_uints(loader, field, in, error);
    case STATE_KIND_BOOL:
        return get_bool(loader, field, in, error);
    case STATE_KIND_BUFFER:
        return get_buffer(loader, field, in, error);
    case STATE_KIND_VBUFFER:
        return get_vbuffer(loader, field, in, error);
    case STATE_KIND_TIMER:
        return get_timer(loader, field, in, error);
    case STATE_KIND_STRUCT:
    case STATE_KIND_STRUCT_PTR:
        return get_structs(loader, field, in, error);
    }
    return fail(loader, field->name, "has an unknown kind", error);
}

static const StateSection *find_subsection(const StateSection *section, const char *name)
{
    for (const StateSection *const *sub = section->subsections; sub && *sub; sub++) {
        if (strcmp((*sub)->name, name) == 0) {
            return *sub;
        }
    }
    return NULL;
}

/* One item; *index is the table's place from which the next field may come: fields stand in table
 * order, so that none can come twice. */
static bool load_item(const Loader *loader, Stream *in, size_t *index, GError **error)
{
    char name[STREAM_NAME_SIZE];
    uint8_t kind = stream_get_u8(in);
    stream_get_name(in, name);
    Stream payload = stream_get_part(in);
    if (in->bad) {
        return fail(loader, "", "is cut short", error);
    }
    if (kind == ITEM_SUBSECTION) {
        const StateSection *sub = find_subsection(loader->section, name);
        if (!sub) {
            return fail(loader, name, "is a part that this version does not know", error);
        }
        return load_section(sub, loader->base, &payload, loader->depth + 1, error);
    }
    const StateField *fields = loader->section->fields;
    for (; fields && fields[*index].name; (*index)++) {
        const StateField *field = &fields[*index];
        if (strcmp(field->name, name) == 0) {
            (*index)++;
            return kind == field->kind ? get_field(loader, field, &payload, error)
                                       : fail(loader, name, "is of another kind", error);
        }
        if (field->since <= loader->version) {
            return fail(loader, field->name, "is missing", error);
        }
    }
    return fail(loader, name, "is not known to this version, or comes twice", error);
}

static bool load_section(const StateSection *section, void *base, Stream *in, unsigned depth,
                         GError **error)
{
    Loader loader = { .section = section, .base = base, .depth = depth };
    char name[STREAM_NAME_SIZE];
    stream_get_name(in, name);
    loader.version = stream_get_u16(in);
    Stream body = stream_get_part(in);
    if (in->bad || depth > MAX_DEPTH) {
        return error_set(error, "saved state: section '%s' is cut short", section->name);
    }
    if (strcmp(name, section->name) != 0) {
        return error_set(error, "saved state: found section '%s' where '%s' was expected", name,
                         section->name);
    }
    if (loader.version > section->version) {
        return error_set(error,
                         "saved state: section '%s' has version %u, newer than this program's %u",
                         name, loader.version, section->version);
    }
    size_t index = 0;
    while (stream_left(&body)) {
        if (!load_item(&loader, &body, &index, error)) {
            return false;
        }
    }
    for (const StateField *field = section->fields; field && field[index].name; index++) {
        if (field[index].since <= loader.version) {
            return fail(&loader, field[index].name, "is missing", error);
        }
    }
    return !section->post_load || section->post_load(base, loader.version, error);
}

bool state_load(const StateSection *section, void *base, const uint8_t **cursor, const uint8_t *end,
                GError **error)
{
    Stream in = { .at = *cursor, .end = end };
    if (!load_section(section, base, &in, 0, error)) {
        return false;
    }
    *cursor = in.at;
    return true;
}

/* ---- Showing ---- */

static void dump_section(const StateSection *section, const uint8_t *base, unsigned depth,
                         GString *out);

static void dump_bytes(const uint8_t *data, size_t length, GString *out)
{
    for (size_t i = 0; i < MIN(length, 32); i++) {
        g_string_append_printf(out, "%02x", data[i]);
    }
    g_string_append_printf(out, length > 32 ? "... (%zu bytes)\n" : "\n", length);
}

static void dump_field(const StateField *field, const uint8_t *base, unsigned depth, GString *out)
{
    const uint8_t *at = base + field->offset;
    uint32_t count = (uint32_t)field->count;
    g_string_append_printf(out, "%*s%s:", (int)depth * 2, "", field->name);
    switch (field->kind) {
    case STATE_KIND_UINT:
        for (size_t i = 0; i < MIN(field->count, 16); i++) {
            uint64_t value = 0;
            memcpy(&value, at + i * field->size, field->size);
            g_string_append_printf(out, " 0x%" G_GINT64_MODIFIER "x", value);
        }
        g_string_append(out, field->count > 16 ? " ...\n" : "\n");
        return;
    case STATE_KIND_BOOL:
        g_string_append(out, *(const bool *)at ? " true\n" : " false\n");
        return;
    case STATE_KIND_BUFFER:
        g_string_append_c(out, ' ');
        dump_bytes(at, field->size, out);
        return;
    case STATE_KIND_VBUFFER:
        g_string_append_c(out, ' ');
        dump_bytes(*(uint8_t *const *)(const void *)at, read_count(base, field), out);
        return;
    case STATE_KIND_TIMER:
        g_string_append_printf(out, " %" G_GINT64_FORMAT "\n",
                               timer_expires((const Timer *)(const void *)at));
        return;
    case STATE_KIND_STRUCT_PTR:
        at = *(uint8_t *const *)(const void *)at;
        count = read_count(base, field);
        break;
    case STATE_KIND_STRUCT:
        break;
    }
    g_string_append_c(out, '\n');
    for (uint32_t i = 0; i < count; i++) {
        dump_section(field->section, at + i * field->size, depth + 1, out);
    }
}

static void dump_section(const StateSection *section, const uint8_t *base, unsigned depth,
                         GString *out)
{
    for (const StateField *field = section->fields; field && field->name; field++) {
        dump_field(field, base, depth, out);
    }
    for (const StateSection *const *sub = section->subsections; sub && *sub; sub++) {
        if (!(*sub)->needed || (*sub)->needed(base)) {
            dump_section(*sub, base, depth + 1, out);
        }
    }
}

void state_dump(const StateSection *section, const void *base, GString *out)
{
    dump_section(section, base, 0, out);
}
