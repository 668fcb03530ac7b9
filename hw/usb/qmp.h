/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about USB. */
#ifndef HW_USB_QMP_H
#define HW_USB_QMP_H

#include "vmm/monitor/commands.h"

extern const MonitorCommands usb_commands;

#endif
