/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AHCI commands: command lists, FISes, native queueing, completion. On the I/O loop, lock held. */
#include <errno.h>
#include <limits.h>
#include "hw/ide/ahci.h"
#include "vmm/memory/dma.h"
#include "vmm/util/bytes.h"

#define HEADER_SIZE   32
#define HEADER_ATAPI  (1U << 5)
#define TABLE_ATAPI   0x40
#define TABLE_PRDT    0x80
#define FIS_SIZE      20
#define FIS_COMMAND   0x80 /* the command register was written, not the control register */
#define FIS_INTERRUPT 0x40
#define CONTROL_SRST  0x04
#define IOV_PIECES    192

#define COMMANDS_AT_ONCE 8

enum { FIS_H2D = 0x27, FIS_D2H = 0x34, FIS_PIO_SETUP = 0x5f, FIS_SDB = 0xa1 };
enum { RX_PIO_SETUP = 0x20, RX_D2H = 0x40, RX_SDB = 0x58 }; /* in the received FIS area */

static IdeDrive *drive_of(const AhciPort *ap)
{
    return ap->port.drives[0];
}

static unsigned slot_of(const AhciPort *ap, const IdeJob *job)
{
    return (unsigned)(container_of(job, AhciSlot, job) - ap->slots);
}

bool ahci_port_has_work(const AhciPort *ap)
{
    return !ap->ahci->paused && (ap->ci || ap->resetting);
}

/* ---- FISes to the host (SATA 3.0, 10.3) ---- */

static void send_fis(AhciPort *ap, unsigned offset, const uint8_t *fis, unsigned bytes)
{
    AddressSpace *space = pci_dma_space(&ap->ahci->pci);
    if (ap->cmd & AHCI_CMD_FRE && !dma_write(space, ap->fis + offset, fis, bytes)) {
        device_guest_error(&ap->ahci->pci.dev, "port %u: the received-FIS area is not in memory",
                           ap->port.number);
    }
}

/* Bytes 2 to 13 of a register FIS. */
static void put_registers(const AhciPort *ap, uint8_t *fis)
{
    const AtaRegs *r = &drive_of(ap)->regs;
    fis[2] = r->status;
    fis[3] = r->error;
    for (unsigned i = 0; i < 3; i++) {
        fis[4 + i] = r->now[ATA_LBA_LOW + i];
        fis[8 + i] = r->before[ATA_LBA_LOW + i];
    }
    fis[7] = r->device;
    fis[12] = r->now[ATA_COUNT];
    fis[13] = r->before[ATA_COUNT];
}

static void take_status(AhciPort *ap)
{
    const AtaRegs *r = &drive_of(ap)->regs;
    ap->tfd = r->status | (uint32_t)r->error << 8;
}

void ahci_write_d2h(AhciPort *ap, bool interrupt)
{
    uint8_t fis[FIS_SIZE] = { FIS_D2H, interrupt ? FIS_INTERRUPT : 0 };
    put_registers(ap, fis);
    send_fis(ap, RX_D2H, fis, sizeof(fis));
    take_status(ap);
}

static void write_pio_setup(AhciPort *ap, uint64_t bytes)
{
    uint8_t fis[FIS_SIZE] = { FIS_PIO_SETUP, FIS_INTERRUPT | 0x20 };
    put_registers(ap, fis);
    fis[15] = drive_of(ap)->regs.status; /* at the end of the data */
    store_le16(fis + 16, (uint16_t)bytes);
    send_fis(ap, RX_PIO_SETUP, fis, sizeof(fis));
}

static void write_sdb(AhciPort *ap, uint32_t tags)
{
    const AtaRegs *r = &drive_of(ap)->regs;
    uint8_t fis[8] = { FIS_SDB, FIS_INTERRUPT, r->status & 0x77, r->error };
    store_le32(fis + 4, tags);
    send_fis(ap, RX_SDB, fis, sizeof(fis));
    take_status(ap);
}

void ahci_send_signature(AhciPort *ap)
{
    const IdeDrive *drive = drive_of(ap);
    const AtaRegs *r = &drive->regs;
    ap->sig = r->now[ATA_COUNT] | (uint32_t)r->now[ATA_LBA_LOW] << 8 |
              (uint32_t)r->now[ATA_LBA_MID] << 16 | (uint32_t)r->now[ATA_LBA_HIGH] << 24;
    ahci_write_d2h(ap, false);
}

