/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AHCI (Serial ATA AHCI 1.3.1): between the files of the host bus adapter.
 *
 * Registers run on vCPU threads under the controller's lock and do no I/O: a write to PxCI or
 * PxSACT sets bits, and the port's task is posted to the I/O loop, after the lock was given back,
 * so that the loop does not run into it. The task reads command lists and starts jobs; queued
 * commands run in parallel, a job for each slot. What ends in one round of the loop is told to the
 * guest by one FIS and one interrupt.
 */
#ifndef HW_IDE_AHCI_H
#define HW_IDE_AHCI_H

#include "hw/ide/ata.h"
#include "hw/pci/pci.h"

#define AHCI_PORTS     6
#define AHCI_SLOTS     32
#define AHCI_PORT_SIZE 0x80
#define AHCI_PORT_BASE 0x100

typedef struct Ahci Ahci;
typedef struct AhciPort AhciPort;

typedef struct AhciSlot {
    IdeJob job;
    uint64_t header; /* guest address of its command header */
} AhciSlot;

struct AhciPort {
    Ahci *ahci;
    IdePort port;
    /* registers */
    uint64_t list, fis; /* PxCLB, PxFB */
    uint32_t is, ie, cmd, tfd, sig, sctl, serr, sact, ci;
    /* state */
    uint32_t running;  /* slots whose job is active */
    uint32_t queued;   /* of them: NCQ */
    uint32_t stale;    /* of them: the list was stopped, nobody waits for them */
    uint32_t saved_ci; /* PxCI, with queued commands as not yet taken */
    bool failed;       /* an error stops the list until ST is cleared */
    bool resetting;    /* COMRESET or SRST: waits for the jobs */
    bool soft_reset;   /* by the FIS; the signature comes with the second one */
    /* of the process */
    AhciSlot *slots; /* AHCI_SLOTS while a drive is there */
    LoopTask task, batch;
    uint32_t finished; /* NCQ tags that the batch tells of */
    uint8_t next_slot;
};

struct Ahci {
    PciDevice pci;
    MemRegion registers, index_data;
    uint32_t ghc, is;
    uint32_t index; /* of the index-data pair; atomic */
    uint32_t kicks; /* ports whose task is to be posted when the lock is free */
    bool paused, level, resetting;
    AhciPort ports[AHCI_PORTS];
};

/* Port interrupt status. */
enum {
    AHCI_IS_DHRS = 1U << 0,
    AHCI_IS_PSS = 1U << 1,
    AHCI_IS_DSS = 1U << 2,
    AHCI_IS_SDBS = 1U << 3,
    AHCI_IS_PCS = 1U << 6,
    AHCI_IS_PRCS = 1U << 22,
    AHCI_IS_OFS = 1U << 24,
    AHCI_IS_HBFS = 1U << 29,
    AHCI_IS_TFES = 1U << 30,
};

/* Port command. */
enum {
    AHCI_CMD_ST = 1U << 0,
    AHCI_CMD_SUD = 1U << 1,
    AHCI_CMD_POD = 1U << 2,
    AHCI_CMD_CLO = 1U << 3,
    AHCI_CMD_FRE = 1U << 4,
    AHCI_CMD_CCS = 0x1fU << 8,
    AHCI_CMD_FR = 1U << 14,
    AHCI_CMD_CR = 1U << 15,
    AHCI_CMD_ATAPI = 1U << 24,
};

#define AHCI_GHC_HR 1U
#define AHCI_GHC_IE 2U
#define AHCI_GHC_AE 0x80000000U

/* ahci.c: sets bits of PxIS and interrupts. Lock held. */
void ahci_port_raise(AhciPort *ap, uint32_t bits);

/* ahci_port.c; lock held */
uint32_t ahci_port_read(AhciPort *ap, unsigned offset);
void ahci_port_write(AhciPort *ap, unsigned offset, uint32_t value);
void ahci_port_reset(AhciPort *ap); /* to power-on values; nothing runs */
bool ahci_port_init(AhciPort *ap, Ahci *ahci, unsigned number, GError **error);
void ahci_port_cleanup(AhciPort *ap);
/* Main thread, lock not held. */
void ahci_port_stop(AhciPort *ap); /* everything that runs is forgotten, after it has ended */
void ahci_port_quiesce(AhciPort *ap);
void ahci_port_resume(AhciPort *ap);
extern const StateSection ahci_port_state;

/* ahci_command.c; lock held */
bool ahci_port_has_work(const AhciPort *ap); /* for the task */
void ahci_commands_init(AhciPort *ap);
void ahci_slots_new(AhciPort *ap);
void ahci_slots_free(AhciPort *ap);
void ahci_flush_batch(AhciPort *ap); /* the loop */
/* A device-to-host FIS with the drive's registers, and PxTFD. */
void ahci_write_d2h(AhciPort *ap, bool interrupt);
/* The device's signature, as after a reset. */
void ahci_send_signature(AhciPort *ap);
void ahci_forget_commands(AhciPort *ap);

#endif
