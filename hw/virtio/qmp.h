/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about virtio devices. */
#ifndef HW_VIRTIO_QMP_H
#define HW_VIRTIO_QMP_H

#include "vmm/monitor/commands.h"

extern const MonitorCommands virtio_commands;

#endif
