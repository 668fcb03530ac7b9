/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt lines and messages. An IrqLine is an input pin of something (a GSI of the accelerator,
 * a pin of an interrupt controller, a PCI slot's INTx); a device holds pointers to the lines that
 * it drives. Setting a line takes no device lock of another device but an interrupt controller's
 * own leaf lock; any thread, also with the device's lock held.
 */
#ifndef VMM_DEVICE_IRQ_H
#define VMM_DEVICE_IRQ_H

#include <stdbool.h>
#include <stdint.h>

typedef void IrqHandler(void *opaque, int pin, int level);

typedef struct IrqLine {
    IrqHandler *handler;
    void *opaque;
    int pin;
    IrqHandler *intercept; /* test mode: called in place of, or before, the handler */
    void *intercept_opaque;
} IrqLine;

/* level: 0 or 1. A NULL line is not connected: nothing happens. */
void irq_set(IrqLine *line, int level);

static inline void irq_raise(IrqLine *line)
{
    irq_set(line, 1);
}

static inline void irq_lower(IrqLine *line)
{
    irq_set(line, 0);
}

static inline void irq_pulse(IrqLine *line)
{
    irq_set(line, 1);
    irq_set(line, 0);
}

static inline void irq_line_init(IrqLine *line, IrqHandler *handler, void *opaque, int pin)
{
    *line = (IrqLine){ .handler = handler, .opaque = opaque, .pin = pin };
}

/* A message-signalled interrupt: what the device writes, where. */
typedef struct MsiMessage {
    uint64_t address;
    uint32_t data;
} MsiMessage;

#endif
