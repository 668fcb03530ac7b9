/* SPDX-License-Identifier: GPL-2.0-or-later */
/* isa-fdc: the floppy controller (Intel 82077AA data sheet): ports, phases, life. */
#include "hw/devices.h"
#include "hw/isa/fdc.h"
#include "hw/isa/i8237.h"
#include "hw/isa/isa.h"

#define PORTS    6 /* 0x3f6 is the disk controller's */
#define DIR_PORT 7

enum { REG_SRA, REG_SRB, REG_DOR, REG_TDR, REG_MSR, REG_FIFO };

#define SRA_NO_SECOND 0x40
#define SRA_INTERRUPT 0x80
#define SRB_ALWAYS    0xc0
#define MSR_READY     0x80
#define MSR_TO_HOST   0x40
#define MSR_PIO       0x20
#define MSR_BUSY      0x10
#define DSR_RESET     0x80
#define DSR_RATE      0x03
#define DIR_CHANGED   0x80
#define TIMING_NO_DMA 0x01
#define NO_DMA        8 /* of the property: more than there are channels */

/* ---- Phases ---- */

static void update_irq(FdcState *fdc)
{
    irq_set(fdc->irq_line, fdc->interrupt && (fdc->dor & FDC_DOR_DMA));
}

void fdc_set_interrupt(FdcState *fdc, bool on)
{
    fdc->interrupt = on;
    update_irq(fdc);
}

void fdc_to_command(FdcState *fdc)
{
    fdc->phase = FDC_COMMAND;
    fdc->param_count = fdc->param_need = 0;
}

void fdc_answer(FdcState *fdc, const uint8_t *bytes, unsigned count, bool interrupt)
{
    fdc->phase = FDC_RESULT;
    fdc->result_pos = 0;
    fdc->result_count = (uint8_t)MIN(count, FDC_RESULT_MAX);
    memcpy(fdc->result, bytes, fdc->result_count);
    if (interrupt) {
        fdc_set_interrupt(fdc, true);
    }
}

bool fdc_uses_dma(const FdcState *fdc)
{
    return fdc->dma_chip && (fdc->dor & FDC_DOR_DMA) && !(fdc->timing[1] & TIMING_NO_DMA);
}

/* What a reset leaves; LOCK keeps CONFIGURE's settings over one by software. */
static void reset_controller(FdcState *fdc, bool hard)
{
    fdc_abandon(fdc);
    fdc_to_command(fdc);
    if (hard) {
        fdc->locked = false;
        fdc->timing[0] = fdc->timing[1] = 0;
    }
    if (!fdc->locked) {
        fdc->config = FDC_CONFIG_DEFAULT;
        fdc->precompensation = 0;
    }
    for (unsigned i = 0; i < FDC_ADDRESSED; i++) {
        fdc->drives[i].track = 0;
    }
    fdc->perpendicular &= 0x3c;
    fdc->seeking = fdc->reset_senses = 0;
    fdc->result_count = fdc->result_pos = 0;
    fdc_set_interrupt(fdc, false);
}

/* Out of reset the drives are polled once, which ends with an interrupt. */
static void leave_reset(FdcState *fdc)
{
    if (!(fdc->config & FDC_CONFIG_NO_POLL)) {
        fdc->reset_senses = FDC_ADDRESSED;
        fdc_set_interrupt(fdc, true);
    }
}

/* ---- Ports ---- */

static void write_dor(FdcState *fdc, uint8_t value)
{
    uint8_t old = fdc->dor;
    fdc->dor = value;
    if (!(value & FDC_DOR_RUN)) {
        reset_controller(fdc, false);
    } else if (!(old & FDC_DOR_RUN)) {
        leave_reset(fdc);
    }
    update_irq(fdc);
}

static void write_dsr(FdcState *fdc, uint8_t value)
{
    if ((value & DSR_RESET) && (fdc->dor & FDC_DOR_RUN)) {
        reset_controller(fdc, false);
        leave_reset(fdc);
    }
    fdc->dsr = value & ~DSR_RESET;
}

