/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Tab key: what can stand at the end of a line, from the commands' own descriptions. */
#include "vmm/monitor/hmp.h"

#include <json-c/json.h>
#include <string.h>
#include "vmm/monitor/monitor.h"

#define BLANKS " \t\r\n\v\f"

typedef struct Completion {
    GPtrArray *words;
    const char *word; /* what is to be completed */
} Completion;

/* The editor and the terminal take text only; names of files may be anything. */
static bool is_printable(const char *word)
{
    if (!g_utf8_validate(word, -1, NULL)) {
        return false;
    }
    while (*word && g_unichar_isprint(g_utf8_get_char(word))) {
        word = g_utf8_next_char(word);
    }
    return !*word;
}

static void offer(Completion *completion, const char *word)
{
    if (g_str_has_prefix(word, completion->word) && is_printable(word)) {
        g_ptr_array_add(completion->words, g_strdup(word));
    }
}

/* ---- Names of commands ---- */

typedef struct NameCompletion {
    Completion *completion;
    const char *line; /* the name's first words, each with a blank behind it */
} NameCompletion;

static void offer_name(const HmpCommand *command, void *opaque)
{
    NameCompletion *names = opaque;
    size_t before = strlen(names->line);
    if (strncmp(command->name, names->line, before) == 0) {
        const char *part = command->name + before;
        g_autofree char *word = g_strndup(part, strcspn(part, " "));
        offer(names->completion, word);
    }
}

/* before: what stands in front of the word. */
static void complete_name(Completion *completion, const char *before)
{
    g_autoptr(GString) words = g_string_new(NULL);
    const char *at = before;
    char *word;
    while ((word = hmp_next_word(&at, NULL))) {
        g_string_append_printf(words, "%s ", word);
        g_free(word);
    }
    NameCompletion names = { .completion = completion, .line = words->str };
    monitor_foreach_hmp(offer_name, &names);
}

/* ---- Words of a command ---- */

static void complete_file(Completion *completion)
{
    const char *slash = strrchr(completion->word, '/');
    g_autofree char *folder =
        slash ? g_strndup(completion->word, (gsize)(slash - completion->word) + 1) : g_strdup("");
    GDir *dir = g_dir_open(folder[0] ? folder : ".", 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_strconcat(folder, name, NULL);
        g_autofree char *shown =
            g_strconcat(path, g_file_test(path, G_FILE_TEST_IS_DIR) ? "/" : "", NULL);
        if ((name[0] != '.' || (slash ? slash[1] : completion->word[0]) == '.') &&
            !strpbrk(shown, " \"\\")) {
            offer(completion, shown);
        }
    }
    if (dir) {
        g_dir_close(dir);
    }
}

/* The tree's next level below what is typed. */
static void complete_path(Completion *completion)
{
    const char *slash = strrchr(completion->word, '/');
    g_autofree char *folder = slash ? g_strndup(completion->word, (gsize)(slash - completion->word))
                                    : g_strdup("");
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "path", folder[0] ? folder : "/");
    json_object *list = qmp_execute("qom-list", arguments, NULL);
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        const char *type = json_object_get_string(json_object_object_get(item, "type"));
        if (type && g_str_has_prefix(type, "child<")) {
            g_autofree char *path = g_strconcat(
                folder, "/", json_object_get_string(json_object_object_get(item, "name")), NULL);
            offer(completion, path);
        }
    }
    json_object_put(list);
    json_object_put(arguments);
}

static void offer_listed(Completion *completion, const char *command, json_object *arguments,
                         const char *after)
{
    json_object *list = qmp_execute(command, arguments, NULL);
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        const char *name = json_object_get_string(json_object_object_get(item, "name"));
        const char *type = json_object_get_string(json_object_object_get(item, "type"));
        if (name && !(type && g_str_has_prefix(type, "child<"))) {
            g_autofree char *word = g_strconcat(name, after, NULL);
            offer(completion, word);
        }
    }
    json_object_put(list);
    json_object_put(arguments);
}

static void complete_property(Completion *completion, const char *path)
{
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "path", path);
    offer_listed(completion, "qom-list", arguments, "");
}

/* "DRIVER,prop": properties of the type in front of the first comma; *from moves to the last one.
 */
static bool complete_options(Completion *completion, const char *kind, gsize *from)
{
    const char *comma = strrchr(completion->word, ',');
    bool device = g_str_equal(kind, "DRIVER"), object = g_str_equal(kind, "TYPE");
    if (!comma || (!device && !object)) {
        return comma != NULL;
    }
    g_autofree char *type = g_strndup(completion->word, strcspn(completion->word, ","));
    *from += (gsize)(comma + 1 - completion->word);
    completion->word = comma + 1;
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "typename", type);
    offer(completion, "id=");
    offer_listed(completion, device ? "device-list-properties" : "qom-list-properties", arguments,
                 "=");
    return true;
}

