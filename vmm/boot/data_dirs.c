/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that come with packages: where they are looked for. */
#include <string.h>
#include <unistd.h>
#include "config.h"
#include "vmm/boot/boot_private.h"

static const char *const standard_dirs[] = {
    VIREO_FIRMWARE_DIR,
    "/usr/share/seabios",
    "/usr/share/qemu",
    "/usr/lib/ipxe/qemu",
    "/usr/share/OVMF",
    "/usr/share/ovmf",
    NULL,
};

static GPtrArray *user_dirs; /* const char *, as long as the process */

void boot_data_add_dir(const char *dir)
{
    if (!user_dirs) {
        user_dirs = g_ptr_array_new();
    }
    g_ptr_array_add(user_dirs, (char *)dir);
}

void boot_data_foreach_dir(void (*fn)(const char *dir, void *opaque), void *opaque)
{
    for (guint i = 0; user_dirs && i < user_dirs->len; i++) {
        fn(g_ptr_array_index(user_dirs, i), opaque);
    }
    for (unsigned i = 0; standard_dirs[i]; i++) {
        fn(standard_dirs[i], opaque);
    }
}

typedef struct DataSearch {
    const char *name;
    char *found;
} DataSearch;

static void search_dir(const char *dir, void *opaque)
{
    DataSearch *search = opaque;
    if (!search->found) {
        char *path = g_build_filename(dir, search->name, NULL);
        search->found = access(path, R_OK) == 0 ? g_steal_pointer(&path) : NULL;
        g_free(path);
    }
}

char *boot_data_find(const char *name)
{
    if (access(name, R_OK) == 0) {
        return g_strdup(name);
    }
    DataSearch search = { .name = name };
    if (!strchr(name, '/')) {
        boot_data_foreach_dir(search_dir, &search);
    }
    return search.found;
}

uint8_t *boot_data_read(const char *path, uint64_t max, size_t *len, GError **error)
{
    BootSource *source = boot_source_open(path, error);
    uint8_t *data = NULL;
    if (source && source->size > max) {
        error_set(error, "could not load '%s': it has %" PRIu64 " bytes, more than %" PRIu64, path,
                  source->size, max);
    } else if (source) {
        data = g_try_malloc(source->size);
        *len = source->size;
        if (!data) {
            error_set(error, "could not load '%s': no memory for %" PRIu64 " bytes", path,
                      source->size);
        } else if (!boot_source_read(source, 0, data, source->size, error)) {
            g_clear_pointer(&data, g_free);
        }
    }
    boot_source_free(source);
    return data;
}