/* ---- Ends ---- */

static void stop_list(AhciPort *ap, unsigned slot, uint32_t bits)
{
    ap->failed = true;
    ap->cmd = (ap->cmd & ~AHCI_CMD_CCS) | slot << 8;
    ahci_port_raise(ap, bits);
}

void ahci_flush_batch(AhciPort *ap)
{
    uint32_t tags = ap->finished;
    ap->finished = 0;
    if (tags && drive_of(ap)) {
        ap->sact &= ~tags;
        drive_of(ap)->regs.status = ATA_STATUS_IDLE;
        drive_of(ap)->regs.error = 0;
        write_sdb(ap, tags);
        ahci_port_raise(ap, AHCI_IS_SDBS);
    }
}

static void run_batch(void *opaque)
{
    AhciPort *ap = opaque;
    g_mutex_lock(ap->port.lock);
    if (!ap->failed) {
        ahci_flush_batch(ap);
    }
    g_mutex_unlock(ap->port.lock);
}

static void queued_failed(AhciPort *ap, const AtaPlan *plan, unsigned slot)
{
    IdeDrive *drive = drive_of(ap);
    uint32_t sector = drive->disk.logical_block;
    ahci_flush_batch(ap); /* what ended well before it */
    drive->regs.status = ATA_STATUS_IDLE | ATA_STATUS_ERR;
    drive->regs.error = drive->regs.error ? drive->regs.error : ATA_ERROR_ABRT;
    drive->queued_error = (AtaQueuedError){ .tag = (uint8_t)slot,
                                            .status = drive->regs.status,
                                            .error = drive->regs.error,
                                            .lba = plan->offset / sector,
                                            .count = (uint16_t)(plan->bytes / sector),
                                            .valid = true };
    write_sdb(ap, 0);
    stop_list(ap, slot, AHCI_IS_SDBS | AHCI_IS_TFES);
}

static void run_list(AhciPort *ap);

static void queued_done(AhciPort *ap, IdeJob *job, unsigned slot, int ret)
{
    if (ap->failed) { /* the device has aborted its queue */
        return;
    }
    if (ret < 0) {
        ata_finish(drive_of(ap), &job->plan, job->moved, ret);
        queued_failed(ap, &job->plan, slot);
        return;
    }
    ap->finished |= 1U << slot;
    if (ap->ci && !ap->running) { /* a command waits for the queue to be empty */
        ahci_flush_batch(ap);
        run_list(ap);
    } else {
        event_loop_defer(ap->port.loop, &ap->batch);
    }
}

/* A command that is not queued: the drive's registers hold its end. */
static void command_ended(AhciPort *ap, unsigned slot, uint64_t moved, int ret)
{
    AhciSlot *s = &ap->slots[slot];
    const AtaPlan *plan = &s->job.plan;
    uint8_t prdbc[4];
    uint32_t bits = AHCI_IS_DHRS;
    bool failed = drive_of(ap)->regs.status & ATA_STATUS_ERR;
    store_le32(prdbc, (uint32_t)moved);
    dma_write(pci_dma_space(&ap->ahci->pci), s->header + 4, prdbc, sizeof(prdbc));
    if (plan->protocol == ATA_PIO_IN && !failed) {
        write_pio_setup(ap, moved);
        bits |= AHCI_IS_PSS;
    }
    ahci_write_d2h(ap, true);
    bits |= ret == -ENODATA ? AHCI_IS_OFS : 0;
    if (failed) {
        stop_list(ap, slot, bits | AHCI_IS_TFES);
    } else {
        ap->ci &= ~(1U << slot);
        ahci_port_raise(ap, bits);
    }
}

static void job_done(IdeJob *job, int ret)
{
    AhciPort *ap = job->opaque;
    unsigned slot = slot_of(ap, job);
    uint32_t bit = 1U << slot;
    bool stale = ap->stale & bit, queued = ap->queued & bit;
    ap->running &= ~bit;
    ap->queued &= ~bit;
    ap->stale &= ~bit;
    if (stale) {
        run_list(ap);
        return;
    }
    if (queued) {
        queued_done(ap, job, slot, ret);
        return;
    }
    ata_finish(drive_of(ap), &job->plan, job->moved, ret);
    command_ended(ap, slot, job->moved, ret);
    run_list(ap);
}

