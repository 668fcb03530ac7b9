/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines and configuration files: whatever they say, an error or options that can be freed.
 * The first byte tells them apart; the words of a line stand on lines of their own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "block/block.h"
#include "hw/devices.h"
#include "vmm/cli/cli.h"
#include "vmm/cli/option_handlers.h"
#include "vmm/cli/params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void prepare(void)
{
    device_classes_register(device_classes);
    machine_classes_register(machine_classes);
    cli_params_add("drive", drive_options);
    if (!freopen("/dev/null", "w", stdout)) { /* help, which many inputs ask for */
        abort();
    }
}

/* Options that read or make files while they are parsed. */
static bool touches_files(const char *text)
{
    return strstr(text, "readconfig") || strstr(text, "trace");
}

static void take_line(const char *text)
{
    Cli cli;
    GError *error = NULL;
    g_autofree char *line = g_strconcat("vireo\n", text, NULL);
    g_auto(GStrv) words = g_strsplit(line, "\n", -1);
    if (!cli_parse(&cli, (int)g_strv_length(words), words, &error) != (error != NULL)) {
        abort();
    }
    g_clear_error(&error);
    cli_free(&cli);
}

static void take_config(const char *text)
{
    Cli cli;
    GError *error = NULL;
    cli_init(&cli);
    bool ok = cli_take_config(&cli, text, &error) && cli_finish(&cli, &error);
    if (!ok != (error != NULL)) {
        abort();
    }
    g_clear_error(&error);
    cli_free(&cli);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool prepared;
    if (!prepared) {
        prepare();
        prepared = true;
    }
    if (size == 0 || size > 8192) {
        return 0;
    }
    g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
    if (touches_files(text)) {
        return 0;
    }
    if (data[0] & 1) {
        take_config(text);
    } else {
        take_line(text);
    }
    return 0;
}
