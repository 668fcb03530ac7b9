/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option strings in QEMU's syntax and their JSON form, flattened to dotted keys. */
#include "vmm/cli/opts.h"

#include <string.h>
#include "vmm/error.h"
#include "vmm/util/json.h"

/* Bounds for hostile option texts and JSON. */
#define OPTS_MAX_ENTRIES 4096
#define OPTS_MAX_DEPTH   32

typedef struct OptEntry {
    char *key;
    char *value;
    bool used;
} OptEntry;

struct Opts {
    GArray *entries; /* OptEntry */
};

static void opt_entry_clear(void *data)
{
    OptEntry *entry = data;
    g_free(entry->key);
    g_free(entry->value);
}

Opts *opts_new(void)
{
    Opts *opts = g_new0(Opts, 1);
    opts->entries = g_array_new(FALSE, FALSE, sizeof(OptEntry));
    g_array_set_clear_func(opts->entries, opt_entry_clear);
    return opts;
}

void opts_free(Opts *opts)
{
    if (opts) {
        g_array_unref(opts->entries);
        g_free(opts);
    }
}

static OptEntry *opts_entry(const Opts *opts, guint i)
{
    return &g_array_index(opts->entries, OptEntry, i);
}

static void opts_append(Opts *opts, char *key, char *value)
{
    OptEntry entry = { .key = key, .value = value };
    g_array_append_val(opts->entries, entry);
}

/* Reads up to the next single comma, turning ",," into ","; *text is left behind it. */
static char *take_value(const char **text)
{
    GString *value = g_string_new(NULL);
    const char *p = *text;
    while (*p && !(p[0] == ',' && p[1] != ',')) {
        p += p[0] == ',';
        g_string_append_c(value, *p++);
    }
    *text = *p ? p + 1 : p;
    return g_string_free(value, FALSE);
}

/* A bare word: "server" means server=on, "nowait" means wait=off. */
static void append_flag(Opts *opts, char *word)
{
    bool negated = g_str_has_prefix(word, "no") && word[2] && !g_str_equal(word, "nodelay") &&
                   !g_str_equal(word, "none");
    if (negated) {
        opts_append(opts, g_strdup(word + 2), g_strdup("off"));
        g_free(word);
    } else {
        opts_append(opts, word, g_strdup("on"));
    }
}

static bool opts_parse_text(Opts *opts, const char *text, const char *implied, GError **error)
{
    bool first = true;
    const char *p = text;
    while (*p) {
        size_t word = strcspn(p, "=,");
        if (p[word] == '=') {
            if (word == 0) {
                return error_set(error, "Invalid parameter '': an option name is missing in '%s'",
                                 text);
            }
            char *key = g_strndup(p, word);
            p += word + 1;
            opts_append(opts, key, take_value(&p));
        } else if (first && implied) {
            opts_append(opts, g_strdup(implied), take_value(&p));
        } else {
            char *flag = take_value(&p);
            if (!*flag) {
                g_free(flag);
                return error_set(error, "Invalid parameter '': an option name is missing in '%s'",
                                 text);
            }
            append_flag(opts, flag);
        }
        first = false;
        if (opts->entries->len > OPTS_MAX_ENTRIES) {
            return error_set(error, "more than %d options in one argument", OPTS_MAX_ENTRIES);
        }
    }
    return true;
}

static bool opts_flatten(Opts *opts, const char *prefix, json_object *value, int depth,
                         GError **error);

static bool opts_flatten_children(Opts *opts, const char *prefix, json_object *value, int depth,
                                  GError **error)
{
    if (json_object_is_type(value, json_type_array)) {
        size_t count = json_object_array_length(value);
        for (size_t i = 0; i < count; i++) {
            g_autofree char *key = g_strdup_printf("%s.%zu", prefix, i);
            if (!opts_flatten(opts, key, json_object_array_get_idx(value, i), depth + 1, error)) {
                return false;
            }
        }
        return true;
    }
    json_object_object_foreach(value, name, child)
    {
        g_autofree char *key = *prefix ? g_strdup_printf("%s.%s", prefix, name) : g_strdup(name);
        if (!opts_flatten(opts, key, child, depth + 1, error)) {
            return false;
        }
    }
    return true;
}

