/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * isa-parallel: the PC's parallel port in compatibility mode (IEEE 1284; IBM PC/AT technical
 * reference), with a printer behind it that hands its bytes to a chardev. A byte goes at the
 * leading edge of the strobe; the port is busy until the chardev took it, then acknowledges.
 */
#include "hw/devices.h"
#include "hw/isa/isa.h"
#include "vmm/chardev/chardev.h"
#include "vmm/machine/machine.h"

#define PARALLEL_PORTS 3
#define ISA_IRQS       16
#define BY_INDEX       UINT32_MAX

enum { REG_DATA, REG_STATUS, REG_CONTROL, REG_COUNT };

/* As read: the busy and acknowledge lines are inverted. */
#define STATUS_READY    0x80
#define STATUS_NO_ACK   0x40
#define STATUS_SELECTED 0x10
#define STATUS_NO_FAULT 0x08
#define STATUS_EPP      0x01 /* a timeout that cannot be cleared: there is no EPP */
#define STATUS_FIXED    (STATUS_SELECTED | STATUS_NO_FAULT | STATUS_EPP)

#define CONTROL_STROBE  0x01
#define CONTROL_NO_INIT 0x04
#define CONTROL_SELECT  0x08
#define CONTROL_IRQ     0x10
#define CONTROL_INPUT   0x20
#define CONTROL_BITS    0x3f
#define CONTROL_ONES    0xc0

typedef struct IsaParallel {
    Device dev;
    MemRegion io;
    CharFrontend *frontend;
    char *chardev;
    uint32_t index, iobase, irq;
    uint8_t data, control;
    uint8_t byte;   /* that the printer took last */
    bool waiting;   /* for the chardev to take it */
    bool ack;       /* to be seen by the next read of the status */
    bool interrupt; /* the acknowledge that nobody has looked at */
} IsaParallel;

static const uint16_t default_ports[PARALLEL_PORTS] = { 0x378, 0x278, 0x3bc };

/* Ports may share a line. A leaf lock. */
static GMutex shared_lock;
static uint32_t shared_levels[ISA_IRQS]; /* a bit for each index */

static void set_line(IsaParallel *s, bool level)
{
    uint32_t bit = 1U << s->index;
    g_mutex_lock(&shared_lock);
    uint32_t *levels = &shared_levels[s->irq];
    *levels = level ? *levels | bit : *levels & ~bit;
    irq_set(&s->dev.machine->gsi[s->irq], *levels != 0);
    g_mutex_unlock(&shared_lock);
}

static void update_irq(IsaParallel *s)
{
    set_line(s, s->interrupt && s->control & CONTROL_IRQ);
}

/* ---- The printer ---- */

/* The end of the acknowledge pulse interrupts; it comes when the byte is taken and the strobe is
 * over. */
static void acknowledge(IsaParallel *s)
{
    s->ack = true;
    s->interrupt = s->control & CONTROL_IRQ;
}

static bool print(IsaParallel *s)
{
    s->waiting = char_write(s->frontend, &s->byte, 1) == 0;
    return !s->waiting;
}

static void parallel_writable(void *opaque)
{
    IsaParallel *s = opaque;
    g_mutex_lock(&s->dev.lock);
    if (s->waiting && print(s) && !(s->control & CONTROL_STROBE)) {
        acknowledge(s);
        update_irq(s);
    }
    g_mutex_unlock(&s->dev.lock);
}

static const CharFrontendOps frontend_ops = { .writable = parallel_writable };

/* ---- Registers ---- */

static uint8_t read_status(IsaParallel *s)
{
    uint8_t status = STATUS_FIXED | STATUS_READY | STATUS_NO_ACK;
    if (s->waiting || s->control & CONTROL_STROBE) {
        status &= ~STATUS_READY;
    } else if (s->ack) {
        status &= ~(STATUS_READY | STATUS_NO_ACK);
        s->ack = false;
    }
    s->interrupt = false;
    update_irq(s);
    return status;
}

/* The printer hears the strobe when it is selected and not being reset; one more while it is busy
 * is lost. */
static void write_control(IsaParallel *s, uint8_t value)
{
    bool strobe = value & CONTROL_STROBE, was = s->control & CONTROL_STROBE;
    s->control = value & CONTROL_BITS;
    if (!(value & CONTROL_NO_INIT)) {
        s->waiting = s->ack = s->interrupt = false;
    } else if (value & CONTROL_SELECT && strobe && !was && !s->waiting) {
        s->ack = false;
        s->byte = s->data;
        print(s);
    } else if (value & CONTROL_SELECT && !strobe && was && !s->waiting) {
        acknowledge(s);
    }
    update_irq(s);
}

static uint64_t parallel_read(void *opaque, uint64_t offset, unsigned size)
{
    IsaParallel *s = opaque;
    switch (offset) {
    case REG_DATA: /* a printer has nothing to say */
        return s->control & CONTROL_INPUT ? 0xff : s->data;
    case REG_STATUS:
        return read_status(s);
    default:
        return CONTROL_ONES | s->control;
    }
}

static void parallel_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    IsaParallel *s = opaque;
    switch (offset) {
    case REG_DATA:
        s->data = (uint8_t)value;
        break;
    case REG_CONTROL:
        write_control(s, (uint8_t)value);
        break;
    default:
        break;
    }
}

