/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pair of interrupt controllers (Intel 8259A data sheet), the second behind input 2 of the
 * first, with the edge/level registers that EISA and the PIIX/ICH chips added (ICH9 data sheet,
 * 13.4.5). It takes interrupts on any thread: its lock is a leaf, but for the vCPU's kick.
 */
#include "hw/devices.h"
#include "hw/isa/isa.h"
#include "hw/misc/irqchip.h"
#include "vmm/machine/accel.h"

#define PIC_MASTER 0
#define PIC_SLAVE  1
#define PIC_COUNT  2
#define CASCADE    2 /* the master's input */
#define SPURIOUS   7

#define PORT_MASTER 0x20
#define PORT_SLAVE  0xa0
#define PORT_ELCR   0x4d0
/* IRQs 0, 1, 2, 8 and 13 are edge-triggered always. */
#define ELCR_MASTER_MASK 0xf8
#define ELCR_SLAVE_MASK  0xde

enum { REG_COMMAND, REG_DATA };

/* Command words, by the data sheet's names. */
enum {
    ICW1 = 1 << 4,
    ICW1_IC4 = 1 << 0,
    ICW1_SINGLE = 1 << 1,
    ICW1_LEVEL = 1 << 3,
    ICW4_AUTO_EOI = 1 << 1,
    ICW4_SPECIAL_NESTED = 1 << 4,
    OCW3 = 1 << 3,
    OCW3_READ_ISR = 1 << 0,
    OCW3_READ_SET = 1 << 1,
    OCW3_POLL = 1 << 2,
    OCW3_SPECIAL_MASK = 1 << 5,
    OCW3_SPECIAL_SET = 1 << 6,
};

enum {
    OCW2_ROTATE_AUTO_CLEAR = 0,
    OCW2_EOI = 1,
    OCW2_SPECIFIC_EOI = 3,
    OCW2_ROTATE_AUTO_SET = 4,
    OCW2_ROTATE_EOI = 5,
    OCW2_SET_PRIORITY = 6,
    OCW2_ROTATE_SPECIFIC_EOI = 7,
};

enum { INIT_DONE, INIT_ICW2, INIT_ICW3, INIT_ICW4 };

typedef struct PicChip {
    uint8_t irr, imr, isr;
    uint8_t lines;  /* the inputs' levels */
    uint8_t lowest; /* the input with the highest priority (rotation) */
    uint8_t base;   /* the vector of input 0 */
    uint8_t elcr;
    uint8_t init; /* which initialisation word comes next */
    bool read_isr, poll, special_mask, special_nested, auto_eoi, rotate_auto, single, level, icw4;
} PicChip;

typedef struct PicState {
    Device dev;
    PicChip chips[PIC_COUNT];
    bool output;
    MemRegion ports[PIC_COUNT], elcr;
} PicState;

/* The highest-priority bit of mask as a distance from the top: 0 to 7, 8 for none. */
static unsigned chip_priority(const PicChip *chip, uint8_t mask)
{
    unsigned distance = 0;
    while (distance < 8 && !(mask >> ((chip->lowest + distance) & 7) & 1)) {
        distance++;
    }
    return distance;
}

/* The input that the chip presents now, or -1. */
static int chip_pending(const PicChip *chip, bool is_master)
{
    unsigned wanted = chip_priority(chip, chip->irr & ~chip->imr);
    if (wanted == 8) {
        return -1;
    }
    uint8_t in_service = chip->isr;
    if (chip->special_mask) {
        in_service &= ~chip->imr;
    }
    /* Special fully nested: the cascade may interrupt its own service for a higher input of the
     * slave. */
    if (chip->special_nested && is_master) {
        in_service &= ~(1u << CASCADE);
    }
    return wanted < chip_priority(chip, in_service) ? (int)((chip->lowest + wanted) & 7) : -1;
}

static void chip_set_irq(PicChip *chip, unsigned irq, int level)
{
    uint8_t bit = 1u << irq;
    bool level_triggered = chip->level || (chip->elcr & bit);
    if (level && (level_triggered || !(chip->lines & bit))) {
        chip->irr |= bit;
    } else if (!level && level_triggered) {
        chip->irr &= ~bit;
    }
    chip->lines = level ? chip->lines | bit : chip->lines & ~bit;
}

