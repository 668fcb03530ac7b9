/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about networks. */
#ifndef NET_QMP_H
#define NET_QMP_H

#include "vmm/monitor/commands.h"

extern const MonitorCommands net_commands;

#endif
