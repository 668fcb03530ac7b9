/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gen-completion FILE...: prints a shell's completion of vireo: the files, a line "@OPTIONS@"
 * replaced by what the tables that parse options and commands say. */
#include <stdio.h>
#include <string.h>
#include "block/block.h"
#include "hw/devices.h"
#include "vmm/cli/cli.h"
#include "vmm/cli/params.h"
#include "vmm/client/client.h"

static bool print_file(const char *path, const char *options)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    if (!g_file_get_contents(path, &text, NULL, &error)) {
        fprintf(stderr, "gen-completion: %s\n", error->message);
        return false;
    }
    g_auto(GStrv) parts = g_strsplit(text, "@OPTIONS@\n", -1);
    g_autofree char *whole = g_strjoinv(options, parts);
    return fputs(whole, stdout) >= 0;
}

int main(int argc, char **argv)
{
    g_autoptr(GString) options = g_string_new(NULL);
    device_classes_register(device_classes);
    machine_classes_register(machine_classes);
    cli_params_add("drive", drive_options);
    cli_completion(options);
    g_string_append(options, "\n");
    client_completion(options);
    for (int i = 1; i < argc; i++) {
        if (!print_file(argv[i], options->str)) {
            return 1;
        }
    }
    return 0;
}
