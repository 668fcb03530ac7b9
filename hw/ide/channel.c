/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A legacy ATA channel: registers, phases, PIO, bus-master DMA, reset. */
#include "hw/ide/channel.h"

#include <errno.h>
#include "hw/isa/isa.h"
#include "vmm/trace/trace-device.h"
#include "vmm/util/bytes.h"

/* What the command that runs waits for. */
typedef enum ChannelPhase {
    PHASE_IDLE,
    PHASE_DATA_IN,  /* the host reads the buffer */
    PHASE_DATA_OUT, /* the host fills the buffer */
    PHASE_CDB,      /* the host writes a packet */
    PHASE_DMA_WAIT, /* the host starts the bus master */
    PHASE_WORK,     /* the task, or the job */
    PHASE_RESET,
    PHASE_COUNT,
} ChannelPhase;

typedef enum ChannelTodo {
    TODO_NOTHING,
    TODO_START,
    TODO_CONTINUE, /* a PACKET's next window is in the buffer, or wanted */
    TODO_CANCEL,   /* a PACKET that waits for a window: a reset came */
    TODO_COUNT,
} ChannelTodo;

enum { REG_DATA, REG_ERROR, REG_COUNT, REG_LOW, REG_MID, REG_HIGH, REG_DEVICE, REG_STATUS };
enum { CONTROL_NIEN = 0x02, CONTROL_SRST = 0x04, CONTROL_HOB = 0x80 };
enum { BM_START = 0x01, BM_TO_MEMORY = 0x08 };
enum { BM_ACTIVE = 0x01, BM_ERROR = 0x02, BM_INTERRUPT = 0x04, BM_CAPABLE = 0x60 };

#define COMMAND_DEVICE_RESET 0x08
#define COMMAND_DIAGNOSTIC   0x90
#define PRD_MAX              8192 /* a table does not cross 64 KiB */
#define IOV_MAX_PIECES       192

static IdeDrive *selected(const IdeChannel *ch)
{
    return ch->port.drives[ch->unit];
}

/* ---- Interrupts ---- */

static void update_irq(IdeChannel *ch)
{
    irq_set(ch->irq, ch->intrq && !(ch->control & CONTROL_NIEN) && selected(ch));
}

static void raise_irq(IdeChannel *ch)
{
    ch->intrq = true;
    ch->bm_status |= BM_INTERRUPT;
    update_irq(ch);
}

static void lower_irq(IdeChannel *ch)
{
    ch->intrq = false;
    update_irq(ch);
}

/* ---- Phases ---- */

static void work(IdeChannel *ch, ChannelTodo todo)
{
    IdeDrive *drive = ch->job.drive;
    ch->phase = PHASE_WORK;
    ch->todo = todo;
    drive->regs.status = ATA_STATUS_BSY | ATA_STATUS_DRDY;
    event_loop_post(ch->port.loop, &ch->task);
}

static void data_phase(IdeChannel *ch, ChannelPhase phase, uint32_t bytes)
{
    ch->phase = phase;
    ch->position = 0;
    ch->end = bytes;
    ch->job.drive->regs.status = ATA_STATUS_IDLE | ATA_STATUS_DRQ;
}

static void packet_phase(IdeChannel *ch, bool in, uint32_t bytes)
{
    AtaRegs *r = &ch->job.drive->regs;
    data_phase(ch, in ? PHASE_DATA_IN : PHASE_DATA_OUT, bytes);
    r->now[ATA_COUNT] = in ? ATAPI_REASON_IO : 0;
    r->now[ATA_LBA_MID] = (uint8_t)bytes;
    r->now[ATA_LBA_HIGH] = (uint8_t)(bytes >> 8);
    raise_irq(ch);
}

static void end_command(IdeChannel *ch, int ret, bool interrupt)
{
    ch->phase = PHASE_IDLE;
    ata_finish(ch->job.drive, &ch->job.plan, ch->job.moved, ret);
    if (interrupt) {
        raise_irq(ch);
    }
}

/* ---- Reset ---- */

static void finish_reset(IdeChannel *ch)
{
    for (unsigned i = 0; i < 2; i++) {
        IdeDrive *drive = ch->port.drives[i];
        if (drive && ch->resetting & 1U << i) {
            ata_reset(drive, false);
            drive->regs.device = i ? ATA_DEVICE_UNIT : 0;
        }
    }
    ch->resetting = 0;
    ch->phase = PHASE_IDLE;
}

