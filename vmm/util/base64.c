/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/util/base64.h"

#include <string.h>
#include "vmm/error.h"

bool base64_decode(uint8_t *data, size_t *size, GError **error)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n";
    gint state = 0;
    guint save = 0;
    if (strspn((char *)data, alphabet) != *size) {
        return error_set(error, "it is not base64");
    }
    size_t decoded = g_base64_decode_step((char *)data, *size, data, &state, &save);
    explicit_bzero(data + decoded, *size - decoded);
    *size = decoded;
    return true;
}
