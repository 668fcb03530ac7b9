/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -readconfig: options from a file with sections; -set: one more key of an earlier option. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "vmm/cli/option_handlers.h"

#define MAX_CONFIG_FILE (1U << 20)

/* ---- -set ---- */

/* The options of a group that the command line has so far, and the key that names one of them. */
static GPtrArray *find_list(const Cli *cli, const char *group, const char **id_key)
{
    const struct {
        const char *group, *id_key;
        GPtrArray *list;
    } lists[] = {
        { "audiodev", "id", cli->audiodevs }, { "blockdev", "node-name", cli->blockdevs },
        { "chardev", "id", cli->chardevs },   { "device", "id", cli->devices },
        { "drive", "id", cli->drives },       { "mon", "id", cli->mons },
        { "netdev", "id", cli->netdevs },     { "nic", "id", cli->nics },
        { "object", "id", cli->objects },     { "tpmdev", "id", cli->tpmdevs },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        if (g_str_equal(lists[i].group, group)) {
            *id_key = lists[i].id_key;
            return lists[i].list;
        }
    }
    return NULL;
}

/* Whose id begins `rest`, "ID.KEY": ids may have dots of their own, so the longest counts. */
static Opts *find_by_id(GPtrArray *list, const char *id_key, const char *rest, size_t *len)
{
    Opts *found = NULL;
    *len = 0;
    for (guint i = 0; i < list->len; i++) {
        Opts *opts = g_ptr_array_index(list, i);
        const char *id = opts_get(opts, id_key);
        size_t id_len = id ? strlen(id) : 0;
        if (id_len > *len && strncmp(rest, id, id_len) == 0 && rest[id_len] == '.') {
            found = opts;
            *len = id_len;
        }
    }
    return found;
}

bool cli_opt_set(Cli *cli, const char *value, GError **error)
{
    const char *dot = strchr(value, '.');
    const char *equals = strchr(value, '=');
    const char *second =
        dot && equals ? memchr(dot + 1, '.', (size_t)(MAX(equals, dot + 1) - dot - 1)) : NULL;
    if (!second || dot == value || second == dot + 1 || equals == second + 1) {
        return error_set(error, "GROUP.ID.KEY=VALUE is expected, such as device.disk0.serial=X1");
    }
    const char *id_key;
    g_autofree char *group = g_strndup(value, (gsize)(dot - value));
    GPtrArray *list = find_list(cli, group, &id_key);
    if (!list) {
        return error_set(error,
                         "'%s' is no group of options with ids: those are audiodev, blockdev, "
                         "chardev, device, drive, mon, netdev, nic, object, tpmdev",
                         group);
    }
    size_t len;
    Opts *opts = find_by_id(list, id_key, dot + 1, &len);
    if (!opts) {
        return error_set(error, "there is no -%s with %s=%.*s before it", group, id_key,
                         (int)(second - dot - 1), dot + 1);
    }
    const char *key_start = dot + 1 + len + 1;
    if (key_start >= equals) {
        return error_set(error, "the key is missing between the id and '='");
    }
    g_autofree char *key = g_strndup(key_start, (gsize)(equals - key_start));
    opts_set(opts, key, equals + 1);
    return true;
}

/* ---- -readconfig ---- */

/* A section: an option, whose argument is put together from the lines below. */
typedef struct Section {
    const CliOption *option; /* NULL: before the first section */
    GString *argument;
    unsigned line;
} Section;

static const CliOption *find_group(const char *group)
{
    for (const CliOption *option = cli_options; option->name; option++) {
        if (g_strcmp0(option->group, group) == 0) {
            return option;
        }
    }
    return NULL;
}

static bool unknown_group(const char *group, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const CliOption *option = cli_options; option->name; option++) {
        if (option->group) {
            g_ptr_array_add(names, (char *)option->group);
        }
    }
    g_ptr_array_add(names, NULL);
    g_autofree char *near = suggest_nearest(group, (const char *const *)names->pdata);
    g_autofree char *all = g_strjoinv(", ", (char **)names->pdata);
    return near ? error_set(error, "[%s]: there is no such section (did you mean '%s'?)", group,
                            near)
                : error_set(error, "[%s]: there is no such section: they are %s", group, all);
}

static void append_pair(GString *argument, const char *key, const char *value)
{
    g_string_append_printf(argument, "%s%s=", argument->len ? "," : "", key);
    for (const char *p = value; *p; p++) {
        g_string_append(argument, *p == ',' ? ",," : (char[]){ *p, 0 });
    }
}

