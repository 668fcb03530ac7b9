/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An AHCI port: registers, starting and stopping, reset, drives that come and go. */
#include "hw/ide/ahci.h"
#include "vmm/util/bytes.h"

enum {
    PX_CLB = 0x00,
    PX_CLBU = 0x04,
    PX_FB = 0x08,
    PX_FBU = 0x0c,
    PX_IS = 0x10,
    PX_IE = 0x14,
    PX_CMD = 0x18,
    PX_TFD = 0x20,
    PX_SIG = 0x24,
    PX_SSTS = 0x28,
    PX_SCTL = 0x2c,
    PX_SERR = 0x30,
    PX_SACT = 0x34,
    PX_CI = 0x38,
};

#define IE_WRITABLE  0xfdc000ffU
#define CMD_WRITABLE (AHCI_CMD_ST | AHCI_CMD_SUD | AHCI_CMD_POD | AHCI_CMD_FRE | 0xff000000U)
#define SSTS_PRESENT 0x113 /* device and link, 1.5 Gb/s, active */
#define DET_MASK     0xf
#define DET_RESET    1
#define SERR_DIAG_N  (1U << 16)
#define SERR_DIAG_X  (1U << 26)
#define TFD_NOBODY   0x7f

static IdeDrive *drive_of(const AhciPort *ap)
{
    return ap->port.drives[0];
}

/* ---- Registers ---- */

static void set_low(uint64_t *address, uint32_t value)
{
    *address = (*address & 0xffffffff00000000ULL) | value;
}

static void set_high(uint64_t *address, uint32_t value)
{
    *address = (*address & 0xffffffffU) | (uint64_t)value << 32;
}

static uint32_t read_cmd(const AhciPort *ap)
{
    uint32_t value = ap->cmd;
    value |= ap->cmd & AHCI_CMD_FRE ? AHCI_CMD_FR : 0;
    return value | (ap->cmd & AHCI_CMD_ST || ap->running ? AHCI_CMD_CR : 0);
}

static uint32_t read_ssts(const AhciPort *ap)
{
    return drive_of(ap) && (ap->sctl & DET_MASK) == 0 && !ap->resetting ? SSTS_PRESENT : 0;
}

uint32_t ahci_port_read(AhciPort *ap, unsigned offset)
{
    switch (offset) {
    case PX_CLB:
        return (uint32_t)ap->list;
    case PX_CLBU:
        return (uint32_t)(ap->list >> 32);
    case PX_FB:
        return (uint32_t)ap->fis;
    case PX_FBU:
        return (uint32_t)(ap->fis >> 32);
    case PX_IS:
        return ap->is;
    case PX_IE:
        return ap->ie;
    case PX_CMD:
        return read_cmd(ap);
    case PX_TFD:
        return ap->tfd;
    case PX_SIG:
        return ap->sig;
    case PX_SSTS:
        return read_ssts(ap);
    case PX_SCTL:
        return ap->sctl;
    case PX_SERR:
        return ap->serr;
    case PX_SACT:
        return ap->sact;
    case PX_CI:
        return ap->ci;
    default:
        return 0;
    }
}

/* What runs goes on to its end, and nobody hears of it. */
void ahci_forget_commands(AhciPort *ap)
{
    ap->stale |= ap->running;
    ap->ci = ap->sact = ap->finished = 0;
    ap->failed = false;
}

static void write_cmd(AhciPort *ap, uint32_t value)
{
    uint32_t old = ap->cmd;
    if (value & AHCI_CMD_CLO && !(old & AHCI_CMD_ST)) {
        ap->tfd &= ~(uint32_t)(ATA_STATUS_BSY | ATA_STATUS_DRQ);
    }
    ap->cmd = (value & CMD_WRITABLE) | (old & AHCI_CMD_CCS);
    if (old & AHCI_CMD_ST && !(value & AHCI_CMD_ST)) {
        ahci_forget_commands(ap);
        ap->cmd &= ~AHCI_CMD_CCS;
    }
    if (value & AHCI_CMD_FRE && !(old & AHCI_CMD_FRE) && drive_of(ap) && !ap->resetting) {
        ahci_write_d2h(ap, false);
    }
}

static void write_sctl(AhciPort *ap, uint32_t value)
{
    bool was = (ap->sctl & DET_MASK) == DET_RESET, now = (value & DET_MASK) == DET_RESET;
    ap->sctl = value & 0xfff;
    if (now && !was) {
        ahci_forget_commands(ap);
        ap->tfd = TFD_NOBODY;
        ap->sig = UINT32_MAX;
    } else if (was && !now) {
        ap->resetting = true;
        ap->ahci->kicks |= 1U << ap->port.number;
    }
}

void ahci_port_write(AhciPort *ap, unsigned offset, uint32_t value)
{
    switch (offset) {
    case PX_CLB:
        set_low(&ap->list, value & ~0x3ffU);
        break;
    case PX_CLBU:
        set_high(&ap->list, value);
        break;
    case PX_FB:
        set_low(&ap->fis, value & ~0xffU);
        break;
    case PX_FBU:
        set_high(&ap->fis, value);
        break;
    case PX_IS:
        ap->is &= ~value;
        break;
    case PX_IE:
        ap->ie = value & IE_WRITABLE;
        break;
    case PX_CMD:
        write_cmd(ap, value);
        break;
    case PX_SCTL:
        write_sctl(ap, value);
        break;
    case PX_SERR:
        ap->serr &= ~value;
        if (!(ap->serr & SERR_DIAG_X)) {
            ap->is &= ~AHCI_IS_PCS;
        }
        if (!(ap->serr & SERR_DIAG_N)) {
            ap->is &= ~AHCI_IS_PRCS;
        }
        break;
    case PX_SACT:
        ap->sact |= ap->cmd & AHCI_CMD_ST ? value : 0;
        break;
    case PX_CI:
        if (ap->cmd & AHCI_CMD_ST) {
            ap->ci |= value;
            ap->ahci->kicks |= 1U << ap->port.number;
        }
        break;
    default:
        break;
    }
}