static bool reset_is_over(const IdeChannel *ch)
{
    return ch->resetting && !ch->job.active && !(ch->control & CONTROL_SRST);
}

/* Units get their signature when the job has ended: what it moves goes where it was to go. */
static void begin_reset(IdeChannel *ch, uint8_t units)
{
    bool waiting = ch->phase == PHASE_DATA_IN || ch->phase == PHASE_DATA_OUT;
    ch->resetting |= units;
    for (unsigned i = 0; i < 2; i++) {
        if (ch->port.drives[i] && units & 1U << i) {
            ch->port.drives[i]->regs.status = ATA_STATUS_BSY;
        }
    }
    if (!ch->job.active) {
        ch->todo = TODO_NOTHING;
    } else if (waiting || ch->todo == TODO_CONTINUE) {
        ch->todo = TODO_CANCEL;
        event_loop_post(ch->port.loop, &ch->task);
    }
    ch->phase = PHASE_RESET;
    lower_irq(ch);
    if (reset_is_over(ch)) {
        finish_reset(ch);
    }
}

/* ---- What the job has done: on the loop ---- */

static void finish_dma(IdeChannel *ch, int ret)
{
    if (ret == -EFAULT) {
        ch->bm_status |= BM_ERROR;
    }
    if (ret < 0 || ide_sg_ended(&ch->job.sg)) {
        ch->bm_status &= ~BM_ACTIVE;
    }
}

static void packet_done(IdeChannel *ch, int ret)
{
    uint64_t rest = ch->job.moved - MIN(ch->given, ch->job.moved);
    bool in = ch->job.scsi.direction == SCSI_DATA_IN;
    if (ret == 0 && in && rest && rest <= ch->job.plan.block_bytes) {
        ch->last_data = true;
        packet_phase(ch, true, (uint32_t)rest);
    } else {
        end_command(ch, ret, true);
    }
}

static void job_done(IdeJob *job, int ret)
{
    IdeChannel *ch = job->opaque;
    bool more = job->moved < job->plan.bytes;
    if (ch->resetting) {
        ch->bm_status &= ~BM_ACTIVE;
        if (reset_is_over(ch)) {
            finish_reset(ch);
        }
    } else if (job->windows) {
        finish_dma(ch, ret);
        end_command(ch, ret, true);
    } else if (job->plan.action == ATA_SCSI) {
        packet_done(ch, ret);
    } else if (ret == 0 && job->plan.action == ATA_READ) {
        data_phase(ch, PHASE_DATA_IN, (uint32_t)job->step);
        raise_irq(ch);
    } else if (ret == 0 && job->plan.action == ATA_WRITE && more) {
        data_phase(ch, PHASE_DATA_OUT,
                   (uint32_t)MIN(job->plan.bytes - job->moved, job->plan.block_bytes));
        raise_irq(ch);
    } else {
        end_command(ch, ret, true);
    }
}

/* A PACKET's window is full (in), or the next one is wanted (out). */
static void packet_next(IdeJob *job)
{
    IdeChannel *ch = job->opaque;
    bool in = job->scsi.direction == SCSI_DATA_IN;
    uint64_t bytes = in ? job->moved - ch->given
                        : MIN(job->scsi.length - job->moved, (uint64_t)job->plan.block_bytes);
    bool had = in ? job->moved <= ch->given : ch->replay; /* before a load */
    if (ch->resetting || had) {
        ch->replay = false;
        ch->todo = ch->resetting ? TODO_CANCEL : TODO_CONTINUE;
        event_loop_post(ch->port.loop, &ch->task);
    } else {
        packet_phase(ch, in, (uint32_t)MIN(bytes, ATA_BUFFER_SIZE));
    }
}

/* ---- The task: on the loop ---- */

static void start_job(IdeChannel *ch)
{
    IdeJob *job = &ch->job;
    if (job->windows) {
        job->moved = 0;
        ide_sg_init(&job->sg, IDE_SG_BMDMA, pci_dma_space(ch->pci), ch->bm_table, PRD_MAX);
    }
    ide_job_start(job);
}

