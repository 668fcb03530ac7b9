/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's balloon, as the monitor sees it: the device registers itself. Main thread. */
#ifndef VMM_MONITOR_BALLOON_H
#define VMM_MONITOR_BALLOON_H

#include <stdbool.h>
#include <stdint.h>
#include "vmm/error.h"

typedef struct BalloonOps {
    /* Asks the guest to keep `bytes` of its memory. */
    void (*set_target)(void *opaque, uint64_t bytes);
    uint64_t (*actual)(void *opaque); /* bytes that the guest has */
} BalloonOps;

/* False and error when there is one already. */
bool balloon_register(const BalloonOps *ops, void *opaque, GError **error);
void balloon_unregister(void *opaque);

#endif