static bool opts_flatten(Opts *opts, const char *prefix, json_object *value, int depth,
                         GError **error)
{
    if (depth > OPTS_MAX_DEPTH || opts->entries->len > OPTS_MAX_ENTRIES) {
        return error_set(error, "'%.64s': the JSON value is nested too deeply or too large",
                         prefix);
    }
    switch (json_object_get_type(value)) {
    case json_type_object:
    case json_type_array:
        return opts_flatten_children(opts, prefix, value, depth, error);
    case json_type_boolean:
        opts_append(opts, g_strdup(prefix),
                    g_strdup(json_object_get_boolean(value) ? "on" : "off"));
        return true;
    case json_type_null:
        if (g_str_equal(prefix, "backing") || g_str_has_suffix(prefix, ".backing")) {
            opts_append(opts, g_strdup(prefix), g_strdup("")); /* "none", of block nodes */
            return true;
        }
        return error_set(error, "Invalid parameter type for '%s', null is not expected", prefix);
    default:
        opts_append(opts, g_strdup(prefix), g_strdup(json_object_get_string(value)));
        return true;
    }
}

Opts *opts_from_json(json_object *object, GError **error)
{
    if (!json_object_is_type(object, json_type_object)) {
        error_set(error, "a JSON object is expected");
        return NULL;
    }
    g_autoptr(Opts) opts = opts_new();
    return opts_flatten(opts, "", object, 0, error) ? g_steal_pointer(&opts) : NULL;
}

Opts *opts_parse_json(const char *text, GError **error)
{
    json_object *object;
    if (!json_parse(text, &object, error)) {
        return NULL;
    }
    Opts *opts = opts_from_json(object, error);
    json_object_put(object);
    return opts;
}

Opts *opts_parse(const char *text, const char *implied, GError **error)
{
    if (text[0] == '{') {
        return opts_parse_json(text, error);
    }
    g_autoptr(Opts) opts = opts_new();
    return opts_parse_text(opts, text, implied, error) ? g_steal_pointer(&opts) : NULL;
}

const char *opts_get(Opts *opts, const char *key)
{
    const char *value = NULL;
    for (guint i = 0; i < opts->entries->len; i++) {
        OptEntry *entry = opts_entry(opts, i);
        if (g_str_equal(entry->key, key)) {
            entry->used = true;
            value = entry->value;
        }
    }
    return value;
}

bool opts_has(Opts *opts, const char *key)
{
    for (guint i = 0; i < opts->entries->len; i++) {
        if (g_str_equal(opts_entry(opts, i)->key, key)) {
            return true;
        }
    }
    return false;
}

void opts_remove(Opts *opts, const char *key)
{
    for (guint i = opts->entries->len; i-- > 0;) {
        if (g_str_equal(opts_entry(opts, i)->key, key)) {
            g_array_remove_index(opts->entries, i);
        }
    }
}

void opts_set(Opts *opts, const char *key, const char *value)
{
    char *copy = g_strdup(value); /* may point into an entry that goes away */
    opts_remove(opts, key);
    opts_append(opts, g_strdup(key), copy);
}

bool opts_get_bool(Opts *opts, const char *key, bool *value, GError **error)
{
    const char *text = opts_get(opts, key);
    if (text && !parse_bool(text, value)) {
        return error_set(error, "Parameter '%s' expects 'on' or 'off', not '%s'", key, text);
    }
    return true;
}

bool opts_get_uint(Opts *opts, const char *key, uint64_t max, uint64_t *value, GError **error)
{
    const char *text = opts_get(opts, key);
    if (text && !parse_uint(text, max, value)) {
        return error_set(
            error, "Parameter '%s' expects a number from 0 to %" G_GUINT64_FORMAT ", not '%s'", key,
            max, text);
    }
    return true;
}

bool opts_get_size(Opts *opts, const char *key, uint64_t *value, GError **error)
{
    const char *text = opts_get(opts, key);
    if (text && !parse_size(text, 1, value)) {
        return error_set(error,
                         "Parameter '%s' expects a size (a number with an optional suffix k, M, G, "
                         "T, P or E), not '%s'",
                         key, text);
    }
    return true;
}

bool opts_get_enum(Opts *opts, const char *key, const char *const *names, int *value,
                   GError **error)
{
    const char *text = opts_get(opts, key);
    if (!text) {
        return true;
    }
    for (int i = 0; names[i]; i++) {
        if (g_str_equal(names[i], text)) {
            *value = i;
            return true;
        }
    }
    g_autofree char *all = g_strjoinv(", ", (char **)names);
    return error_set(error, "'%s' cannot be '%s' (it takes: %s)", key, text, all);
}