/* ---- Beginnings ---- */

static void take_fis(IdeDrive *drive, const uint8_t *fis)
{
    AtaRegs *r = &drive->regs;
    r->command = fis[2];
    r->now[ATA_FEATURE] = fis[3];
    r->before[ATA_FEATURE] = fis[11];
    for (unsigned i = 0; i < 3; i++) {
        r->now[ATA_LBA_LOW + i] = fis[4 + i];
        r->before[ATA_LBA_LOW + i] = fis[8 + i];
    }
    r->device = fis[7];
    r->now[ATA_COUNT] = fis[12];
    r->before[ATA_COUNT] = fis[13];
}

/* A FIS that writes the control register: SRST set, then cleared, is a reset. */
static void control_fis(AhciPort *ap, unsigned slot, const uint8_t *fis)
{
    bool srst = fis[15] & CONTROL_SRST;
    ap->ci &= ~(1U << slot);
    if (ap->soft_reset && !srst) {
        ata_reset(drive_of(ap), false);
        ahci_send_signature(ap);
    }
    ap->soft_reset = srst;
}

static void start(AhciPort *ap, unsigned slot)
{
    AhciSlot *s = &ap->slots[slot];
    uint32_t bit = 1U << slot;
    ap->running |= bit;
    if (s->job.plan.ncq) {
        ap->queued |= bit;
        ap->ci &= ~bit;
    } else {
        ap->tfd = ATA_STATUS_BSY | ATA_STATUS_DRDY;
        ap->cmd = (ap->cmd & ~AHCI_CMD_CCS) | slot << 8;
    }
    ide_job_start(&s->job);
}

static void run_plan(AhciPort *ap, unsigned slot)
{
    AhciSlot *s = &ap->slots[slot];
    IdeDrive *drive = drive_of(ap);
    int64_t bytes = 0;
    switch (s->job.plan.action) {
    case ATA_DONE:
        command_ended(ap, slot, 0, 0);
        break;
    case ATA_BUFFER:
        bytes = ide_sg_copy(&s->job.sg, drive->buffer, s->job.plan.bytes, true);
        if (bytes < 0) {
            ata_abort(drive, ATA_ERROR_ABRT);
        }
        command_ended(ap, slot, bytes < 0 ? 0 : (uint64_t)bytes, 0);
        break;
    default:
        start(ap, slot);
        break;
    }
}

static void command_fis(AhciPort *ap, unsigned slot, const uint8_t *fis, uint64_t table,
                        uint32_t prdtl)
{
    IdeDrive *drive = drive_of(ap);
    IdeJob *job = &ap->slots[slot].job;
    job->drive = drive;
    job->windows = true;
    job->moved = 0;
    job->iov_count = 0;
    ide_sg_init(&job->sg, IDE_SG_AHCI, pci_dma_space(&ap->ahci->pci), table + TABLE_PRDT, prdtl);
    take_fis(drive, fis);
    bool ok = ata_decode(drive, &job->plan);
    if (job->plan.ncq && (!ok || job->plan.tag != slot)) {
        ap->ci &= ~(1U << slot);
        queued_failed(ap, &job->plan, slot);
    } else if (!ok) {
        command_ended(ap, slot, 0, 0);
    } else {
        run_plan(ap, slot);
    }
}

/* Reads the slot's header and command table. False: they are not in memory. */
static bool issue(AhciPort *ap, unsigned slot)
{
    AddressSpace *space = pci_dma_space(&ap->ahci->pci);
    AhciSlot *s = &ap->slots[slot];
    uint8_t header[HEADER_SIZE], fis[FIS_SIZE];
    s->header = ap->list + slot * HEADER_SIZE;
    if (!dma_read(space, s->header, header, sizeof(header))) {
        return false;
    }
    uint64_t table = load_le64(header + 8) & ~0x7fULL;
    if (!dma_read(space, table, fis, sizeof(fis))) {
        return false;
    }
    if (load_le32(header) & HEADER_ATAPI &&
        !dma_read(space, table + TABLE_ATAPI, drive_of(ap)->cdb, ATA_CDB_BYTES)) {
        return false;
    }
    if (fis[0] != FIS_H2D) {
        return false;
    }
    if (fis[1] & FIS_COMMAND) {
        command_fis(ap, slot, fis, table, load_le32(header) >> 16);
    } else {
        control_fis(ap, slot, fis);
    }
    return true;
}