static void chip_acknowledge(PicChip *chip, unsigned irq)
{
    uint8_t bit = 1u << irq;
    if (!chip->auto_eoi) {
        chip->isr |= bit;
    } else if (chip->rotate_auto) {
        chip->lowest = (irq + 1) & 7;
    }
    if (!(chip->level || (chip->elcr & bit))) {
        chip->irr &= ~bit;
    }
}

/* The outputs follow the state: the slave's into the master, the master's to the CPU. */
static void pic_update(PicState *pic)
{
    chip_set_irq(&pic->chips[PIC_MASTER], CASCADE,
                 chip_pending(&pic->chips[PIC_SLAVE], false) >= 0);
    bool output = chip_pending(&pic->chips[PIC_MASTER], true) >= 0;
    const AccelOps *accel = pic->dev.machine->accel;
    if (output != pic->output && accel->extint_set) {
        accel->extint_set(pic->dev.machine, output);
    }
    pic->output = output;
}

void i8259_view(Device *dev, IrqchipView *view)
{
    PicState *pic = (PicState *)dev;
    g_mutex_lock(&dev->lock);
    for (unsigned i = 0; i < PIC_COUNT; i++) {
        const PicChip *chip = &pic->chips[i];
        view->pic[i].irr = chip->irr;
        view->pic[i].imr = chip->imr;
        view->pic[i].isr = chip->isr;
        view->pic[i].elcr = chip->elcr;
        view->pic[i].base = chip->base;
        view->pic[i].highest = chip->lowest;
        view->pic[i].reads_isr = chip->read_isr;
        view->pic[i].fully_nested = chip->special_nested;
    }
    g_mutex_unlock(&dev->lock);
}

void i8259_set_irq(Device *dev, unsigned irq, int level)
{
    PicState *pic = (PicState *)dev;
    g_mutex_lock(&dev->lock);
    chip_set_irq(&pic->chips[irq / 8], irq % 8, level);
    pic_update(pic);
    g_mutex_unlock(&dev->lock);
}

static int pic_take(PicState *pic)
{
    PicChip *master = &pic->chips[PIC_MASTER], *slave = &pic->chips[PIC_SLAVE];
    int irq = chip_pending(master, true);
    if (irq < 0) {
        return master->base + SPURIOUS;
    }
    int vector = master->base + irq;
    if (irq == CASCADE) {
        int behind = chip_pending(slave, false);
        vector = slave->base + (behind >= 0 ? behind : SPURIOUS);
        if (behind >= 0) {
            chip_acknowledge(slave, (unsigned)behind);
        }
    }
    chip_acknowledge(master, (unsigned)irq);
    return vector;
}

int i8259_acknowledge(Device *dev)
{
    PicState *pic = (PicState *)dev;
    g_mutex_lock(&dev->lock);
    int vector = pic->output ? pic_take(pic) : -1;
    if (vector >= 0) {
        /* Another one that waits must raise the output anew. */
        pic->output = false;
        if (pic->dev.machine->accel->extint_set) {
            pic->dev.machine->accel->extint_set(pic->dev.machine, 0);
        }
        pic_update(pic);
    }
    g_mutex_unlock(&dev->lock);
    return vector;
}

/* ---- Registers ---- */

static void chip_icw1(PicChip *chip, uint8_t value)
{
    uint8_t elcr = chip->elcr, base = chip->base, lines = chip->lines;
    *chip = (PicChip){
        .elcr = elcr,
        .base = base,
        .lines = lines,
        .init = INIT_ICW2,
        .single = value & ICW1_SINGLE,
        .level = value & ICW1_LEVEL,
        .icw4 = value & ICW1_IC4,
    };
    /* Edges that came before are forgotten, levels stand. */
    chip->irr = chip->level ? lines : lines & elcr;
}

static void chip_eoi(PicChip *chip, bool rotate)
{
    unsigned distance = chip_priority(chip, chip->isr);
    if (distance < 8) {
        unsigned irq = (chip->lowest + distance) & 7;
        chip->isr &= ~(1u << irq);
        if (rotate) {
            chip->lowest = (irq + 1) & 7;
        }
    }
}