/* "key" itself, or "key.N". */
static bool key_is_element(const char *entry_key, const char *key)
{
    size_t len = strlen(key);
    if (strncmp(entry_key, key, len) != 0) {
        return false;
    }
    const char *rest = entry_key + len;
    return !*rest ||
           (rest[0] == '.' && rest[1] && strspn(rest + 1, "0123456789") == strlen(rest + 1));
}

void opts_foreach(Opts *opts, const char *key, void (*fn)(const char *value, void *opaque),
                  void *opaque)
{
    for (guint i = 0; i < opts->entries->len; i++) {
        OptEntry *entry = opts_entry(opts, i);
        if (key_is_element(entry->key, key)) {
            entry->used = true;
            fn(entry->value, opaque);
        }
    }
}

void opts_foreach_all(Opts *opts, void (*fn)(const char *key, const char *value, void *opaque),
                      void *opaque)
{
    for (guint i = 0; i < opts->entries->len; i++) {
        OptEntry *entry = opts_entry(opts, i);
        entry->used = true;
        fn(entry->key, entry->value, opaque);
    }
}

void opts_foreach_unused(Opts *opts, void (*fn)(const char *key, const char *value, void *opaque),
                         void *opaque)
{
    for (guint i = 0; i < opts->entries->len; i++) {
        OptEntry *entry = opts_entry(opts, i);
        if (!entry->used) {
            fn(entry->key, entry->value, opaque);
        }
    }
}

Opts *opts_take_prefix(Opts *opts, const char *prefix)
{
    g_autofree char *start = g_strconcat(prefix, ".", NULL);
    Opts *taken = NULL;
    for (guint i = 0; i < opts->entries->len; i++) {
        OptEntry *entry = opts_entry(opts, i);
        if (g_str_has_prefix(entry->key, start)) {
            taken = taken ? taken : opts_new();
            entry->used = true;
            opts_append(taken, g_strdup(entry->key + strlen(start)), g_strdup(entry->value));
        }
    }
    return taken;
}

bool opts_check_unused(Opts *opts, const char *what, const char *const *known, GError **error)
{
    for (guint i = 0; i < opts->entries->len; i++) {
        OptEntry *entry = opts_entry(opts, i);
        if (!entry->used) {
            g_autofree char *near = known ? suggest_nearest(entry->key, known) : NULL;
            return error_set(error, "%s: unknown option '%s'%s%s%s", what, entry->key,
                             near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
        }
    }
    return true;
}

static json_object *json_child(json_object *parent, const char *name)
{
    json_object *child = NULL;
    if (!json_object_object_get_ex(parent, name, &child) ||
        !json_object_is_type(child, json_type_object)) {
        child = json_object_new_object();
        json_object_object_add(parent, name, child);
    }
    return child;
}

/* Objects whose keys are 0, 1, 2 ... become lists. Returns the (possibly new) value, owned by the
 * caller. */
static json_object *json_listify(json_object *value)
{
    if (!json_object_is_type(value, json_type_object)) {
        return json_object_get(value);
    }
    json_object *copy = json_object_new_object();
    json_object_object_foreach(value, name, child)
    {
        json_object_object_add(copy, name, json_listify(child));
    }
    int count = json_object_object_length(copy);
    json_object *list = json_object_new_array();
    for (int i = 0; i < count; i++) {
        char index[16];
        g_snprintf(index, sizeof(index), "%d", i);
        json_object *element;
        if (!json_object_object_get_ex(copy, index, &element)) {
            json_object_put(list);
            return copy;
        }
        json_object_array_add(list, json_object_get(element));
    }
    if (count == 0) {
        json_object_put(list);
        return copy;
    }
    json_object_put(copy);
    return list;
}

json_object *opts_to_json(Opts *opts)
{
    json_object *flat = json_object_new_object();
    for (guint i = 0; i < opts->entries->len; i++) {
        OptEntry *entry = opts_entry(opts, i);
        entry->used = true;
        g_auto(GStrv) parts = g_strsplit(entry->key, ".", OPTS_MAX_DEPTH);
        json_object *parent = flat;
        char **part = parts;
        for (; part[0] && part[1]; part++) {
            parent = json_child(parent, part[0]);
        }
        json_object_object_add(parent, part[0] ? part[0] : "",
                               json_object_new_string(entry->value));
    }
    json_object *result = json_listify(flat);
    json_object_put(flat);
    return result;
}
