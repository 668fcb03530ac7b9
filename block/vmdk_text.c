/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text that describes a VMware disk: content ids, the parent, the extents. */
#include "block/vmdk.h"

#include <string.h>

static void clear_line(void *line)
{
    VmdkLine *l = line;
    g_free(l->type);
    g_free(l->name);
}

void vmdk_text_clear(VmdkText *text)
{
    g_clear_pointer(&text->create_type, g_free);
    g_clear_pointer(&text->parent_hint, g_free);
    g_clear_pointer(&text->lines, g_array_unref);
}

/* Takes the next word from *p: up to a space, or what stands in quotes. NULL: none is left, or a
 * quote has no end. */
static char *next_word(const char **p)
{
    const char *start = *p + strspn(*p, " \t");
    size_t n;
    if (*start == '"') {
        start++;
        n = strcspn(start, "\"");
        if (start[n] != '"') {
            return NULL;
        }
        *p = start + n + 1;
    } else {
        n = strcspn(start, " \t");
        *p = start + n;
        if (!n) {
            return NULL;
        }
    }
    return g_strndup(start, n);
}

static bool next_number(const char **p, uint64_t *value)
{
    g_autofree char *word = next_word(p);
    return word && parse_uint(word, INT64_MAX / 512, value);
}

static bool is_extent_line(const char *line)
{
    return g_str_has_prefix(line, "RW ") || g_str_has_prefix(line, "RDONLY ") ||
           g_str_has_prefix(line, "NOACCESS ");
}

static bool parse_extent(VmdkText *text, const char *line, GError **error)
{
    const char *p = line;
    VmdkLine l = { 0 };
    g_autofree char *access = next_word(&p);
    if (text->lines->len >= VMDK_EXTENTS) {
        return error_set(error, "more than %d extents", VMDK_EXTENTS);
    }
    if (!access || !strcmp(access, "NOACCESS")) {
        return error_set(error, "extent '%s' is not to be accessed", line);
    }
    bool sized = next_number(&p, &l.sectors);
    l.type = sized ? next_word(&p) : NULL;
    l.name = l.type ? next_word(&p) : NULL;
    if (!l.type || !l.sectors || (!l.name && strcmp(l.type, "ZERO") != 0)) {
        clear_line(&l);
        return error_set(error, "extent '%s' is not of the form: access sectors type \"file\"",
                         line);
    }
    const char *rest = p + strspn(p, " \t");
    if (*rest && !next_number(&p, &l.offset)) {
        clear_line(&l);
        return error_set(error, "extent '%s': its offset is not a number of sectors", line);
    }
    g_array_append_val(text->lines, l);
    return true;
}

static bool parse_cid(const char *key, const char *value, uint32_t *cid, GError **error)
{
    char *end;
    guint64 number = g_ascii_strtoull(value, &end, 16);
    if (!g_ascii_isxdigit(value[0]) || *end || number > UINT32_MAX) {
        return error_set(error, "%s '%s' is not a number of 8 hexadecimal digits", key, value);
    }
    *cid = (uint32_t)number;
    return true;
}

static bool parse_assignment(VmdkText *text, char *line, GError **error)
{
    char *equals = strchr(line, '=');
    if (!equals) {
        return true;
    }
    *equals = 0;
    const char *key = g_strstrip(line);
    char *value = g_strstrip(equals + 1);
    size_t n = strlen(value);
    if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
        value[n - 1] = 0;
        value++;
    }
    if (!strcmp(key, "CID")) {
        return parse_cid(key, value, &text->cid, error);
    }
    if (!strcmp(key, "parentCID")) {
        return parse_cid(key, value, &text->parent_cid, error);
    }
    char **field = !strcmp(key, "createType")           ? &text->create_type
                   : !strcmp(key, "parentFileNameHint") ? &text->parent_hint
                                                        : NULL;
    if (field) {
        g_free(*field);
        *field = g_strdup(value);
    }
    return true;
}

static bool parse_line(VmdkText *text, char *line, GError **error)
{
    g_strstrip(line);
    if (!*line || *line == '#') {
        return true;
    }
    return is_extent_line(line) ? parse_extent(text, line, error)
                                : parse_assignment(text, line, error);
}

bool vmdk_text_parse(VmdkText *text, const char *data, size_t length, GError **error)
{
    g_autofree char *copy = g_strndup(data, length);
    *text = (VmdkText){ .cid = VMDK_NO_PARENT, .parent_cid = VMDK_NO_PARENT };
    text->lines = g_array_new(FALSE, FALSE, sizeof(VmdkLine));
    g_array_set_clear_func(text->lines, clear_line);
    for (char *line = copy, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) {
            *next++ = 0;
        }
        if (!parse_line(text, line, error)) {
            vmdk_text_clear(text);
            return false;
        }
    }
    return true;
}
