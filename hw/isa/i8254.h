/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interval timer's third counter, for the speaker. With the timer's lock held: the speaker port
 * works under it. */
#ifndef HW_ISA_I8254_H
#define HW_ISA_I8254_H

#include "vmm/device/device.h"

bool i8254_speaker_out(const Device *pit);
void i8254_set_speaker_gate(Device *pit, bool gate);

#endif
