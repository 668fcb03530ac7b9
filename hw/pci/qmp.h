/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about PCI. */
#ifndef HW_PCI_QMP_H
#define HW_PCI_QMP_H

#include "vmm/monitor/commands.h"

extern const MonitorCommands pci_commands;

#endif