static void chip_ocw2(PicChip *chip, uint8_t value)
{
    unsigned irq = value & 7;
    switch (value >> 5) {
    case OCW2_ROTATE_AUTO_CLEAR:
        chip->rotate_auto = false;
        break;
    case OCW2_ROTATE_AUTO_SET:
        chip->rotate_auto = true;
        break;
    case OCW2_EOI:
        chip_eoi(chip, false);
        break;
    case OCW2_ROTATE_EOI:
        chip_eoi(chip, true);
        break;
    case OCW2_SPECIFIC_EOI:
        chip->isr &= ~(1u << irq);
        break;
    case OCW2_ROTATE_SPECIFIC_EOI:
        chip->isr &= ~(1u << irq);
        chip->lowest = (irq + 1) & 7;
        break;
    case OCW2_SET_PRIORITY:
        chip->lowest = (irq + 1) & 7;
        break;
    default:
        break;
    }
}

static void chip_ocw3(PicChip *chip, uint8_t value)
{
    if (value & OCW3_POLL) {
        chip->poll = true;
    }
    if (value & OCW3_READ_SET) {
        chip->read_isr = value & OCW3_READ_ISR;
    }
    if (value & OCW3_SPECIAL_SET) {
        chip->special_mask = value & OCW3_SPECIAL_MASK;
    }
}

static void chip_write_data(PicChip *chip, uint8_t value)
{
    switch (chip->init) {
    case INIT_ICW2:
        chip->base = value & 0xf8;
        chip->init = !chip->single ? INIT_ICW3 : chip->icw4 ? INIT_ICW4 : INIT_DONE;
        break;
    case INIT_ICW3: /* where the cascade is; it is wired */
        chip->init = chip->icw4 ? INIT_ICW4 : INIT_DONE;
        break;
    case INIT_ICW4:
        chip->special_nested = value & ICW4_SPECIAL_NESTED;
        chip->auto_eoi = value & ICW4_AUTO_EOI;
        chip->init = INIT_DONE;
        break;
    default:
        chip->imr = value;
        break;
    }
}

static void pic_write(PicState *pic, unsigned index, uint64_t offset, uint8_t value)
{
    PicChip *chip = &pic->chips[index];
    if (offset == REG_DATA) {
        chip_write_data(chip, value);
    } else if (value & ICW1) {
        chip_icw1(chip, value);
    } else if (value & OCW3) {
        chip_ocw3(chip, value);
    } else {
        chip_ocw2(chip, value);
    }
    pic_update(pic);
}

/* A read after OCW3's poll command is an acknowledge: bit 7 and the input. */
static uint8_t pic_poll(PicState *pic, unsigned index)
{
    PicChip *chip = &pic->chips[index];
    int irq = chip_pending(chip, index == PIC_MASTER);
    chip->poll = false;
    if (irq < 0) {
        return 0;
    }
    chip_acknowledge(chip, (unsigned)irq);
    pic_update(pic);
    return (uint8_t)(0x80 | irq);
}

static uint64_t pic_read(PicState *pic, unsigned index, uint64_t offset)
{
    const PicChip *chip = &pic->chips[index];
    if (chip->poll) {
        return pic_poll(pic, index);
    }
    if (offset == REG_DATA) {
        return chip->imr;
    }
    return chip->read_isr ? chip->isr : chip->irr;
}

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size)
{
    return pic_read(opaque, PIC_MASTER, offset);
}

static void master_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    pic_write(opaque, PIC_MASTER, offset, (uint8_t)value);
}

static uint64_t slave_read(void *opaque, uint64_t offset, unsigned size)
{
    return pic_read(opaque, PIC_SLAVE, offset);
}

static void slave_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    pic_write(opaque, PIC_SLAVE, offset, (uint8_t)value);
}

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((PicState *)opaque)->chips[offset].elcr;
}

static void elcr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PicState *pic = opaque;
    uint8_t mask = offset == PIC_MASTER ? ELCR_MASTER_MASK : ELCR_SLAVE_MASK;
    PicChip *chip = &pic->chips[offset];
    chip->elcr = (uint8_t)value & mask;
    /* An input that became level-triggered shows its level. */
    chip->irr = (uint8_t)((chip->irr & ~chip->elcr) | (chip->lines & chip->elcr));
    pic_update(pic);
}

