/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What shells need to complete the command line, made from the table of options: shell functions
 * that know each option's name and the words that its argument is made of. scripts/completion has
 * what is around them.
 */
#include "vmm/cli/cli.h"

#include <string.h>
#include "vmm/cli/option_handlers.h"
#include "vmm/cli/params.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789-_."

static void add_word(GPtrArray *words, char *word)
{
    if (g_ptr_array_find_with_equal_func(words, word, g_str_equal, NULL)) {
        g_free(word);
    } else {
        g_ptr_array_add(words, word);
    }
}

/* Of an argument's form, words in capitals stand for something else. */
static bool is_literal(const char *word)
{
    return g_ascii_isalnum(word[0]) && strspn(word, LOWER) == strlen(word);
}

static bool has_key(const GPtrArray *words, const char *key)
{
    for (guint i = 0; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        size_t len = strlen(key);
        if (strncmp(word, key, len) == 0 && word[len] == '=') {
            return true;
        }
    }
    return false;
}

/* "menu=on|off", "kvm|qtest", "cpus=N": the words that it allows. *key is NULL or the key that
 * values without one of their own belong to. */
static void add_alternatives(GPtrArray *words, const char *segment, char **key)
{
    g_auto(GStrv) pieces = g_strsplit(segment, "|", -1);
    for (char **piece = pieces; *piece; piece++) {
        const char *equals = strchr(*piece, '=');
        const char *value = equals ? equals + 1 : *piece;
        if (equals) {
            g_free(*key);
            *key = g_strndup(*piece, (gsize)(equals - *piece));
        }
        if (*key && !is_literal(*key)) {
            continue;
        }
        if (is_literal(value)) {
            add_word(words, *key ? g_strconcat(*key, "=", value, NULL) : g_strdup(value));
        } else if (*key && *value && !has_key(words, *key)) {
            add_word(words, g_strconcat(*key, "=", NULL));
        }
    }
}

/* "[accel=]kvm|qtest[,kernel-irqchip=on|split]": a key in brackets may be left out. */
static void add_form(GPtrArray *words, const char *form)
{
    g_auto(GStrv) segments = g_strsplit_set(form, "[], ", -1);
    g_autofree char *implied = NULL;
    for (char **segment = segments; *segment; segment++) {
        size_t len = strlen(*segment);
        if (len == 0) {
            continue;
        }
        if ((*segment)[len - 1] == '=') {
            g_free(implied);
            implied = g_strndup(*segment, len - 1);
            continue;
        }
        char *key = NULL;
        add_alternatives(words, *segment, &key);
        g_free(key);
        if (implied && !strchr(*segment, '=')) {
            add_alternatives(words, *segment, &implied);
        }
        g_clear_pointer(&implied, g_free);
    }
}

/* The keys of query-command-line-options. */
static void add_group(GPtrArray *words, const char *group)
{
    json_object *list = cli_params_to_json(group, NULL);
    json_object *params, *name, *type;
    if (!list) {
        return;
    }
    json_object_object_get_ex(json_object_array_get_idx(list, 0), "parameters", &params);
    for (size_t i = 0; i < json_object_array_length(params); i++) {
        json_object *param = json_object_array_get_idx(params, i);
        json_object_object_get_ex(param, "name", &name);
        json_object_object_get_ex(param, "type", &type);
        const char *key = json_object_get_string(name);
        if (has_key(words, key)) {
            continue;
        }
        if (g_str_equal(json_object_get_string(type), "boolean")) {
            add_word(words, g_strconcat(key, "=on", NULL));
            add_word(words, g_strconcat(key, "=off", NULL));
        } else {
            add_word(words, g_strconcat(key, "=", NULL));
        }
    }
    json_object_put(list);
}

static const char *kind_of(const CliOption *option)
{
    static const char *const kinds[][2] = {
        { "FILE", "file" }, { "PATH", "file" }, { "DIR", "directory" }, { "DEV", "chardev" }
    };
    for (size_t i = 0; option->arg && i < G_N_ELEMENTS(kinds); i++) {
        if (g_str_equal(option->arg, kinds[i][0])) {
            return kinds[i][1];
        }
    }
    return option->arg ? "words" : "flag";
}

static void append_option(GString *out, const CliOption *option)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    const char *kind = kind_of(option);
    if (g_str_equal(kind, "words")) {
        add_form(words, option->arg);
        if (option->group) {
            add_group(words, option->group);
        }
    }
    g_ptr_array_add(words, NULL);
    g_autofree char *all = g_strjoinv(" ", (char **)words->pdata);
    g_string_append_printf(out, "    -%s%s%s) kind=%s words='%s' ;;\n", option->name,
                           option->alias ? "|-" : "", option->alias ? option->alias : "", kind,
                           all);
}

void cli_completion(GString *out)
{
    g_string_append(out, "_vireo_options() {\n    echo \"");
    for (const CliOption *option = cli_options; option->name; option++) {
        g_string_append_printf(out, "-%s%s%s ", option->name, option->alias ? " -" : "",
                               option->alias ? option->alias : "");
    }
    g_string_append(out, "\"\n}\n\n_vireo_option() {\n    case $1 in\n");
    for (const CliOption *option = cli_options; option->name; option++) {
        append_option(out, option);
    }
    g_string_append(out, "    *) kind=none words='' ;;\n    esac\n}\n");
}