static void run_task(void *opaque)
{
    IdeChannel *ch = opaque;
    IdeJob *job = &ch->job;
    g_mutex_lock(ch->port.lock);
    ChannelTodo todo = ch->paused ? TODO_NOTHING : ch->todo;
    ch->todo = ch->paused ? ch->todo : TODO_NOTHING;
    if (todo == TODO_CONTINUE && !job->active) { /* a PACKET that a load has interrupted */
        todo = TODO_START;
        ch->replay = true;
    }
    if (todo == TODO_START) {
        start_job(ch);
    }
    g_mutex_unlock(ch->port.lock);
    if (todo == TODO_CONTINUE) {
        bool in = job->scsi.direction == SCSI_DATA_IN;
        job->drive->packet->proceed(job, in ? job->plan.block_bytes : ch->end);
    } else if (todo == TODO_CANCEL && job->active) {
        job->drive->packet->cancel(job);
    }
}

/* ---- Commands ---- */

static void begin_dma(IdeChannel *ch)
{
    ch->job.windows = true;
    if (ch->bm_command & BM_START) {
        work(ch, TODO_START);
    } else {
        ch->phase = PHASE_DMA_WAIT;
        ch->job.drive->regs.status = ATA_STATUS_BSY | ATA_STATUS_DRDY;
    }
}

static void begin_packet(IdeChannel *ch)
{
    ch->given = 0;
    ch->last_data = false;
    data_phase(ch, PHASE_CDB, ATA_CDB_BYTES);
    ch->job.drive->regs.now[ATA_COUNT] = ATAPI_REASON_COD;
}

static void begin_plan(IdeChannel *ch)
{
    AtaPlan *plan = &ch->job.plan;
    ch->job.windows = false;
    ch->job.moved = 0;
    switch (plan->protocol) {
    case ATA_PIO_IN:
        if (plan->action == ATA_BUFFER) {
            data_phase(ch, PHASE_DATA_IN, (uint32_t)plan->bytes);
            raise_irq(ch);
        } else {
            work(ch, TODO_START);
        }
        break;
    case ATA_PIO_OUT: /* the first block is asked for without an interrupt */
        data_phase(ch, PHASE_DATA_OUT, (uint32_t)MIN(plan->bytes, plan->block_bytes));
        break;
    case ATA_DMA_IN:
    case ATA_DMA_OUT:
        begin_dma(ch);
        break;
    case ATA_PACKET:
        begin_packet(ch);
        break;
    default:
        if (plan->action == ATA_DONE) {
            ch->phase = PHASE_IDLE;
            raise_irq(ch);
        } else {
            work(ch, TODO_START);
        }
        break;
    }
}

static void run_diagnostic(IdeChannel *ch)
{
    for (unsigned i = 0; i < 2; i++) {
        if (ch->port.drives[i]) {
            ata_signature(ch->port.drives[i]);
            ch->port.drives[i]->regs.device = i ? ATA_DEVICE_UNIT : 0;
        }
    }
    ch->unit = 0;
    raise_irq(ch);
}

static void write_command(IdeChannel *ch, uint8_t command)
{
    IdeDrive *drive = selected(ch);
    trace_ide_command(ch->unit, command);
    if (!drive) {
        return;
    }
    lower_irq(ch);
    if (command == COMMAND_DEVICE_RESET && drive->is_cd) {
        begin_reset(ch, (uint8_t)(1U << ch->unit));
        return;
    }
    if (ch->phase != PHASE_IDLE || ch->job.active) {
        return;
    }
    if (command == COMMAND_DIAGNOSTIC) {
        run_diagnostic(ch);
        return;
    }
    drive->regs.command = command;
    ch->active_unit = ch->unit;
    ch->job.drive = drive;
    if (ata_decode(drive, &ch->job.plan)) {
        begin_plan(ch);
    } else {
        raise_irq(ch);
    }
}

/* ---- Data ---- */

static void data_was_read(IdeChannel *ch)
{
    IdeJob *job = &ch->job;
    if (job->plan.action == ATA_SCSI) {
        ch->given += ch->end;
        if (ch->last_data) {
            end_command(ch, 0, true);
        } else {
            work(ch, TODO_CONTINUE);
        }
    } else if (job->plan.action == ATA_READ && job->moved < job->plan.bytes) {
        work(ch, TODO_START);
    } else {
        end_command(ch, 0, false);
    }
}

