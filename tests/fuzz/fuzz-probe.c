/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guessing an image's format: any bytes give a name or nothing, the same each time, and nothing
 * behind the given length counts. */
#include <stdlib.h>
#include "block/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t length = MIN(size, PROBE_BYTES);
    uint8_t *copy = malloc(MAX(length, 1)); /* of exactly this size, for the sanitizer */
    memcpy(copy, data, length);
    const char *format = block_probe_format(copy, length);
    if (format && !*format) {
        abort();
    }
    if (format != block_probe_format(data, length)) {
        abort();
    }
    free(copy);
    return 0;
}
