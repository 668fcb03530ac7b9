/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/util/id.h"

#include <string.h>
#include "vmm/error.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

bool id_is_wellformed(const char *id)
{
    return g_ascii_isalpha(id[0]) && !id[strspn(id, LETTERS "0123456789-._")];
}

bool id_check(const char *id, GError **error)
{
    return id_is_wellformed(id) ||
           error_set(error,
                     "Parameter 'id' expects an identifier (letters, digits, '-', '.', '_', "
                     "starting with a letter), not '%s'",
                     id);
}
