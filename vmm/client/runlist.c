/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The run directory as clients see it: which machines run; what dead ones left is removed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vmm/cli/opts.h"
#include "vmm/client/rundir_internal.h"
#include "vmm/util/json.h"

#define INFO_MAX 65536 /* bytes of info.json */

void rundir_entry_free(RunEntry *entry)
{
    close(entry->lock);
    close(entry->dir);
    json_object_put(entry->info);
    g_free(entry->name);
    g_free(entry);
}

static void free_entry(gpointer entry)
{
    rundir_entry_free(entry);
}

static json_object *parse_info(const char *text)
{
    json_object *info = NULL;
    if (!json_parse(text, &info, NULL) || !json_object_is_type(info, json_type_object)) {
        json_object_put(info);
        return NULL;
    }
    return info;
}

static json_object *read_info(int dir)
{
    int fd = rundir_open_regular(dir, "info.json", O_RDONLY);
    if (fd < 0) {
        return NULL;
    }
    g_autofree char *text = g_malloc(INFO_MAX + 1);
    ssize_t len = read(fd, text, INFO_MAX + 1);
    close(fd);
    if (len <= 0 || len > INFO_MAX) {
        return NULL;
    }
    text[len] = '\0';
    return parse_info(text);
}

/* Without taking the lock, which a machine that starts may want right now. */
bool rundir_is_alive(const RunEntry *entry)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    return fcntl(entry->lock, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* Removes the folder if its machine is dead. */
static void clean_stale(int root, const RunEntry *entry)
{
    if (rundir_lock(entry->lock) == LOCK_GOT) {
        rundir_remove_folder(root, entry->dir, entry->name);
    }
}

/* NULL when no machine runs there. */
static RunEntry *open_entry(int root, const char *name)
{
    int dir = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int lock = dir < 0 ? -1 : rundir_open_regular(dir, "lock", O_RDWR);
    if (lock < 0) {
        if (dir >= 0) {
            close(dir);
        }
        return NULL;
    }
    RunEntry *entry = g_new0(RunEntry, 1);
    entry->name = g_strdup(name);
    entry->dir = dir;
    entry->lock = lock;
    if (!rundir_is_alive(entry)) {
        clean_stale(root, entry);
        rundir_entry_free(entry);
        return NULL;
    }
    entry->info = read_info(dir);
    return entry;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(RunEntry *const *)a)->name, (*(RunEntry *const *)b)->name);
}

GPtrArray *rundir_list(GError **error)
{
    GError *failure = NULL;
    int root = rundir_open_root(false, NULL, &failure);
    if (failure) {
        g_propagate_error(error, failure);
        return NULL;
    }
    GPtrArray *list = g_ptr_array_new_with_free_func(free_entry);
    int own = root < 0 ? -1 : fcntl(root, F_DUPFD_CLOEXEC, 0);
    DIR *stream = own < 0 ? NULL : fdopendir(own);
    for (struct dirent *d; stream && (d = readdir(stream));) {
        RunEntry *entry = d->d_name[0] == '.' ? NULL : open_entry(root, d->d_name);
        if (entry) {
            g_ptr_array_add(list, entry);
        }
    }
    if (stream) {
        closedir(stream);
    }
    if (root >= 0) {
        close(root);
    }
    g_ptr_array_sort(list, by_name);
    return list;
}

/* "'a', 'b'" */
static char *names_text(const GPtrArray *list)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < list->len; i++) {
        const RunEntry *entry = g_ptr_array_index(list, i);
        g_string_append_printf(text, "%s'%s'", i ? ", " : "", entry->name);
    }
    return g_strdup(text->str);
}

static bool no_such_machine(const GPtrArray *list, const char *name, GError **error)
{
    g_autofree const char **names = g_new0(const char *, list->len + 1);
    for (guint i = 0; i < list->len; i++) {
        names[i] = ((RunEntry *)g_ptr_array_index(list, i))->name;
    }
    g_autofree char *near = suggest_nearest(name, names);
    g_autofree char *all = names_text(list);
    if (!list->len) {
        return error_set(error, "no machine '%s' runs; none does", name);
    }
    return error_set(error, "no machine '%s' runs%s%s%s", name,
                     near ? "; did you mean '" : "; those that do: ", near ? near : all,
                     near ? "'?" : "");
}

RunEntry *rundir_find(const char *name, GError **error)
{
    g_autoptr(GPtrArray) list = rundir_list(error);
    if (!list) {
        return NULL;
    }
    if (!name && list->len == 1) {
        return g_ptr_array_steal_index(list, 0);
    }
    for (guint i = 0; name && i < list->len; i++) {
        RunEntry *entry = g_ptr_array_index(list, i);
        if (strcmp(entry->name, name) == 0) {
            return g_ptr_array_steal_index(list, i);
        }
    }
    g_autofree char *all = names_text(list);
    if (name) {
        no_such_machine(list, name, error);
    } else if (list->len) {
        error_set(error, "which machine? These run: %s", all);
    } else {
        error_set(error, "no machine runs");
    }
    return NULL;
}