/* ---- Reset ---- */

void ahci_port_reset(AhciPort *ap)
{
    ahci_forget_commands(ap);
    ap->is = ap->ie = ap->serr = ap->sctl = 0;
    ap->cmd = AHCI_CMD_SUD | AHCI_CMD_POD;
    ap->tfd = TFD_NOBODY;
    ap->sig = UINT32_MAX;
    ap->soft_reset = false;
    ap->resetting = ap->running != 0;
    if (drive_of(ap) && !ap->resetting) {
        ata_reset(drive_of(ap), false);
        ahci_send_signature(ap);
    }
}

/* ---- Drives ---- */

static void plugged(IdePort *port, IdeDrive *drive)
{
    AhciPort *ap = port->opaque;
    ahci_slots_new(ap);
    g_mutex_lock(port->lock);
    ahci_send_signature(ap);
    if (drive->dev.hotplugged) {
        ap->serr |= SERR_DIAG_X | SERR_DIAG_N;
        ahci_port_raise(ap, AHCI_IS_PCS | AHCI_IS_PRCS);
    }
    g_mutex_unlock(port->lock);
}

static void unplugged(IdePort *port, IdeDrive *drive)
{
    AhciPort *ap = port->opaque;
    ahci_port_stop(ap);
    g_mutex_lock(port->lock);
    port->drives[0] = NULL;
    ap->tfd = TFD_NOBODY;
    ap->sig = UINT32_MAX;
    ap->serr |= SERR_DIAG_N;
    ahci_port_raise(ap, AHCI_IS_PRCS);
    g_mutex_unlock(port->lock);
    ahci_slots_free(ap);
}

/* ---- Life ---- */

static void nothing(void *opaque)
{
}

static void flush_batch(void *opaque)
{
    AhciPort *ap = opaque;
    g_mutex_lock(ap->port.lock);
    ahci_flush_batch(ap);
    g_mutex_unlock(ap->port.lock);
}

void ahci_port_stop(AhciPort *ap)
{
    if (!drive_of(ap)) {
        return;
    }
    g_mutex_lock(ap->port.lock);
    ahci_forget_commands(ap);
    g_mutex_unlock(ap->port.lock);
    event_loop_call(ap->port.loop, nothing, NULL);
    ide_drive_drain(drive_of(ap), true);
    event_loop_call(ap->port.loop, flush_batch, ap);
}

void ahci_port_quiesce(AhciPort *ap)
{
    if (drive_of(ap)) {
        event_loop_call(ap->port.loop, nothing, NULL);
        ide_drive_drain(drive_of(ap), false);
        event_loop_call(ap->port.loop, flush_batch, ap);
    }
}

void ahci_port_resume(AhciPort *ap)
{
    g_mutex_lock(ap->port.lock);
    bool work = ahci_port_has_work(ap);
    g_mutex_unlock(ap->port.lock);
    if (work) {
        event_loop_post(ap->port.loop, &ap->task);
    }
}

bool ahci_port_init(AhciPort *ap, Ahci *ahci, unsigned number, GError **error)
{
    ap->ahci = ahci;
    ap->port.sata = true;
    ap->port.plugged = plugged;
    ap->port.unplugged = unplugged;
    ap->port.opaque = ap;
    ahci_commands_init(ap);
    return ide_port_init(&ap->port, &ahci->pci.dev, number, 1, error);
}

static void cancel_tasks(void *opaque)
{
    AhciPort *ap = opaque;
    event_loop_cancel_task(ap->port.loop, &ap->task);
    event_loop_cancel_task(ap->port.loop, &ap->batch);
}

void ahci_port_cleanup(AhciPort *ap)
{
    if (ap->port.bus) {
        event_loop_call(ap->port.loop, cancel_tasks, ap);
    }
}

/* ---- State ---- */

static void port_pre_save(void *base)
{
    AhciPort *ap = base;
    ap->saved_ci = ap->ci | (ap->queued & ~ap->stale);
}

static bool port_post_load(void *base, uint16_t version, GError **error)
{
    AhciPort *ap = base;
    ap->ci = ap->saved_ci;
    ap->running = ap->queued = ap->stale = ap->finished = 0;
    ap->list &= ~0x3ffULL;
    ap->fis &= ~0xffULL;
    ap->ie &= IE_WRITABLE;
    ap->cmd &= CMD_WRITABLE | AHCI_CMD_CCS;
    if (!(ap->cmd & AHCI_CMD_ST)) {
        ap->ci = ap->sact = 0;
    }
    return true;
}

static const StateField port_fields[] = {
    STATE_INT(AhciPort, list),       STATE_INT(AhciPort, fis),         STATE_INT(AhciPort, is),
    STATE_INT(AhciPort, ie),         STATE_INT(AhciPort, cmd),         STATE_INT(AhciPort, tfd),
    STATE_INT(AhciPort, sig),        STATE_INT(AhciPort, sctl),        STATE_INT(AhciPort, serr),
    STATE_INT(AhciPort, sact),       STATE_INT(AhciPort, saved_ci),    STATE_BOOL(AhciPort, failed),
    STATE_BOOL(AhciPort, resetting), STATE_BOOL(AhciPort, soft_reset), STATE_END,
};

const StateSection ahci_port_state = {
    .name = "ahci-port",
    .version = 1,
    .fields = port_fields,
    .pre_save = port_pre_save,
    .post_load = port_post_load,
};
