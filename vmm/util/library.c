/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/util/library.h"

#include <dlfcn.h>
#include "vmm/error.h"

static char *load(const Library *library)
{
    void *handle = dlopen(library->file, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        return g_strdup(dlerror());
    }
    for (size_t i = 0; i < library->function_count; i++) {
        void *found = dlsym(handle, library->functions[i].name);
        if (!found) {
            char *failure = g_strdup(dlerror());
            dlclose(handle);
            return failure;
        }
        *(void **)library->functions[i].pointer = found;
    }
    return NULL;
}

bool library_load(Library *library, GError **error)
{
    if (g_once_init_enter(&library->once)) {
        library->failure = load(library);
        g_once_init_leave(&library->once, 1);
    }
    return !library->failure ||
           error_set(error, "cannot load the library of %s: %s", library->what, library->failure);
}