/* Hands the section that ends to its option. */
static bool finish_section(Cli *cli, Section *section, GError **error)
{
    const CliOption *option = section->option;
    section->option = NULL;
    if (!option) {
        return true;
    }
    bool ok = option->handle(cli, section->argument->str, error);
    if (!ok) {
        g_prefix_error(error, "line %u: [%s]: ", section->line, option->group);
    }
    g_string_truncate(section->argument, 0);
    return ok;
}

/* [GROUP] or [GROUP "ID"] */
static bool begin_section(Section *section, char *line, GError **error)
{
    char *end = strchr(line, ']');
    char *quote = strchr(line, '"');
    if (quote) {
        char *closing = strchr(quote + 1, '"');
        end = closing ? strchr(closing, ']') : NULL;
        if (closing) {
            *closing = '\0';
        }
    }
    if (!end || end[1 + strspn(end + 1, " \t")]) {
        return error_set(error, "a section is [GROUP] or [GROUP \"ID\"]");
    }
    *end = '\0';
    if (quote) {
        *quote = '\0';
    }
    const char *group = g_strstrip(line + 1);
    section->option = find_group(group);
    if (!section->option) {
        return unknown_group(group, error);
    }
    if (quote) {
        append_pair(section->argument, "id", quote + 1);
    }
    return true;
}

/* KEY = "VALUE" */
static bool take_pair(Section *section, char *line, GError **error)
{
    char *equals = strchr(line, '=');
    char *value = equals ? g_strstrip(equals + 1) : NULL;
    size_t len = value ? strlen(value) : 0;
    if (len < 2 || value[0] != '"' || value[len - 1] != '"' || memchr(value + 1, '"', len - 2)) {
        return error_set(error, "KEY = \"VALUE\" or a section in brackets is expected, not '%.64s'",
                         line);
    }
    *equals = '\0';
    value[len - 1] = '\0';
    const char *key = g_strstrip(line);
    if (!*key || strpbrk(key, "{}[], \t\"")) {
        return error_set(error, "'%.64s' is not the name of a key", key);
    }
    if (!section->option) {
        return error_set(error, "'%.64s' stands before the first section", key);
    }
    append_pair(section->argument, key, value + 1);
    return true;
}

static bool take_line(Cli *cli, Section *section, char *text, unsigned number, GError **error)
{
    char *line = g_strstrip(text);
    if (!*line || *line == '#') {
        return true;
    }
    if (*line == '[' && !finish_section(cli, section, error)) {
        return false;
    }
    bool ok = *line == '[' ? begin_section(section, line, error) : take_pair(section, line, error);
    if (*line == '[') {
        section->line = number;
    }
    if (!ok) {
        g_prefix_error(error, "line %u: ", number);
    }
    return ok;
}

bool cli_take_config(Cli *cli, const char *text, GError **error)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    Section section = { .argument = g_string_new(NULL) };
    bool ok = true;
    for (unsigned i = 0; ok && lines[i] && !cli->help_shown; i++) {
        ok = take_line(cli, &section, lines[i], i + 1, error);
    }
    ok = ok && (cli->help_shown || finish_section(cli, &section, error));
    g_string_free(section.argument, TRUE);
    return ok;
}

/* The whole file, NUL-terminated; a pipe will do. */
static char *read_config_file(const char *path, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        error_set_errno(error, errno, "cannot open '%s'", path);
        return NULL;
    }
    g_autoptr(GString) text = g_string_new(NULL);
    char part[4096];
    ssize_t len;
    while ((len = read(fd, part, sizeof(part))) > 0 && text->len <= MAX_CONFIG_FILE) {
        g_string_append_len(text, part, len);
    }
    int cause = errno;
    close(fd);
    if (len < 0) {
        error_set_errno(error, cause, "cannot read '%s'", path);
        return NULL;
    }
    if (text->len > MAX_CONFIG_FILE || memchr(text->str, '\0', text->len)) {
        error_set(error, "'%s' is %s", path,
                  text->len > MAX_CONFIG_FILE ? "larger than 1 MiB" : "not a text");
        return NULL;
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

bool cli_opt_readconfig(Cli *cli, const char *value, GError **error)
{
    g_autofree char *text = read_config_file(value, error);
    return text && cli_take_config(cli, text, error);
}