static uint8_t read_msr(const FdcState *fdc)
{
    if (!(fdc->dor & FDC_DOR_RUN)) {
        return 0;
    }
    switch (fdc->phase) {
    case FDC_COMMAND:
        return MSR_READY | (fdc->param_count ? MSR_BUSY : 0) | (fdc->seeking & 0x0f);
    case FDC_RESULT:
        return MSR_READY | MSR_TO_HOST | MSR_BUSY;
    default:
        return MSR_BUSY | (fdc->pio ? MSR_PIO : 0) | (fdc->port_ready ? MSR_READY : 0) |
               (fdc->action == FDC_READ ? MSR_TO_HOST : 0);
    }
}

static uint8_t read_fifo(FdcState *fdc)
{
    if (fdc->phase == FDC_EXECUTE) {
        return fdc_port_read(fdc);
    }
    if (fdc->phase != FDC_RESULT || fdc->result_pos >= fdc->result_count) {
        return 0;
    }
    uint8_t value = fdc->result[fdc->result_pos++];
    fdc_set_interrupt(fdc, false);
    if (fdc->result_pos == fdc->result_count) {
        fdc_to_command(fdc);
    }
    return value;
}

static void write_fifo(FdcState *fdc, uint8_t value)
{
    if (!(fdc->dor & FDC_DOR_RUN)) {
        return;
    }
    if (fdc->phase == FDC_EXECUTE) {
        fdc_port_write(fdc, value);
        return;
    }
    if (fdc->phase != FDC_COMMAND) {
        return;
    }
    if (fdc->param_count == 0) {
        fdc->param_need = (uint8_t)fdc_param_count(value);
    }
    if (fdc->param_count < FDC_PARAMS_MAX) {
        fdc->params[fdc->param_count++] = value;
    }
    if (fdc->param_count >= fdc->param_need) {
        fdc_run(fdc);
    }
}

static uint64_t fdc_read(void *opaque, uint64_t offset, unsigned size)
{
    FdcState *fdc = opaque;
    switch (offset) {
    case REG_SRA:
        return SRA_NO_SECOND | (fdc->interrupt ? SRA_INTERRUPT : 0);
    case REG_SRB:
        return SRB_ALWAYS | (fdc->dor >> 4 & 3) | (fdc->dor & 1) << 5;
    case REG_DOR:
        return fdc->dor;
    case REG_TDR:
        return fdc->tdr;
    case REG_MSR:
        return read_msr(fdc);
    default:
        return read_fifo(fdc);
    }
}

static void fdc_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    FdcState *fdc = opaque;
    switch (offset) {
    case REG_DOR:
        write_dor(fdc, (uint8_t)value);
        break;
    case REG_TDR:
        fdc->tdr = value & 3;
        break;
    case REG_MSR:
        write_dsr(fdc, (uint8_t)value);
        break;
    case REG_FIFO:
        write_fifo(fdc, (uint8_t)value);
        break;
    default: /* status A and B are read-only */
        break;
    }
}

static uint64_t dir_read(void *opaque, uint64_t offset, unsigned size)
{
    const FdcState *fdc = opaque;
    const FdcDrive *drive = &fdc->drives[fdc->dor & FDC_DOR_SELECT];
    return drive->floppy && drive->changed ? DIR_CHANGED : 0;
}

static void ccr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    FdcState *fdc = opaque;
    fdc->dsr = (uint8_t)((fdc->dsr & ~DSR_RATE) | (value & DSR_RATE));
}

static const MemOps fdc_ops = { .read = fdc_read, .write = fdc_write, .max_size = 1 };
static const MemOps dir_ops = { .read = dir_read, .write = ccr_write, .max_size = 1 };

/* ---- CMOS ---- */

#define CMOS_FLOPPY    0x10
#define CMOS_EQUIPMENT 0x14

