/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 16550A UART (National Semiconductor PC16550D data sheet) as a part for devices: eight
 * registers, a chardev, one interrupt output. Its owner embeds a Serial, maps the registers and
 * lends its lock.
 */
#ifndef HW_ISA_SERIAL_H
#define HW_ISA_SERIAL_H

#include "vmm/chardev/chardev.h"
#include "vmm/device/device.h"

#define SERIAL_FIFO_SIZE 16

typedef struct SerialFifo {
    uint8_t data[SERIAL_FIFO_SIZE];
    uint8_t head;
    uint8_t count;
} SerialFifo;

/* All under the owner's lock, but lock, set_irq, opaque and frontend, which are constant while
 * realized. */
typedef struct Serial {
    GMutex *lock;
    void (*set_irq)(void *opaque, int level);
    void *opaque;
    CharFrontend *frontend; /* NULL: nobody is at the other end */
    uint32_t baudbase;      /* property: bits per second at divisor 1 */

    uint16_t divider;
    uint8_t ier, fcr, lcr, mcr, lsr, msr, scr;
    uint8_t rbr; /* the received byte while the FIFOs are off */
    bool thre_pending, timeout_pending;
    SerialFifo rx, tx; /* tx holds only what the chardev did not take at once */
    Timer rx_timer;
    int irq_level;
} Serial;

extern const StateSection serial_state;

/* chardev_id may be NULL. Main thread. */
bool serial_realize(Serial *serial, GMutex *lock, const char *chardev_id,
                    void (*set_irq)(void *opaque, int level), void *opaque, GError **error);
void serial_unrealize(Serial *serial);
void serial_reset(Serial *serial);

/* Byte registers at offsets 0 to 7. Under the lock. */
uint8_t serial_read(Serial *serial, unsigned reg);
void serial_write(Serial *serial, unsigned reg, uint8_t value);

/* What an isa-serial device occupies, for ACPI tables; false for other devices. Main thread. */
bool isa_serial_resources(const Device *dev, uint16_t *iobase, unsigned *irq, unsigned *index);

#endif