static const MemOps parallel_ops = { .read = parallel_read,
                                     .write = parallel_write,
                                     .max_size = 1 };

/* ---- Life ---- */

static bool index_taken(const IsaParallel *s, uint32_t index)
{
    for (guint i = 0; i < s->dev.bus->children->len; i++) {
        const Device *other = g_ptr_array_index(s->dev.bus->children, i);
        if (other->cls == &isa_parallel_class && other != &s->dev &&
            ((const IsaParallel *)other)->index == index) {
            return true;
        }
    }
    return false;
}

static bool choose_index(IsaParallel *s, GError **error)
{
    if (s->index == BY_INDEX) {
        for (s->index = 0; s->index < PARALLEL_PORTS && index_taken(s, s->index); s->index++) {
        }
    } else if (index_taken(s, s->index)) {
        return error_set(error, "index=%u: there is a parallel port of that number", s->index);
    }
    if (s->index >= PARALLEL_PORTS) {
        return error_set(error, "there are at most %d parallel ports", PARALLEL_PORTS);
    }
    return true;
}

static bool parallel_realize(Device *dev, GError **error)
{
    IsaParallel *s = (IsaParallel *)dev;
    Chardev *chardev = s->chardev ? chardev_find(s->chardev) : NULL;
    if (!chardev) {
        return s->chardev
                   ? error_set(error, "chardev=%s: there is no chardev of that id", s->chardev)
                   : error_set(error, "it needs chardev=ID: where the printed bytes go");
    }
    if (!choose_index(s, error)) {
        return false;
    }
    if (s->iobase == BY_INDEX) {
        s->iobase = default_ports[s->index];
    } else if (s->iobase > 0x10000 - REG_COUNT) {
        return error_set(error, "iobase=0x%x: ports end at 0xffff", s->iobase);
    }
    s->frontend = char_frontend_attach(chardev, &frontend_ops, s, error);
    if (!s->frontend) {
        return false;
    }
    mem_region_init_io(&s->io, "parallel", REG_COUNT, &parallel_ops, s, &dev->lock);
    isa_map_ports(dev, &s->io, (uint16_t)s->iobase);
    return true;
}

static void parallel_unrealize(Device *dev)
{
    IsaParallel *s = (IsaParallel *)dev;
    isa_unmap_ports(dev, &s->io);
    address_space_synchronize();
    char_frontend_detach(s->frontend);
    set_line(s, false);
}

static void parallel_reset(Device *dev)
{
    IsaParallel *s = (IsaParallel *)dev;
    g_mutex_lock(&dev->lock);
    s->data = s->byte = 0xff;
    s->control = CONTROL_NO_INIT | CONTROL_SELECT;
    s->waiting = s->ack = s->interrupt = false;
    update_irq(s);
    g_mutex_unlock(&dev->lock);
}

/* A byte that came with a snapshot is offered again: nobody promised to call. */
static void parallel_resume(Device *dev)
{
    parallel_writable(dev);
}

static bool parallel_post_load(void *base, uint16_t version, GError **error)
{
    IsaParallel *s = base;
    s->control &= CONTROL_BITS;
    update_irq(s);
    return true;
}

bool isa_parallel_resources(const Device *dev, uint16_t *iobase, unsigned *irq, unsigned *index)
{
    const IsaParallel *s = (const IsaParallel *)dev;
    if (dev->cls != &isa_parallel_class) {
        return false;
    }
    *iobase = (uint16_t)s->iobase;
    *irq = s->irq;
    *index = s->index;
    return true;
}

static const Property parallel_props[] = {
    PROP_FIELD("index", PROP_TYPE_U32, IsaParallel, index,
               "0 for LPT1 to 2 for LPT3 (4294967295: the next free one)", .def = BY_INDEX),
    PROP_FIELD("iobase", PROP_TYPE_U32, IsaParallel, iobase, "First port (4294967295: by index)",
               .def = BY_INDEX),
    PROP_RANGE_U32("irq", IsaParallel, irq, 7, 0, ISA_IRQS - 1, "ISA interrupt"),
    PROP_REF("chardev", IsaParallel, chardev, "chardev", "Where the printed bytes go"),
    PROP_END,
};

static const StateField parallel_fields[] = {
    STATE_INT(IsaParallel, data),
    STATE_INT(IsaParallel, control),
    STATE_INT(IsaParallel, byte),
    STATE_BOOL(IsaParallel, waiting),
    STATE_BOOL(IsaParallel, ack),
    STATE_BOOL(IsaParallel, interrupt),
    STATE_END,
};

static const StateSection parallel_state = {
    .name = "isa-parallel",
    .version = 1,
    .fields = parallel_fields,
    .post_load = parallel_post_load,
};

const DeviceClass isa_parallel_class = {
    .name = "isa-parallel",
    .desc = "Parallel port with a printer",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_INPUT,
    .size = sizeof(IsaParallel),
    .props = parallel_props,
    .state = &parallel_state,
    .realize = parallel_realize,
    .unrealize = parallel_unrealize,
    .reset = parallel_reset,
    .resume = parallel_resume,
};