static uint8_t cmos_type(const FdcDrive *drive)
{
    static const uint8_t types[] = { [FLOPPY_144] = 4, [FLOPPY_288] = 5, [FLOPPY_120] = 2 };
    return drive->floppy ? types[drive->floppy->drive_type] : 0;
}

void isa_fdc_set_cmos(Machine *machine, Device *rtc)
{
    Device *dev = NULL;
    if (!rtc) {
        return; /* microvm can be without */
    }
    for (guint i = 0; i < machine->buses->len && !dev; i++) {
        const Bus *bus = g_ptr_array_index(machine->buses, i);
        dev = bus->type == BUS_FLOPPY ? bus->parent : NULL;
    }
    const FdcState *fdc = (const FdcState *)dev;
    uint8_t a = fdc ? cmos_type(&fdc->drives[0]) : 0, b = fdc ? cmos_type(&fdc->drives[1]) : 0;
    uint8_t equipment = 0x06; /* coprocessor, pointing device */
    if (a || b) {
        equipment |= (uint8_t)(0x01 | (a && b ? 0x40 : 0));
    }
    mc146818_set_cmos(rtc, CMOS_FLOPPY, (uint8_t)(a << 4 | b));
    mc146818_set_cmos(rtc, CMOS_EQUIPMENT, equipment);
}

bool isa_fdc_resources(const Device *dev, uint16_t *iobase, unsigned *irq, unsigned *dma)
{
    const FdcState *fdc = (const FdcState *)dev;
    if (dev->cls != &isa_fdc_class) {
        return false;
    }
    *iobase = (uint16_t)fdc->iobase;
    *irq = fdc->irq;
    *dma = fdc->dma;
    return true;
}

/* ---- Life ---- */

static void nothing(void *opaque)
{
}

static void drain(FdcState *fdc, bool cancel)
{
    event_loop_call(fdc->loop, nothing, NULL);
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        if (fdc->drives[i].floppy && cancel) {
            block_backend_cancel_kept(fdc->drives[i].floppy->disk.backend);
        } else if (fdc->drives[i].floppy) {
            block_backend_drain(fdc->drives[i].floppy->disk.backend);
        }
    }
}

static void fdc_quiesce(Device *dev)
{
    FdcState *fdc = (FdcState *)dev;
    g_mutex_lock(&dev->lock);
    fdc->quiet = true;
    g_mutex_unlock(&dev->lock);
    drain(fdc, false);
}

static void fdc_resume(Device *dev)
{
    FdcState *fdc = (FdcState *)dev;
    g_mutex_lock(&dev->lock);
    fdc->quiet = false;
    if (fdc->wanted) {
        fdc_io_want(fdc);
    }
    g_mutex_unlock(&dev->lock);
}

static bool fdc_realize(Device *dev, GError **error)
{
    FdcState *fdc = (FdcState *)dev;
    Machine *machine = dev->machine;
    fdc->loop = machine_io_loop(machine, error);
    if (!fdc->loop) {
        return false;
    }
    fdc->irq_line = &machine->gsi[fdc->irq];
    fdc->dma_chip = fdc->dma < NO_DMA ? i8237_find(machine) : NULL;
    if (fdc->dma < NO_DMA && !fdc->dma_chip) {
        return error_set(error,
                         "machine '%s' has no DMA controller for a floppy controller: dma=8 "
                         "does without",
                         machine->cls->name);
    }
    fdc->task = (LoopTask)LOOP_TASK_INIT(fdc_io_task, fdc);
    if (fdc->dma_chip) {
        i8237_connect(fdc->dma_chip, fdc->dma, fdc_dma_ready, fdc);
    }
    fdc->bus = bus_new(BUS_FLOPPY, "floppy-bus.0", machine, dev);
    fdc->bus->owner = fdc;
    fdc->bus->plug = fdc_bus_plug;
    fdc->bus->max_children = FDC_DRIVES;
    mem_region_init_io(&fdc->ports, "fdc", PORTS, &fdc_ops, fdc, &dev->lock);
    mem_region_init_io(&fdc->dir_port, "fdc-dir", 1, &dir_ops, fdc, &dev->lock);
    isa_map_ports(dev, &fdc->ports, (uint16_t)fdc->iobase);
    isa_map_ports(dev, &fdc->dir_port, (uint16_t)(fdc->iobase + DIR_PORT));
    return true;
}

