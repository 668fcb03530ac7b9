/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt lines. */
#include "vmm/device/irq.h"

#include <stddef.h>
#include "vmm/trace/trace-device.h"

void irq_set(IrqLine *line, int level)
{
    if (!line) {
        return;
    }
    trace_irq_set(line, (unsigned)line->pin, level);
    IrqHandler *intercept = __atomic_load_n(&line->intercept, __ATOMIC_ACQUIRE);
    if (intercept) {
        intercept(line->intercept_opaque, line->pin, level);
    }
    if (line->handler) {
        line->handler(line->opaque, line->pin, level);
    }
}