static void data_was_written(IdeChannel *ch)
{
    IdeJob *job = &ch->job;
    if (ch->phase == PHASE_CDB) {
        memcpy(job->drive->cdb, job->drive->buffer, ATA_CDB_BYTES);
        if (job->plan.packet_dma) {
            begin_dma(ch);
        } else {
            work(ch, TODO_START);
        }
    } else {
        work(ch, job->plan.action == ATA_SCSI ? TODO_CONTINUE : TODO_START);
    }
}

static uint64_t read_data(IdeChannel *ch, unsigned size)
{
    uint64_t value = 0;
    if (ch->phase != PHASE_DATA_IN || ch->active_unit != ch->unit) {
        return 0;
    }
    unsigned n = MIN(size, ch->end - ch->position);
    memcpy(&value, ch->job.drive->buffer + ch->position, n);
    ch->position += n;
    if (ch->position == ch->end) {
        data_was_read(ch);
    }
    return le64toh(value);
}

static void write_data(IdeChannel *ch, uint64_t value, unsigned size)
{
    if ((ch->phase != PHASE_DATA_OUT && ch->phase != PHASE_CDB) || ch->active_unit != ch->unit) {
        return;
    }
    unsigned n = MIN(size, ch->end - ch->position);
    value = htole64(value);
    memcpy(ch->job.drive->buffer + ch->position, &value, n);
    ch->position += n;
    if (ch->position == ch->end) {
        data_was_written(ch);
    }
}

/* ---- Registers ---- */

static uint8_t read_register(IdeChannel *ch, unsigned reg)
{
    IdeDrive *drive = selected(ch);
    if (!drive) {
        return 0;
    }
    AtaRegs *r = &drive->regs;
    switch (reg) {
    case REG_ERROR:
        return r->error;
    case REG_DEVICE:
        return r->device | 0xa0;
    case REG_STATUS:
        lower_irq(ch);
        return r->status;
    default:
        return ch->control & CONTROL_HOB ? r->before[reg - REG_ERROR] : r->now[reg - REG_ERROR];
    }
}

static void write_register(IdeChannel *ch, unsigned reg, uint8_t value)
{
    ch->control &= ~CONTROL_HOB;
    if (reg == REG_STATUS) {
        write_command(ch, value);
        return;
    }
    IdeDrive *now = selected(ch);
    if (now && now->regs.status & (ATA_STATUS_BSY | ATA_STATUS_DRQ)) {
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        IdeDrive *drive = ch->port.drives[i];
        if (!drive) {
            continue;
        }
        if (reg == REG_DEVICE) {
            drive->regs.device = value;
        } else {
            drive->regs.before[reg - REG_ERROR] = drive->regs.now[reg - REG_ERROR];
            drive->regs.now[reg - REG_ERROR] = value;
        }
    }
    if (reg == REG_DEVICE) {
        ch->unit = value & ATA_DEVICE_UNIT ? 1 : 0;
        update_irq(ch);
    }
}

static uint64_t command_read(void *opaque, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    if (offset == REG_DATA && size > 1) {
        return read_data(opaque, size);
    }
    for (unsigned i = 0; i < size; i++) {
        uint64_t byte = offset + i == REG_DATA ? read_data(opaque, 1)
                                               : read_register(opaque, offset + i);
        value |= byte << (8 * i);
    }
    return value;
}

static void command_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    if (offset == REG_DATA) {
        write_data(opaque, value, size);
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        write_register(opaque, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
    }
}

static uint64_t control_read(void *opaque, uint64_t offset, unsigned size)
{
    const IdeDrive *drive = selected(opaque);
    return drive ? drive->regs.status : 0;
}

static void control_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    IdeChannel *ch = opaque;
    uint8_t old = ch->control;
    ch->control = (uint8_t)value;
    if (value & CONTROL_SRST && !(old & CONTROL_SRST)) {
        ch->unit = 0;
        begin_reset(ch, 3);
    } else if (reset_is_over(ch)) {
        finish_reset(ch);
    }
    update_irq(ch);
}

static const MemOps command_ops = {
    .read = command_read, .write = command_write, .min_size = 1, .max_size = 4
};
static const MemOps control_ops = {
    .read = control_read, .write = control_write, .min_size = 1, .max_size = 1
};

