/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file of patterns: what is refused is refused with a line's number, whatever the bytes. */
#include <string.h>
#include "vmm/trace/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    bool ok = trace_apply_lines("list", (const char *)data, size, &error);
    g_assert_true(ok == (error == NULL));
    g_assert_true(ok || g_str_has_prefix(error->message, "list:"));
    trace_apply("-*", NULL);
    return 0;
}
