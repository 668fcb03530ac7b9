/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints the manual page vireo-img(1), its commands from the table that also runs them. */
#include <stdio.h>
#include "block/img/img.h"

int main(void)
{
    g_autoptr(GString) page = g_string_new(NULL);
    img_man(page);
    return fputs(page->str, stdout) < 0;
}