/* ---- Bus master ---- */

uint8_t ide_channel_bm_read(IdeChannel *ch, unsigned offset)
{
    switch (offset) {
    case 0:
        return ch->bm_command;
    case 2:
        return ch->bm_status;
    case 4:
    case 5:
    case 6:
    case 7:
        return (uint8_t)(ch->bm_table >> (8 * (offset - 4)));
    default:
        return 0xff;
    }
}

static void write_bm_command(IdeChannel *ch, uint8_t value)
{
    bool start = value & BM_START && !(ch->bm_command & BM_START);
    ch->bm_command = value & (BM_START | BM_TO_MEMORY);
    if (!(value & BM_START)) {
        ch->bm_status &= ~BM_ACTIVE;
    } else if (start) {
        ch->bm_status |= BM_ACTIVE;
        if (ch->phase == PHASE_DMA_WAIT) {
            work(ch, TODO_START);
        }
    }
}

void ide_channel_bm_write(IdeChannel *ch, unsigned offset, uint8_t value)
{
    switch (offset) {
    case 0:
        write_bm_command(ch, value);
        break;
    case 2:
        ch->bm_status = (ch->bm_status & BM_ACTIVE) | (value & BM_CAPABLE) |
                        (ch->bm_status & ~value & (BM_ERROR | BM_INTERRUPT));
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        ch->bm_table &= ~(0xffU << (8 * (offset - 4)));
        ch->bm_table |= (uint32_t)value << (8 * (offset - 4));
        ch->bm_table &= ~3U;
        break;
    default:
        break;
    }
}

/* ---- Life ---- */

static void nothing(void *opaque)
{
}

static void cancel_packet(void *opaque)
{
    IdeChannel *ch = opaque;
    if (ch->job.active && ch->job.plan.action == ATA_SCSI) {
        ch->job.drive->packet->cancel(&ch->job);
    }
}

static void drain(IdeChannel *ch, bool cancel)
{
    for (unsigned i = 0; i < 2; i++) {
        IdeDrive *drive = ch->port.drives[i];
        if (drive) {
            ide_drive_drain(drive, cancel);
        }
    }
}

/* The command that runs is forgotten, after its job has ended. Main thread, lock not held. */
static void stop_all(IdeChannel *ch)
{
    g_mutex_lock(ch->port.lock);
    ch->resetting = 3;
    ch->todo = TODO_NOTHING;
    g_mutex_unlock(ch->port.lock);
    event_loop_call(ch->port.loop, cancel_packet, ch);
    drain(ch, true);
    event_loop_call(ch->port.loop, nothing, NULL);
    g_mutex_lock(ch->port.lock);
    ch->job.active = false;
    ch->resetting = 0;
    ch->phase = PHASE_IDLE;
    g_mutex_unlock(ch->port.lock);
}

static void plugged(IdePort *port, IdeDrive *drive)
{
}

static void unplugged(IdePort *port, IdeDrive *drive)
{
    IdeChannel *ch = port->opaque;
    stop_all(ch);
    g_mutex_lock(port->lock);
    port->drives[drive->unit] = NULL;
    ch->job.drive = NULL;
    g_mutex_unlock(port->lock);
}

bool ide_channel_init(IdeChannel *ch, PciDevice *pci, unsigned number, uint16_t command_port,
                      uint16_t control_port, IrqLine *irq, GError **error)
{
    ch->pci = pci;
    ch->irq = irq;
    ch->port.plugged = plugged;
    ch->port.unplugged = unplugged;
    ch->port.opaque = ch;
    ch->job.done = job_done;
    ch->job.packet_next = packet_next;
    ch->job.opaque = ch;
    ch->task = (LoopTask)LOOP_TASK_INIT(run_task, ch);
    if (!ide_port_init(&ch->port, &pci->dev, number, 2, error)) {
        return false;
    }
    ide_job_init(&ch->job, IOV_MAX_PIECES);
    mem_region_init_io(&ch->command_ports, "ide-command", 8, &command_ops, ch, &pci->dev.lock);
    mem_region_init_io(&ch->control_ports, "ide-control", 1, &control_ops, ch, &pci->dev.lock);
    isa_map_ports(&pci->dev, &ch->command_ports, command_port);
    isa_map_ports(&pci->dev, &ch->control_ports, control_port);
    return true;
}

