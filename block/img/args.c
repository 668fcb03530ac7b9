/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of a command, read by its table of options. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "block/img/img.h"
#include "vmm/object/object.h"

#define LONG_BASE 256

static const ImgOption help_option = IMG_OPTION_HELP;

static void add_long(GArray *longs, const ImgOption *option, int value)
{
    if (option->name) {
        struct option row = { option->name, option->arg ? required_argument : no_argument, NULL,
                              value };
        g_array_append_val(longs, row);
    }
}

static const ImgOption *find_option(const ImgCommand *command, int value)
{
    for (int i = 0; command->options[i].help; i++) {
        if (value == LONG_BASE + i || value == command->options[i].letter) {
            return &command->options[i];
        }
    }
    return value == help_option.letter ? &help_option : NULL;
}

static bool refuse_option(int value, char **argv)
{
    char letter[3] = { '-', (char)optopt, 0 };
    bool is_long = optind > 0 && argv[optind - 1] && !strncmp(argv[optind - 1], "--", 2);
    const char *name = is_long ? argv[optind - 1] : letter;
    img_usage_error(
        value == ':' ? "option '%s' needs a value behind it" : "there is no option '%s'", name);
    return false;
}

bool img_args_parse(ImgArgs *args, const ImgCommand *command, int argc, char **argv)
{
    g_autoptr(GString) shorts = g_string_new(":h");
    g_autoptr(GArray) longs = g_array_new(TRUE, TRUE, sizeof(struct option));
    *args = (ImgArgs){ .command = command, .given = g_array_new(FALSE, FALSE, sizeof(ImgGiven)) };
    for (int i = 0; command->options[i].help; i++) {
        const ImgOption *o = &command->options[i];
        if (o->letter) {
            g_string_append_printf(shorts, "%c%s", o->letter, o->arg ? ":" : "");
        }
        add_long(longs, o, LONG_BASE + i);
    }
    add_long(longs, &help_option, 'h');
    /* "-10M" at the end is a size, as resize takes it. */
    int held = argc > 1 && argv[argc - 1][0] == '-' && g_ascii_isdigit(argv[argc - 1][1]);
    optind = 0;
    int value;
    while ((value = getopt_long(argc - held, argv, shorts->str,
                                (struct option *)(void *)longs->data, NULL)) != -1) {
        const ImgOption *option = find_option(command, value);
        if (!option) {
            return refuse_option(value, argv);
        }
        ImgGiven given = { option, optarg };
        g_array_append_val(args->given, given);
    }
    args->words = argv + optind;
    args->count = argc - optind;
    return true;
}

void img_args_clear(ImgArgs *args)
{
    g_array_unref(args->given);
}

static bool is_key(const ImgOption *option, const char *key)
{
    return (option->name && !strcmp(option->name, key)) || (option->letter == key[0] && !key[1]);
}

unsigned img_times(const ImgArgs *args, const char *key)
{
    unsigned times = 0;
    for (guint i = 0; i < args->given->len; i++) {
        times += is_key(g_array_index(args->given, ImgGiven, i).option, key);
    }
    return times;
}

bool img_has(const ImgArgs *args, const char *key)
{
    return img_times(args, key) > 0;
}

const char *img_value(const ImgArgs *args, const char *key)
{
    const char *value = NULL;
    for (guint i = 0; i < args->given->len; i++) {
        const ImgGiven *given = &g_array_index(args->given, ImgGiven, i);
        value = is_key(given->option, key) ? given->value : value;
    }
    return value;
}

static void append_option_help(const ImgOption *o, GString *out)
{
    g_autoptr(GString) left = g_string_new("  ");
    if (o->letter) {
        g_string_append_printf(left, "-%c%s", o->letter, o->name ? ", " : "");
    }
    if (o->name) {
        g_string_append_printf(left, "--%s", o->name);
    }
    if (o->arg) {
        g_string_append_printf(left, "%c%s", o->name ? '=' : ' ', o->arg);
    }
    g_string_append_printf(out, "%-26s %s\n", left->str, o->help);
}

void img_command_help(const ImgCommand *command, GString *out)
{
    g_string_append_printf(out, "usage: vireo-img %s [options] %s\n%s\n\n", command->name,
                           command->words, command->help);
    for (const ImgOption *o = command->options; o->help; o++) {
        append_option_help(o, out);
    }
    append_option_help(&help_option, out);
}

bool img_expect_words(const ImgArgs *args, int count, const char *message)
{
    if (args->count == count) {
        return true;
    }
    img_usage_error("%s", message);
    return false;
}

bool img_output_is_json(const ImgArgs *args, bool *json)
{
    const char *output = img_value(args, "output");
    *json = output && !strcmp(output, "json");
    if (output && !*json && strcmp(output, "human") != 0) {
        report_error("--output: human or json, nothing else");
        return false;
    }
    return true;
}

bool img_make_objects(const ImgArgs *args)
{
    GError *error = NULL;
    for (guint i = 0; i < args->given->len; i++) {
        const ImgGiven *given = &g_array_index(args->given, ImgGiven, i);
        if (is_key(given->option, "object") && !object_create_from_text(given->value, &error)) {
            img_fail(error);
            return false;
        }
    }
    return true;
}

bool img_wants_options_help(const ImgArgs *args)
{
    for (guint i = 0; i < args->given->len; i++) {
        const ImgGiven *given = &g_array_index(args->given, ImgGiven, i);
        if (!is_key(given->option, "o")) {
            continue;
        }
        g_auto(GStrv) parts = g_strsplit(given->value, ",", 0);
        if (g_strv_contains((const char *const *)parts, "help") ||
            g_strv_contains((const char *const *)parts, "?")) {
            return true;
        }
    }
    return false;
}

static void take_option(const char *key, const char *value, void *opaque)
{
    opts_set(opaque, key, value);
}

Opts *img_format_options(const ImgArgs *args)
{
    Opts *all = opts_new();
    for (guint i = 0; i < args->given->len; i++) {
        const ImgGiven *given = &g_array_index(args->given, ImgGiven, i);
        GError *error = NULL;
        if (!is_key(given->option, "o")) {
            continue;
        }
        g_autoptr(Opts) one = opts_parse(given->value, NULL, &error);
        if (!one) {
            img_fail(error);
            opts_free(all);
            return NULL;
        }
        opts_foreach_all(one, take_option, all);
    }
    return all;
}

bool img_parse_size(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    if (!parse_size(text, 1, out)) {
        report_error(
            "%s: that is no size. It is a number of bytes, or one with a letter behind it:", what);
        report_error("k (1024 bytes), M, G, T, P or E, each 1024 times the one before.");
        return false;
    }
    if (*out < min || *out > max) {
        report_error("%s: it has to lie between %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT, what,
                     min, max);
        return false;
    }
    return true;
}