static bool is_queued(const uint8_t command)
{
    return command == 0x60 || command == 0x61;
}

/* A command that is not queued waits for the queue to be empty, and the other way round. */
static bool must_wait(AhciPort *ap, unsigned slot)
{
    AddressSpace *space = pci_dma_space(&ap->ahci->pci);
    uint8_t raw[8], command = 0;
    if (!ap->running) {
        return false;
    }
    if (ap->running & ~ap->queued) {
        return true;
    }
    return !dma_read(space, ap->list + slot * HEADER_SIZE + 8, raw, sizeof(raw)) ||
           !dma_read(space, (load_le64(raw) & ~0x7fULL) + 2, &command, 1) || !is_queued(command);
}

static void finish_reset(AhciPort *ap)
{
    ap->resetting = false;
    if (drive_of(ap)) {
        ata_reset(drive_of(ap), false);
        ahci_send_signature(ap);
    }
}

/* Starts `most` commands; whether it stopped there. */
static bool run_some(AhciPort *ap, unsigned most)
{
    if (ap->resetting && !ap->running) {
        finish_reset(ap);
    }
    while (drive_of(ap) && !ap->ahci->paused && !ap->resetting && !ap->failed &&
           ap->cmd & AHCI_CMD_ST) {
        uint32_t waiting = ap->ci & ~ap->running;
        if (!waiting) {
            return false;
        }
        if (most-- == 0) {
            return true;
        }
        uint32_t later = waiting & ~((1U << ap->next_slot) - 1);
        unsigned slot = (unsigned)__builtin_ctz(later ? later : waiting);
        if (must_wait(ap, slot)) {
            return false;
        }
        ap->next_slot = (slot + 1) % AHCI_SLOTS;
        if (!issue(ap, slot)) {
            device_guest_error(&ap->ahci->pci.dev, "port %u: slot %u has no command in memory",
                               ap->port.number, slot);
            stop_list(ap, slot, AHCI_IS_HBFS);
        }
    }
    return false;
}

static void run_list(AhciPort *ap)
{
    run_some(ap, UINT_MAX);
}

/* A long list in parts: the disk works on the first while the others are read, and a vCPU that
 * wants a register need not wait for all of it. One that issues again and again what ends at once
 * gets a list's worth; then it is others' turn on the loop. */
static void run_task(void *opaque)
{
    AhciPort *ap = opaque;
    bool more = true;
    for (unsigned taken = 0; more && taken < AHCI_SLOTS; taken += COMMANDS_AT_ONCE) {
        g_mutex_lock(ap->port.lock);
        more = run_some(ap, COMMANDS_AT_ONCE);
        g_mutex_unlock(ap->port.lock);
        if (more && taken == 0) {
            event_loop_hand_over(ap->port.loop);
        }
    }
    if (more) {
        event_loop_post(ap->port.loop, &ap->task);
    }
}

/* ---- Slots ---- */

void ahci_commands_init(AhciPort *ap)
{
    ap->task = (LoopTask)LOOP_TASK_INIT(run_task, ap);
    ap->batch = (LoopTask)LOOP_TASK_INIT(run_batch, ap);
}

void ahci_slots_new(AhciPort *ap)
{
    ap->slots = g_new0(AhciSlot, AHCI_SLOTS);
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        IdeJob *job = &ap->slots[i].job;
        ide_job_init(job, IOV_PIECES);
        job->drive = drive_of(ap);
        job->done = job_done;
        job->opaque = ap;
    }
}

void ahci_slots_free(AhciPort *ap)
{
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        ide_job_cleanup(&ap->slots[i].job);
    }
    g_clear_pointer(&ap->slots, g_free);
}
