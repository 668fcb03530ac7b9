/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The TCO timer of ICH9 (ICH9, 13.9), the watchdog that Linux calls iTCO: a part of the LPC bridge
 * and under its lock, in the last 32 bytes of the PM block.
 */
#ifndef HW_ISA_ICH9_TCO_H
#define HW_ISA_ICH9_TCO_H

#include "vmm/device/device.h"
#include "vmm/memory/address_space.h"

#define ICH9_TCO_OFFSET 0x60 /* in the PM block */
#define ICH9_TCO_SIZE   0x20

/* What the timer asks and tells the bridge; called with the bridge's lock. */
typedef struct Ich9TcoOps {
    bool (*no_reboot)(void *opaque); /* GCS.NO_REBOOT: an expiry has no action */
    void (*event)(void *opaque);     /* what system management mode would be entered for */
} Ich9TcoOps;

typedef struct Ich9Tco {
    Device *dev;
    const Ich9TcoOps *ops;
    MemRegion region; /* the bridge places it */
    Timer timer;
    uint16_t count; /* while it stands still */
    uint16_t initial, status1, status2, control1, control2;
    uint8_t data_in, data_out, message[2], boot_status, irq_cause;
    uint8_t expiries; /* since the last reload */
} Ich9Tco;

extern const StateSection ich9_tco_state;

/* Main thread, at realize and unrealize. */
void ich9_tco_init(Ich9Tco *tco, Device *dev, const Ich9TcoOps *ops);
void ich9_tco_cleanup(Ich9Tco *tco);
void ich9_tco_reset(Ich9Tco *tco);            /* takes the lock */
bool ich9_tco_smi_locked(const Ich9Tco *tco); /* TCO_EN may not change; with the lock */

#endif