/* The drives went first. */
static void fdc_unrealize(Device *dev)
{
    FdcState *fdc = (FdcState *)dev;
    isa_unmap_ports(dev, &fdc->ports);
    isa_unmap_ports(dev, &fdc->dir_port);
    address_space_synchronize();
    if (fdc->dma_chip) {
        i8237_connect(fdc->dma_chip, fdc->dma, NULL, NULL);
    }
    event_loop_call(fdc->loop, nothing, NULL);
}

static void fdc_reset(Device *dev)
{
    FdcState *fdc = (FdcState *)dev;
    g_mutex_lock(&dev->lock);
    reset_controller(fdc, true);
    fdc->dor = FDC_DOR_RUN | FDC_DOR_DMA;
    fdc->tdr = 0;
    fdc->dsr = 0x02; /* 250 kbit/s */
    fdc->perpendicular = fdc->last_sector = 0;
    fdc->unit = fdc->cylinder = fdc->head = fdc->record = fdc->end = fdc->todo = 0;
    fdc->filler = 0;
    fdc->multi_track = fdc->pio = fdc->terminal = false;
    fdc->position = fdc->length = 0;
    memset(fdc->params, 0, sizeof(fdc->params));
    memset(fdc->result, 0, sizeof(fdc->result));
    memset(fdc->sector, 0, sizeof(fdc->sector));
    for (unsigned i = 0; i < FDC_ADDRESSED; i++) {
        fdc->drives[i].track = 0;
        fdc->drives[i].changed = fdc->drives[i].floppy != NULL;
    }
    update_irq(fdc);
    g_mutex_unlock(&dev->lock);
    drain(fdc, true);
}

/* ---- State ---- */

/* A request that an error policy keeps is asked for again. */
static void fdc_pre_save(void *base)
{
    FdcState *fdc = base;
    g_mutex_lock(&fdc->dev.lock);
    if (fdc->busy && !fdc->abandoned && fdc->phase == FDC_EXECUTE) {
        fdc->wanted = true;
    }
    g_mutex_unlock(&fdc->dev.lock);
}

static bool state_sane(const FdcState *fdc)
{
    uint64_t offset = 0;
    const FdcDrive *drive = &fdc->drives[fdc->unit & 3];
    bool io_ok = !fdc->wanted ||
                 (fdc->phase == FDC_EXECUTE && fdc->action != FDC_IDLE && fdc_drive_loaded(drive) &&
                  fdc_drive_offset(drive, fdc->cylinder, fdc->head, fdc->record, &offset) &&
                  offset == fdc->offset);
    return fdc->phase < FDC_PHASES && fdc->action < FDC_ACTIONS && io_ok &&
           fdc->param_count <= FDC_PARAMS_MAX && fdc->param_need <= FDC_PARAMS_MAX &&
           fdc->result_pos <= fdc->result_count && fdc->result_count <= FDC_RESULT_MAX &&
           fdc->position <= fdc->length && fdc->length <= FDC_SECTOR && fdc->unit < FDC_ADDRESSED &&
           fdc->head <= 1 && fdc->reset_senses <= FDC_ADDRESSED &&
           (fdc->action != FDC_FORMAT || fdc->todo);
}

