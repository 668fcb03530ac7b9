/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints the manual page vireo(1), its options from the table that also parses them. */
#include <stdio.h>
#include "vmm/cli/cli.h"

int main(void)
{
    g_autoptr(GString) page = g_string_new(NULL);
    cli_man(page);
    return fputs(page->str, stdout) < 0;
}
