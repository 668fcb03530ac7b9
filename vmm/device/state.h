/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device state: the fields of a device that survive a snapshot, described by constant tables. A
 * saved section is self-describing (names, sizes), so that a reader can name what does not fit; a
 * stream is hostile input.
 */
#ifndef VMM_DEVICE_STATE_H
#define VMM_DEVICE_STATE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vmm/event/loop.h"

typedef struct StateSection StateSection;

typedef enum StateKind {
    STATE_KIND_UINT, /* size 1, 2, 4, 8, count elements */
    STATE_KIND_BOOL,
    STATE_KIND_BUFFER,  /* size bytes as they are */
    STATE_KIND_VBUFFER, /* uint8_t * whose length is the uint32_t at count_offset, at most `size`;
                           loaded with g_malloc */
    STATE_KIND_TIMER,   /* Timer: its expiry */
    STATE_KIND_STRUCT,  /* count structs of `size` bytes described by section */
    STATE_KIND_STRUCT_PTR, /* pointer to an array of structs; count from the uint32_t at
                              count_offset, which is set at realize */
} StateKind;

typedef struct StateField {
    const char *name; /* NULL ends the table */
    StateKind kind;
    size_t offset;
    size_t size;
    size_t count;
    size_t count_offset;
    uint16_t since; /* the section's version that brought it; older streams lack it and its reset
                       value stays */
    const StateSection *section;
} StateField;

struct StateSection {
    const char *name;
    uint16_t version; /* of what is written; streams of newer versions are refused */
    const StateField *fields;
    const StateSection *const *subsections; /* NULL-terminated */
    bool (*needed)(const void *base);       /* subsections: NULL is always */
    void (*pre_save)(void *base);
    bool (*post_load)(void *base, uint16_t version,
                      GError **error); /* checks what was loaded, recomputes the rest */
};

#define STATE_FIELD(_s, _f, _kind, ...)                                                            \
    {                                                                                              \
        .name = #_f, .kind = (_kind), .offset = offsetof(_s, _f), __VA_ARGS__                      \
    }
#define STATE_FIELD_SIZE(_s, _f) sizeof(((_s *)0)->_f)
/* Any unsigned or signed integer (or enum) field, by its own size. */
#define STATE_INT(_s, _f)                                                                          \
    STATE_FIELD(_s, _f, STATE_KIND_UINT, .size = STATE_FIELD_SIZE(_s, _f), .count = 1)
#define STATE_INT_ARRAY(_s, _f)                                                                    \
    STATE_FIELD(_s, _f, STATE_KIND_UINT, .size = STATE_FIELD_SIZE(_s, _f[0]),                      \
                .count = G_N_ELEMENTS(((_s *)0)->_f))
#define STATE_BOOL(_s, _f) STATE_FIELD(_s, _f, STATE_KIND_BOOL, .size = 1, .count = 1)
#define STATE_BUFFER(_s, _f)                                                                       \
    STATE_FIELD(_s, _f, STATE_KIND_BUFFER, .size = STATE_FIELD_SIZE(_s, _f))
#define STATE_VBUFFER(_s, _f, _len, _max)                                                          \
    STATE_FIELD(_s, _f, STATE_KIND_VBUFFER, .size = (_max), .count_offset = offsetof(_s, _len))
#define STATE_TIMER(_s, _f) STATE_FIELD(_s, _f, STATE_KIND_TIMER)
#define STATE_STRUCT(_s, _f, _sec)                                                                 \
    STATE_FIELD(_s, _f, STATE_KIND_STRUCT, .size = STATE_FIELD_SIZE(_s, _f), .count = 1,           \
                .section = (_sec))
#define STATE_STRUCT_ARRAY(_s, _f, _sec)                                                           \
    STATE_FIELD(_s, _f, STATE_KIND_STRUCT, .size = STATE_FIELD_SIZE(_s, _f[0]),                    \
                .count = G_N_ELEMENTS(((_s *)0)->_f), .section = (_sec))
#define STATE_STRUCT_PTR(_s, _f, _count, _sec)                                                     \
    STATE_FIELD(_s, _f, STATE_KIND_STRUCT_PTR, .size = STATE_FIELD_SIZE(_s, _f[0]),                \
                .count_offset = offsetof(_s, _count), .section = (_sec))
#define STATE_END                                                                                  \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* Appends one section. Main thread, machine paused. */
void state_save(const StateSection *section, void *base, GByteArray *out);

/* Reads one section from [*cursor, end), advancing the cursor. On an error base may be half changed
 * and must be reset. */
bool state_load(const StateSection *section, void *base, const uint8_t **cursor, const uint8_t *end,
                GError **error);

/* The fields' present values as text lines "name: value", for `info` and failure messages. */
void state_dump(const StateSection *section, const void *base, GString *out);

#endif