/* "on|off": one of these. */
static bool complete_choice(Completion *completion, const char *token)
{
    if (token[strspn(token, "abcdefghijklmnopqrstuvwxyz0123456789-_|")] || !token[0]) {
        return false;
    }
    g_auto(GStrv) choices = g_strsplit(token, "|", -1);
    for (char **choice = choices; *choice; choice++) {
        offer(completion, *choice);
    }
    return true;
}

static void complete_kind(Completion *completion, const char *token, const char *before,
                          gsize *from)
{
    g_autofree char *kind = g_strndup(token, strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
    if (complete_choice(completion, token) || complete_options(completion, kind, from)) {
        return;
    }
    const char *bar = strchr(token, '|');
    if (bar && (g_ascii_islower(bar[1]))) { /* "DISK|all" */
        offer(completion, bar + 1);
    }
    if (g_str_equal(kind, "FILE")) {
        complete_file(completion);
    } else if (g_str_equal(kind, "PATH")) {
        complete_path(completion);
    } else if (g_str_equal(kind, "PROPERTY") && before) {
        complete_property(completion, before);
    } else {
        g_autoptr(GPtrArray) words = monitor_words(kind);
        for (guint i = 0; words && i < words->len; i++) {
            offer(completion, g_ptr_array_index(words, i));
        }
    }
}

/* The words that the command takes: flags aside, in order, without brackets. */
static char **parameters(const HmpCommand *command, GPtrArray *flags)
{
    g_auto(GStrv) all = g_strsplit(command->params ? command->params : "", " ", -1);
    g_autoptr(GPtrArray) positional = g_ptr_array_new();
    for (char **token = all; *token; token++) {
        char *start = *token + strspn(*token, "[");
        if (start != *token && g_str_has_suffix(start, "]")) {
            start[strlen(start) - 1] = '\0';
        }
        g_strdelimit(start, "]", ' ');
        g_strchomp(start);
        bool flag = *start == '-' && start[1] && !start[2];
        if (*start && !g_str_equal(start, "/FMT")) {
            g_ptr_array_add(flag ? flags : positional, g_strdup(start));
        }
    }
    g_ptr_array_add(positional, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&positional), FALSE);
}

/* before: the words between the command's name and the one to be completed. */
static void complete_word(Completion *completion, const HmpCommand *command, const char *before,
                          gsize *from)
{
    g_autoptr(GPtrArray) flags = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) wanted = parameters(command, flags);
    g_autofree char *last = NULL;
    guint place = 0, count = g_strv_length(wanted);
    char *word;
    if (!count) {
        return;
    }
    if (g_str_has_prefix(wanted[0], "COMMAND")) {
        complete_name(completion, before);
        return;
    }
    while ((word = hmp_next_word(&before, NULL))) {
        bool format = word[0] == '/' && g_str_has_prefix(command->params, "/FMT");
        bool aside = format || (word[0] == '-' && flags->len);
        place += !aside;
        g_free(last);
        last = word;
    }
    if (completion->word[0] == '-') {
        for (guint i = 0; i < flags->len; i++) {
            offer(completion, g_ptr_array_index(flags, i));
        }
    } else if (place < count) {
        complete_kind(completion, wanted[place], last, from);
    }
}

static int compare(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_and_unite(GPtrArray *words)
{
    g_ptr_array_sort(words, compare);
    for (guint i = words->len; i-- > 1;) {
        if (g_str_equal(g_ptr_array_index(words, i), g_ptr_array_index(words, i - 1))) {
            g_ptr_array_remove_index(words, i);
        }
    }
}

GPtrArray *hmp_complete(const char *start, gsize *from)
{
    const char *word = start + strlen(start), *rest;
    while (word > start && !g_ascii_isspace(word[-1])) {
        word--;
    }
    *from = (gsize)(word - start);
    const char *line = start + strspn(start, BLANKS);
    Completion completion = { .words = g_ptr_array_new_with_free_func(g_free), .word = word };
    const HmpCommand *command = hmp_find(line, &rest);
    if (command && rest < word) {
        g_autofree char *before = g_strndup(rest, (gsize)(word - rest));
        complete_word(&completion, command, before, from);
    } else {
        g_autofree char *before = g_strndup(line, (gsize)(word - MIN(line, word)));
        complete_name(&completion, before);
    }
    sort_and_unite(completion.words);
    return completion.words;
}
