/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A legacy ATA channel (ATA/ATAPI-7, volume 2): the register blocks at ISA ports, PIO, two drives,
 * and its half of the bus-master interface (Programming Interface for Bus Master IDE 1.0).
 *
 * Registers run on vCPU threads with the controller's lock; what moves data to or from a disk is
 * left to a task on the I/O loop. One command runs at a time.
 */
#ifndef HW_IDE_CHANNEL_H
#define HW_IDE_CHANNEL_H

#include "hw/ide/ata.h"
#include "hw/pci/pci.h"

typedef struct IdeChannel {
    IdePort port;
    PciDevice *pci; /* whose memory it is master of */
    IrqLine *irq;
    MemRegion command_ports, control_ports;
    /* state */
    uint8_t unit;    /* selected */
    uint8_t control; /* device control register */
    bool intrq;
    uint8_t phase;          /* ChannelPhase */
    uint8_t todo;           /* ChannelTodo: for the task */
    uint8_t active_unit;    /* whose command it is */
    uint8_t resetting;      /* units, a bit each, whose reset waits for the job */
    uint32_t position, end; /* of the data phase, in the drive's buffer */
    uint64_t given;         /* bytes of a PACKET that the host has */
    bool last_data;         /* of a PACKET: its command is done */
    uint8_t bm_command, bm_status;
    uint32_t bm_table;
    IdeJob job;
    /* of the process */
    LoopTask task;
    bool paused;
    bool replay; /* a PACKET begins again after a load: the window that it had is in the buffer */
} IdeChannel;

bool ide_channel_init(IdeChannel *channel, PciDevice *pci, unsigned number, uint16_t command_port,
                      uint16_t control_port, IrqLine *irq, GError **error);
void ide_channel_cleanup(IdeChannel *channel);
void ide_channel_reset(IdeChannel *channel);
void ide_channel_quiesce(IdeChannel *channel);
void ide_channel_resume(IdeChannel *channel);
extern const StateSection ide_channel_state;

/* Bus-master registers, offset 0 to 7; lock held. */
uint8_t ide_channel_bm_read(IdeChannel *channel, unsigned offset);
void ide_channel_bm_write(IdeChannel *channel, unsigned offset, uint8_t value);

#endif
