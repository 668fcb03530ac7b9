/* SPDX-License-Identifier: GPL-2.0-or-later */
/* isa-serial: COM1 to COM4, a 16550A at the ports and interrupts of the PC. */
#include "hw/devices.h"
#include "hw/isa/serial.h"
#include "vmm/machine/machine.h"

#define SERIAL_PORTS 4
#define ISA_IRQS     16

typedef struct IsaSerial {
    Device dev;
    Serial serial;
    MemRegion io;
    char *chardev;
    uint32_t iobase; /* 0: by index */
    int32_t irq;     /* -1: by index */
    int32_t index;   /* -1: the first free one */
} IsaSerial;

static const uint16_t default_ports[SERIAL_PORTS] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
static const uint8_t default_irqs[SERIAL_PORTS] = { 4, 3, 4, 3 };

/* COM1 and COM3 share a line, COM2 and COM4 another: a line is high while one of them drives it. A
 * leaf lock. */
static GMutex shared_lock;
static uint32_t shared_levels[ISA_IRQS]; /* a bit for each index */

static void isa_serial_irq(void *opaque, int level)
{
    IsaSerial *s = opaque;
    uint32_t bit = 1u << s->index;
    g_mutex_lock(&shared_lock);
    uint32_t *levels = &shared_levels[s->irq];
    *levels = level ? *levels | bit : *levels & ~bit;
    irq_set(&s->dev.machine->gsi[s->irq], *levels != 0);
    g_mutex_unlock(&shared_lock);
}

static uint64_t isa_serial_read(void *opaque, uint64_t offset, unsigned size)
{
    IsaSerial *s = opaque;
    return serial_read(&s->serial, offset);
}

static void isa_serial_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    IsaSerial *s = opaque;
    serial_write(&s->serial, offset, value);
}

static const MemOps isa_serial_ops = {
    .read = isa_serial_read,
    .write = isa_serial_write,
    .min_size = 1,
    .max_size = 1,
};

static int first_free_index(const IsaSerial *s)
{
    uint32_t used = 0;
    for (guint i = 0; i < s->dev.bus->children->len; i++) {
        const Device *other = g_ptr_array_index(s->dev.bus->children, i);
        if (other->cls == &isa_serial_class && other != &s->dev) {
            used |= 1u << ((const IsaSerial *)other)->index;
        }
    }
    int index = 0;
    while (used & (1u << index)) {
        index++;
    }
    return index;
}

static bool isa_serial_realize(Device *dev, GError **error)
{
    IsaSerial *s = (IsaSerial *)dev;
    if (s->index < 0) {
        s->index = first_free_index(s);
    }
    if (s->index >= SERIAL_PORTS) {
        return error_set(error, "there are at most %d ISA serial ports", SERIAL_PORTS);
    }
    if (!s->iobase) {
        s->iobase = default_ports[s->index];
    }
    if (s->irq < 0) {
        s->irq = default_irqs[s->index];
    }
    if (!serial_realize(&s->serial, &dev->lock, s->chardev, isa_serial_irq, s, error)) {
        return false;
    }
    mem_region_init_io(&s->io, "serial", 8, &isa_serial_ops, s, &dev->lock);
    machine_topology_lock(dev->machine);
    address_space_map(dev->machine->io, &s->io, s->iobase, 0);
    machine_topology_unlock(dev->machine);
    return true;
}

static void isa_serial_unrealize(Device *dev)
{
    IsaSerial *s = (IsaSerial *)dev;
    machine_topology_lock(dev->machine);
    address_space_unmap(&s->io);
    machine_topology_unlock(dev->machine);
    address_space_synchronize();
    serial_unrealize(&s->serial);
    isa_serial_irq(s, 0);
    mem_region_cleanup(&s->io);
}

static void isa_serial_reset(Device *dev)
{
    IsaSerial *s = (IsaSerial *)dev;
    g_mutex_lock(&dev->lock);
    serial_reset(&s->serial);
    g_mutex_unlock(&dev->lock);
}

static const Property isa_serial_props[] = {
    PROP_FIELD("index", PROP_TYPE_I32, IsaSerial, index, "0 for COM1 to 3 for COM4 (-1: next free)",
               .def = -1, .min = -1, .max = SERIAL_PORTS - 1),
    PROP_RANGE_U32("iobase", IsaSerial, iobase, 0, 0, 0xfff8, "first port (0: by index)"),
    PROP_FIELD("irq", PROP_TYPE_I32, IsaSerial, irq, "ISA interrupt (-1: by index)", .def = -1,
               .min = -1, .max = ISA_IRQS - 1),
    PROP_REF("chardev", IsaSerial, chardev, "chardev", "where the bytes go and come from"),
    PROP_RANGE_U32("baudbase", IsaSerial, serial.baudbase, 115200, 1, 4000000,
                   "bit/s at divisor 1"),
    PROP_END,
};

static const StateField isa_serial_fields[] = {
    STATE_STRUCT(IsaSerial, serial, &serial_state),
    STATE_END,
};

static const StateSection isa_serial_section = {
    .name = "isa-serial",
    .version = 1,
    .fields = isa_serial_fields,
};

const DeviceClass isa_serial_class = {
    .name = "isa-serial",
    .desc = "Serial port (16550A)",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_INPUT,
    .size = sizeof(IsaSerial),
    .props = isa_serial_props,
    .state = &isa_serial_section,
    .realize = isa_serial_realize,
    .unrealize = isa_serial_unrealize,
    .reset = isa_serial_reset,
};

bool isa_serial_resources(const Device *dev, uint16_t *iobase, unsigned *irq, unsigned *index)
{
    if (dev->cls != &isa_serial_class) {
        return false;
    }
    const IsaSerial *s = (const IsaSerial *)dev;
    *iobase = s->iobase;
    *irq = s->irq;
    *index = s->index;
    return true;
}