static bool fdc_post_load(void *base, uint16_t version, GError **error)
{
    FdcState *fdc = base;
    g_mutex_lock(&fdc->dev.lock);
    bool sane = state_sane(fdc) && (fdc->pio || fdc->dma_chip);
    if (!sane) {
        reset_controller(fdc, true);
    }
    update_irq(fdc);
    g_mutex_unlock(&fdc->dev.lock);
    return sane || error_set(error, "isa-fdc: the saved state is out of range, or of another disk");
}

static const StateField drive_fields[] = {
    STATE_INT(FdcDrive, track),
    STATE_BOOL(FdcDrive, changed),
    STATE_END,
};

static const StateSection drive_state = {
    .name = "fdc-drive",
    .version = 1,
    .fields = drive_fields,
};

static const StateField fdc_fields[] = {
    STATE_STRUCT_ARRAY(FdcState, drives, &drive_state),
    STATE_INT(FdcState, dor),
    STATE_INT(FdcState, tdr),
    STATE_INT(FdcState, dsr),
    STATE_INT(FdcState, phase),
    STATE_BUFFER(FdcState, params),
    STATE_INT(FdcState, param_count),
    STATE_INT(FdcState, param_need),
    STATE_BUFFER(FdcState, result),
    STATE_INT(FdcState, result_pos),
    STATE_INT(FdcState, result_count),
    STATE_INT(FdcState, seeking),
    STATE_INT(FdcState, sense_status),
    STATE_INT(FdcState, reset_senses),
    STATE_BOOL(FdcState, interrupt),
    STATE_BUFFER(FdcState, timing),
    STATE_INT(FdcState, config),
    STATE_INT(FdcState, precompensation),
    STATE_INT(FdcState, perpendicular),
    STATE_INT(FdcState, last_sector),
    STATE_BOOL(FdcState, locked),
    STATE_INT(FdcState, action),
    STATE_INT(FdcState, unit),
    STATE_INT(FdcState, cylinder),
    STATE_INT(FdcState, head),
    STATE_INT(FdcState, record),
    STATE_INT(FdcState, end),
    STATE_INT(FdcState, filler),
    STATE_BOOL(FdcState, multi_track),
    STATE_INT(FdcState, todo),
    STATE_BOOL(FdcState, pio),
    STATE_BOOL(FdcState, port_ready),
    STATE_BOOL(FdcState, terminal),
    STATE_INT(FdcState, position),
    STATE_INT(FdcState, length),
    STATE_BUFFER(FdcState, sector),
    STATE_BOOL(FdcState, wanted),
    STATE_INT(FdcState, offset),
    STATE_END,
};

static const StateSection fdc_state = {
    .name = "isa-fdc",
    .version = 1,
    .fields = fdc_fields,
    .pre_save = fdc_pre_save,
    .post_load = fdc_post_load,
};

static char *fdc_firmware_name(const Device *dev)
{
    return g_strdup_printf("fdc@%04x", ((const FdcState *)dev)->iobase);
}

static const Property fdc_props[] = {
    PROP_RANGE_U32("iobase", FdcState, iobase, 0x3f0, 0x100, 0xfff0, "First port"),
    PROP_RANGE_U32("irq", FdcState, irq, 6, 0, 15, "ISA interrupt"),
    PROP_RANGE_U32("dma", FdcState, dma, 2, 0, NO_DMA, "DMA channel; 8: none"),
    PROP_ENUM("fallback", FdcState, fallback, FLOPPY_288, floppy_type_names,
              "The kind of a drive that is empty at the start and has none said"),
    PROP_END,
};

const DeviceClass isa_fdc_class = {
    .name = "isa-fdc",
    .desc = "Floppy disk controller (Intel 82077AA)",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_STORAGE,
    .size = sizeof(FdcState),
    .props = fdc_props,
    .state = &fdc_state,
    .has_child_bus = true,
    .child_bus = BUS_FLOPPY,
    .realize = fdc_realize,
    .unrealize = fdc_unrealize,
    .reset = fdc_reset,
    .quiesce = fdc_quiesce,
    .resume = fdc_resume,
    .firmware_name = fdc_firmware_name,
};
