/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nbd/libnbd.h"

#include <dlfcn.h>
#include "vmm/error.h"

#define LIBRARY "libnbd.so.0"

Libnbd libnbd;

static char *load(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        return g_strdup(dlerror());
    }
    static const struct {
        const char *name;
        void *member;
    } functions[] = {
#define FUNCTION(function) { "nbd_" #function, &libnbd.function },
        LIBNBD_FUNCTIONS(FUNCTION)
#undef FUNCTION
    };
    for (size_t i = 0; i < G_N_ELEMENTS(functions); i++) {
        void *found = dlsym(library, functions[i].name);
        if (!found) {
            return g_strdup(dlerror());
        }
        *(void **)functions[i].member = found;
    }
    return NULL;
}

bool libnbd_load(GError **error)
{
    static gsize once;
    static const char *failure;
    if (g_once_init_enter(&once)) {
        failure = load();
        g_once_init_leave(&once, 1);
    }
    return !failure ||
           error_set(error, "cannot load the library of network block devices: %s", failure);
}
