/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nbd/libnbd.h"

#include "vmm/util/library.h"

Libnbd libnbd;

static const LibraryFunction functions[] = {
#define FUNCTION(function) { "nbd_" #function, &libnbd.function },
    LIBNBD_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

static Library library = {
    .file = "libnbd.so.0",
    .what = "network block devices",
    .functions = functions,
    .function_count = G_N_ELEMENTS(functions),
};

bool libnbd_load(GError **error)
{
    return library_load(&library, error);
}