static void cancel_task(void *opaque)
{
    IdeChannel *ch = opaque;
    event_loop_cancel_task(ch->port.loop, &ch->task);
}

void ide_channel_cleanup(IdeChannel *ch)
{
    if (!ch->port.bus) {
        return;
    }
    isa_unmap_ports(&ch->pci->dev, &ch->command_ports);
    isa_unmap_ports(&ch->pci->dev, &ch->control_ports);
    event_loop_call(ch->port.loop, cancel_task, ch);
    ide_job_cleanup(&ch->job);
}

void ide_channel_reset(IdeChannel *ch)
{
    stop_all(ch);
    g_mutex_lock(ch->port.lock);
    ch->unit = 0;
    ch->control = 0;
    ch->bm_command = ch->bm_status = 0;
    ch->bm_table = 0;
    lower_irq(ch);
    g_mutex_unlock(ch->port.lock);
}

void ide_channel_quiesce(IdeChannel *ch)
{
    g_mutex_lock(ch->port.lock);
    ch->paused = true;
    g_mutex_unlock(ch->port.lock);
    event_loop_call(ch->port.loop, nothing, NULL);
    drain(ch, false);
}

void ide_channel_resume(IdeChannel *ch)
{
    g_mutex_lock(ch->port.lock);
    ch->paused = false;
    if (ch->phase == PHASE_WORK && !ch->job.active && !ch->todo) {
        ch->todo = TODO_START; /* loaded: an error policy kept its request, it starts again */
    }
    if (ch->todo) {
        event_loop_post(ch->port.loop, &ch->task);
    }
    g_mutex_unlock(ch->port.lock);
}

/* ---- State ---- */

static bool channel_post_load(void *base, uint16_t version, GError **error)
{
    IdeChannel *ch = base;
    IdeJob *job = &ch->job;
    bool ok = ch->unit < 2 && ch->active_unit < 2 && ch->phase < PHASE_COUNT &&
              ch->todo < TODO_COUNT && ch->end <= ATA_BUFFER_SIZE && ch->position <= ch->end &&
              ch->resetting <= 3;
    if (ok && ch->phase != PHASE_IDLE && ch->phase != PHASE_RESET) {
        job->drive = ch->port.drives[ch->active_unit];
        bool scsi = job->plan.action == ATA_SCSI;
        ok = job->drive && ata_plan_ok(&job->plan) && job->moved <= job->plan.bytes + UINT32_MAX &&
             ch->position < MAX(ch->end, 1) && scsi == (scsi && job->drive->is_cd);
    }
    if (!ok) {
        return error_set(error, "ide channel %u: the saved command is out of range",
                         ch->port.number);
    }
    job->active = ch->replay = false;
    if (ch->phase == PHASE_RESET) {
        ch->resetting = ch->resetting ? ch->resetting : 3;
        ch->todo = TODO_NOTHING;
    }
    ch->bm_command &= BM_START | BM_TO_MEMORY;
    update_irq(ch);
    return true;
}

static const StateField channel_fields[] = {
    STATE_INT(IdeChannel, unit),
    STATE_INT(IdeChannel, control),
    STATE_BOOL(IdeChannel, intrq),
    STATE_INT(IdeChannel, phase),
    STATE_INT(IdeChannel, todo),
    STATE_INT(IdeChannel, active_unit),
    STATE_INT(IdeChannel, resetting),
    STATE_INT(IdeChannel, position),
    STATE_INT(IdeChannel, end),
    STATE_INT(IdeChannel, given),
    STATE_BOOL(IdeChannel, last_data),
    STATE_INT(IdeChannel, bm_command),
    STATE_INT(IdeChannel, bm_status),
    STATE_INT(IdeChannel, bm_table),

    STATE_STRUCT(IdeChannel, job.plan, &ata_plan_state),
    STATE_INT(IdeChannel, job.moved),
    STATE_BOOL(IdeChannel, job.windows),
    STATE_END,
};

const StateSection ide_channel_state = {
    .name = "ide-channel",
    .version = 1,
    .fields = channel_fields,
    .post_load = channel_post_load,
};
