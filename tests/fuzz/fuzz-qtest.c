/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The qtest protocol: any bytes as lines. Long steps of the clock are left out: they only take
 * long. */
#include <string.h>
#include "tests/fuzz/machine.h"
#include "vmm/machine/qtest_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LONGEST_CLOCK_LINE 17 /* "clock_step 999999" */
#define MAX_LINES          200

static bool takes_long(const char *line)
{
    const char *clock = strstr(line, "clock_");
    return (clock && strlen(clock) > LONGEST_CLOCK_LINE) || strstr(line, "memset");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;
    Machine *machine = fuzz_machine("q35");
    if (!started) {
        qtest_server_init(machine);
        started = true;
    }
    machine_cont(machine, NULL);
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) lines = g_strsplit(text, "\n", MAX_LINES);
    for (char **line = lines; *line; line++) {
        if (!takes_long(*line)) {
            qtest_input((const uint8_t *)*line, strlen(*line));
            qtest_input((const uint8_t *)"\n", 1);
        }
    }
    fuzz_machine_reset(machine);
    return 0;
}