static const MemOps port_ops[PIC_COUNT] = {
    { .read = master_read, .write = master_write, .max_size = 1 },
    { .read = slave_read, .write = slave_write, .max_size = 1 },
};
static const MemOps elcr_ops = { .read = elcr_read, .write = elcr_write, .max_size = 1 };

/* ---- Life ---- */

static bool pic_realize(Device *dev, GError **error)
{
    PicState *pic = (PicState *)dev;
    mem_region_init_io(&pic->ports[PIC_MASTER], "pic-master", 2, &port_ops[PIC_MASTER], pic,
                       &dev->lock);
    mem_region_init_io(&pic->ports[PIC_SLAVE], "pic-slave", 2, &port_ops[PIC_SLAVE], pic,
                       &dev->lock);
    mem_region_init_io(&pic->elcr, "elcr", 2, &elcr_ops, pic, &dev->lock);
    isa_map_ports(dev, &pic->ports[PIC_MASTER], PORT_MASTER);
    isa_map_ports(dev, &pic->ports[PIC_SLAVE], PORT_SLAVE);
    isa_map_ports(dev, &pic->elcr, PORT_ELCR);
    return true;
}

static void pic_unrealize(Device *dev)
{
    PicState *pic = (PicState *)dev;
    irqchip_forget(dev);
    isa_unmap_ports(dev, &pic->ports[PIC_MASTER]);
    isa_unmap_ports(dev, &pic->ports[PIC_SLAVE]);
    isa_unmap_ports(dev, &pic->elcr);
}

static void pic_reset(Device *dev)
{
    PicState *pic = (PicState *)dev;
    g_mutex_lock(&dev->lock);
    for (unsigned i = 0; i < PIC_COUNT; i++) {
        uint8_t lines = pic->chips[i].lines;
        pic->chips[i] = (PicChip){ .lines = lines };
    }
    pic_update(pic);
    g_mutex_unlock(&dev->lock);
}

static bool pic_post_load(void *base, uint16_t version, GError **error)
{
    PicState *pic = base;
    for (unsigned i = 0; i < PIC_COUNT; i++) {
        PicChip *chip = &pic->chips[i];
        if (chip->lowest > 7 || chip->init > INIT_ICW4 || (chip->base & 7)) {
            return error_set(error, "isa-i8259: the saved state of chip %u is out of range", i);
        }
    }
    g_mutex_lock(&pic->dev.lock);
    pic->output = false;
    pic_update(pic);
    g_mutex_unlock(&pic->dev.lock);
    return true;
}

static const StateField chip_fields[] = {
    STATE_INT(PicChip, irr),           STATE_INT(PicChip, imr),
    STATE_INT(PicChip, isr),           STATE_INT(PicChip, lines),
    STATE_INT(PicChip, lowest),        STATE_INT(PicChip, base),
    STATE_INT(PicChip, elcr),          STATE_INT(PicChip, init),
    STATE_BOOL(PicChip, read_isr),     STATE_BOOL(PicChip, poll),
    STATE_BOOL(PicChip, special_mask), STATE_BOOL(PicChip, special_nested),
    STATE_BOOL(PicChip, auto_eoi),     STATE_BOOL(PicChip, rotate_auto),
    STATE_BOOL(PicChip, single),       STATE_BOOL(PicChip, level),
    STATE_BOOL(PicChip, icw4),         STATE_END,
};

static const StateSection chip_section = { .name = "chip", .version = 1, .fields = chip_fields };

static const StateField pic_fields[] = {
    STATE_STRUCT_ARRAY(PicState, chips, &chip_section),
    STATE_END,
};

static const StateSection pic_section = {
    .name = "isa-i8259",
    .version = 1,
    .fields = pic_fields,
    .post_load = pic_post_load,
};

const DeviceClass i8259_class = {
    .name = "isa-i8259",
    .desc = "Pair of interrupt controllers (Intel 8259A)",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(PicState),
    .state = &pic_section,
    .internal = true,
    .realize = pic_realize,
    .unrealize = pic_unrealize,
    .reset = pic_reset,
};
