/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system management bus (SMBus 2.0): a host controller as ICH9 and PIIX4 have it, and the
 * EEPROMs of the memory modules on it. The bus is an I2C bus: a transaction is bytes that go to a
 * target, then bytes that come from it.
 */
#ifndef HW_SMBUS_SMBUS_H
#define HW_SMBUS_SMBUS_H

#include "vmm/device/device.h"
#include "vmm/memory/address_space.h"

#define SMBUS_BLOCK_MAX   32
#define SMBUS_MESSAGE_MAX (SMBUS_BLOCK_MAX + 2) /* command and count before the block */
#define SMBUS_HOST_PORTS  64

#define SPD_SIZE          256
#define SPD_FIRST_ADDRESS 0x50
#define SPD_MODULES       8

/* Targets: DeviceClass.ops. With the host's lock; false: not acknowledged. */
typedef struct SmbusTargetClass {
    uint8_t (*address)(const Device *dev);
    bool (*write)(Device *dev, const uint8_t *data, unsigned len); /* len 0: a quick command */
    bool (*read)(Device *dev, uint8_t *data, unsigned len);
} SmbusTargetClass;

/* ---- host.c: the controller, a part of its owner, with whose lock its registers are served ----
 */

typedef struct SmbusHost {
    Device *dev;
    Bus *bus;
    MemRegion region;
    void (*set_irq)(Device *dev, int level); /* NULL: no interrupt */
    uint8_t reset_aux;
    uint8_t status, control, command, address, data0, data1, aux;
    uint8_t block[SMBUS_BLOCK_MAX];
    uint8_t index;    /* in block; in byte-wise blocks: bytes done */
    uint8_t block_db; /* byte-wise: the byte under way */
    bool disabled;    /* the ports do not answer */
    bool started;     /* happens when the status is looked at next */
    bool bytewise;    /* in the middle of a block */
    bool last;        /* LAST_BYTE was set when the byte that is there was asked for */
} SmbusHost;

extern const StateSection smbus_host_state;

/* The ports are the owner's to place. buffer_always: blocks go through the buffer (PIIX4). Main
 * thread. */
void smbus_host_init(SmbusHost *host, Device *dev, bool buffer_always,
                     void (*set_irq)(Device *dev, int level));
void smbus_host_cleanup(SmbusHost *host);         /* the ports are not placed any more */
void smbus_host_reset(SmbusHost *host);           /* takes the lock */
void smbus_host_enable(SmbusHost *host, bool on); /* takes the lock; survives a reset */
bool smbus_host_add_modules(SmbusHost *host, GError **error); /* EEPROMs of the machine's memory */

/* ---- eeprom.c ---- */
Device *smbus_eeprom_new(Bus *bus, uint8_t address, const uint8_t data[SPD_SIZE], GError **error);

/* ---- spd.c: what the modules say of themselves ---- */
/* Fills up to SPD_MODULES of them, the largest first, zeroes for empty places. */
void spd_describe(uint64_t ram_size, uint8_t spd[SPD_MODULES][SPD_SIZE]);

/* ---- ich9_smb.c ---- */
void ich9_smb_configure(Device *smb); /* as firmware: enabled. Topology lock, after reset */

#endif
