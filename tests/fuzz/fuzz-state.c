/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile saved state into a real machine. The input patches a stream that the machine saved itself
 * (position u16 and value u8 each; the first byte may cut it); what is taken is then run.
 */
#include <string.h>
#include "tests/fuzz/machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static GByteArray *saved;
    Machine *machine = fuzz_machine("q35");
    if (!saved) {
        saved = g_byte_array_new();
        devices_save(machine, saved);
    }
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *stream = g_memdup2(saved->data, saved->len);
    size_t length = saved->len;
    if (size && data[0] & 1) {
        length -= MIN(length, (size_t)data[0] * 16);
    }
    for (size_t i = 1; i + 3 <= size; i += 3) {
        stream[(data[i] | (size_t)data[i + 1] << 8) % saved->len] = data[i + 2];
    }
    /* Of exactly this size, so that the sanitizer sees what is read behind it. */
    g_autofree uint8_t *exact = g_memdup2(stream, length);
    if (devices_load(machine, exact, length, &error)) {
        machine_cont(machine, NULL);
        clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + 1000000);
        fuzz_machine_settle(machine);
    }
    fuzz_machine_reset(machine);
    return 0;
}
