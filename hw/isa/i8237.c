/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ISA DMA: two Intel 8237A (data sheet), the second for words, and the page registers of the PC/AT
 * at 0x80 to 0x8f; those without a channel are storage, where firmware shows its POST codes.
 */
#include "hw/isa/i8237.h"
#include "hw/devices.h"
#include "hw/isa/isa.h"
#include "vmm/event/loop.h"
#include "vmm/machine/machine.h"
#include "vmm/memory/dma.h"

#define BYTE_PORT  0x00
#define WORD_PORT  0xc0
#define PAGE_PORT  0x80
#define PAGE_COUNT 16
#define CHIPS      2
#define PER_CHIP   4
#define CASCADE    4 /* the channel that carries the first chip */

enum {
    REG_STATUS = 8, /* read; written: command */
    REG_REQUEST,
    REG_MASK,
    REG_MODE,
    REG_CLEAR_FLIP_FLOP,
    REG_MASTER_CLEAR, /* read: temporary */
    REG_CLEAR_MASKS,
    REG_ALL_MASKS,
    REG_COUNT,
};

#define COMMAND_DISABLE 0x04
#define MASK_SET        0x04
#define MODE_TYPE       0x0c
#define TYPE_VERIFY     0x00
#define TYPE_WRITE      0x04 /* to memory */
#define TYPE_READ       0x08
#define MODE_AUTO_INIT  0x10
#define MODE_DOWN       0x20
#define MODE_CASCADE    0xc0

typedef struct DmaChannel {
    uint16_t base_address, base_count, address, count;
    uint8_t mode;
    bool masked;
} DmaChannel;

typedef struct DmaChip {
    DmaChannel channels[PER_CHIP];
    uint8_t command, terminal; /* bits of channels */
    bool high;                 /* the flip-flop: the next byte is the upper one */
} DmaChip;

typedef struct DmaClient {
    void (*ready)(void *opaque);
    void *opaque;
    LoopTask task;
} DmaClient;

typedef struct I8237State I8237State;

typedef struct DmaPort {
    I8237State *dma;
    unsigned chip;
    MemRegion region;
} DmaPort;

struct I8237State {
    Device dev;
    DmaPort ports[CHIPS];
    MemRegion page_ports;
    DmaChip chips[CHIPS];
    uint8_t pages[PAGE_COUNT];
    DmaClient clients[I8237_CHANNELS]; /* wiring; changed on the main thread */
};

static const uint8_t page_of[I8237_CHANNELS] = { 0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa };

/* ---- Transfers ---- */

static bool channel_usable(const I8237State *dma, unsigned channel)
{
    const DmaChip *chip = &dma->chips[channel / PER_CHIP];
    const DmaChannel *c = &chip->channels[channel % PER_CHIP];
    return channel != CASCADE && !c->masked && !(chip->command & COMMAND_DISABLE) &&
           (c->mode & MODE_CASCADE) != MODE_CASCADE;
}

/* The address of the channel's next unit. Words: A0 is 0, the page gives A17 and up. */
static uint64_t channel_address(const I8237State *dma, unsigned channel)
{
    const DmaChannel *c = &dma->chips[channel / PER_CHIP].channels[channel % PER_CHIP];
    uint8_t page = dma->pages[page_of[channel]];
    return channel < PER_CHIP ? (uint64_t)page << 16 | c->address
                              : (uint64_t)(page & 0xfe) << 16 | (uint64_t)c->address << 1;
}

static void move_unit(I8237State *dma, unsigned channel, uint8_t *data, unsigned width,
                      bool to_memory)
{
    AddressSpace *memory = dma->dev.machine->memory;
    uint64_t address = channel_address(dma, channel);
    bool done = to_memory ? dma_write(memory, address, data, width)
                          : dma_read(memory, address, data, width);
    if (!done && !to_memory) {
        memset(data, 0xff, width);
    }
}

/* A run of units that is contiguous upwards in memory. */
static unsigned move_run(I8237State *dma, unsigned channel, uint8_t *data, unsigned units,
                         unsigned width, bool verify, bool to_memory)
{
    DmaChannel *c = &dma->chips[channel / PER_CHIP].channels[channel % PER_CHIP];
    unsigned most = c->mode & MODE_DOWN ? 1 : 0x10000 - c->address;
    unsigned run = MIN(MIN(units, most), c->count + 1U);
    if (!verify) {
        move_unit(dma, channel, data, run * width, to_memory);
    }
    c->address = (uint16_t)(c->mode & MODE_DOWN ? c->address - run : c->address + run);
    c->count = (uint16_t)(c->count - run);
    return run;
}

static void channel_terminal(DmaChip *chip, unsigned index)
{
    DmaChannel *c = &chip->channels[index];
    chip->terminal |= 1u << index;
    if (c->mode & MODE_AUTO_INIT) {
        c->address = c->base_address;
        c->count = c->base_count;
    } else {
        c->masked = true;
    }
}

unsigned i8237_transfer(Device *dev, unsigned channel, void *data, unsigned len, bool to_memory,
                        bool *terminal)
{
    I8237State *dma = (I8237State *)dev;
    DmaChip *chip = &dma->chips[channel / PER_CHIP];
    DmaChannel *c = &chip->channels[channel % PER_CHIP];
    unsigned width = channel < PER_CHIP ? 1 : 2, moved = 0;
    *terminal = false;
    g_mutex_lock(&dev->lock);
    uint8_t type = c->mode & MODE_TYPE;
    bool fits = type == TYPE_VERIFY || type == (to_memory ? TYPE_WRITE : TYPE_READ);
    while (fits && !*terminal && moved + width <= len && channel_usable(dma, channel)) {
        moved += width * move_run(dma, channel, (uint8_t *)data + moved, (len - moved) / width,
                                  width, type == TYPE_VERIFY, to_memory);
        if (c->count == 0xffff) {
            *terminal = true;
            channel_terminal(chip, channel % PER_CHIP);
        }
    }
    g_mutex_unlock(&dev->lock);
    return moved;
}

/* ---- Clients ---- */

static void client_run(void *opaque)
{
    DmaClient *client = opaque;
    if (client->ready) {
        client->ready(client->opaque);
    }
}

void i8237_connect(Device *dev, unsigned channel, void (*ready)(void *opaque), void *opaque)
{
    I8237State *dma = (I8237State *)dev;
    g_mutex_lock(&dev->lock);
    dma->clients[channel].ready = ready;
    dma->clients[channel].opaque = opaque;
    g_mutex_unlock(&dev->lock);
}

static void tell_clients(I8237State *dma, unsigned chip)
{
    for (unsigned i = 0; i < PER_CHIP; i++) {
        unsigned channel = chip * PER_CHIP + i;
        if (dma->clients[channel].ready && channel_usable(dma, channel)) {
            event_loop_post(event_loop_main(), &dma->clients[channel].task);
        }
    }
}

Device *i8237_find(Machine *machine)
{
    for (guint i = 0; i < machine->buses->len; i++) {
        const Bus *bus = g_ptr_array_index(machine->buses, i);
        for (guint n = 0; n < bus->children->len; n++) {
            Device *dev = g_ptr_array_index(bus->children, n);
            if (dev->cls == &i8237_class) {
                return dev;
            }
        }
    }
    return NULL;
}

/* ---- Registers ---- */

static uint8_t read_half(DmaChip *chip, uint16_t value)
{
    uint8_t half = (uint8_t)(chip->high ? value >> 8 : value);
    chip->high = !chip->high;
    return half;
}

static void write_half(DmaChip *chip, uint16_t *base, uint16_t *now, uint8_t value)
{
    *base = (uint16_t)(chip->high ? (*base & 0x00ff) | value << 8 : (*base & 0xff00) | value);
    *now = *base;
    chip->high = !chip->high;
}

static uint8_t masks(const DmaChip *chip)
{
    uint8_t bits = 0;
    for (unsigned i = 0; i < PER_CHIP; i++) {
        bits |= (uint8_t)(chip->channels[i].masked << i);
    }
    return bits;
}

static void set_masks(DmaChip *chip, uint8_t bits)
{
    for (unsigned i = 0; i < PER_CHIP; i++) {
        chip->channels[i].masked = bits >> i & 1;
    }
}

static void master_clear(DmaChip *chip)
{
    chip->command = chip->terminal = 0;
    chip->high = false;
    set_masks(chip, 0x0f);
}

static uint64_t chip_read(void *opaque, uint64_t offset, unsigned size)
{
    DmaPort *port = opaque;
    DmaChip *chip = &port->dma->chips[port->chip];
    unsigned reg = (unsigned)offset >> port->chip;
    if (reg < REG_STATUS) {
        const DmaChannel *c = &chip->channels[reg / 2];
        return read_half(chip, reg & 1 ? c->count : c->address);
    }
    if (reg == REG_STATUS) {
        uint8_t terminal = chip->terminal;
        chip->terminal = 0;
        return terminal;
    }
    return reg == REG_ALL_MASKS ? masks(chip) | 0xf0 : 0;
}

static void control_write(DmaChip *chip, unsigned reg, uint8_t value)
{
    switch (reg) {
    case REG_STATUS:
        chip->command = value;
        break;
    case REG_MASK:
        chip->channels[value & 3].masked = value & MASK_SET;
        break;
    case REG_MODE:
        chip->channels[value & 3].mode = value;
        break;
    case REG_CLEAR_FLIP_FLOP:
        chip->high = false;
        break;
    case REG_MASTER_CLEAR:
        master_clear(chip);
        break;
    case REG_CLEAR_MASKS:
        set_masks(chip, 0);
        break;
    case REG_ALL_MASKS:
        set_masks(chip, value);
        break;
    default: /* software requests: nothing is connected that memory could be moved for */
        break;
    }
}

static void chip_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    DmaPort *port = opaque;
    DmaChip *chip = &port->dma->chips[port->chip];
    unsigned reg = (unsigned)offset >> port->chip;
    if (reg < REG_STATUS) {
        DmaChannel *c = &chip->channels[reg / 2];
        write_half(chip, reg & 1 ? &c->base_count : &c->base_address,
                   reg & 1 ? &c->count : &c->address, (uint8_t)value);
        return;
    }
    control_write(chip, reg, (uint8_t)value);
    tell_clients(port->dma, port->chip);
}

static uint64_t page_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((I8237State *)opaque)->pages[offset];
}

static void page_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    ((I8237State *)opaque)->pages[offset] = (uint8_t)value;
}

static const MemOps chip_ops = { .read = chip_read, .write = chip_write, .max_size = 1 };
static const MemOps page_ops = { .read = page_read, .write = page_write, .max_size = 1 };

/* ---- Life ---- */

static bool i8237_realize(Device *dev, GError **error)
{
    I8237State *dma = (I8237State *)dev;
    for (unsigned i = 0; i < I8237_CHANNELS; i++) {
        dma->clients[i].task = (LoopTask)LOOP_TASK_INIT(client_run, &dma->clients[i]);
    }
    for (unsigned i = 0; i < CHIPS; i++) {
        DmaPort *port = &dma->ports[i];
        port->dma = dma;
        port->chip = i;
        mem_region_init_io(&port->region, "dma", (uint64_t)REG_COUNT << i, &chip_ops, port,
                           &dev->lock);
        isa_map_ports(dev, &port->region, i ? WORD_PORT : BYTE_PORT);
    }
    mem_region_init_io(&dma->page_ports, "dma-page", PAGE_COUNT, &page_ops, dma, &dev->lock);
    isa_map_ports(dev, &dma->page_ports, PAGE_PORT);
    return true;
}

static void i8237_unrealize(Device *dev)
{
    I8237State *dma = (I8237State *)dev;
    for (unsigned i = 0; i < CHIPS; i++) {
        isa_unmap_ports(dev, &dma->ports[i].region);
    }
    isa_unmap_ports(dev, &dma->page_ports);
    address_space_synchronize();
    for (unsigned i = 0; i < I8237_CHANNELS; i++) {
        event_loop_cancel_task(event_loop_main(), &dma->clients[i].task);
    }
}

static void i8237_reset(Device *dev)
{
    I8237State *dma = (I8237State *)dev;
    g_mutex_lock(&dev->lock);
    memset(dma->chips, 0, sizeof(dma->chips));
    memset(dma->pages, 0, sizeof(dma->pages));
    for (unsigned i = 0; i < CHIPS; i++) {
        master_clear(&dma->chips[i]);
    }
    g_mutex_unlock(&dev->lock);
}

static const StateField channel_fields[] = {
    STATE_INT(DmaChannel, base_address),
    STATE_INT(DmaChannel, base_count),
    STATE_INT(DmaChannel, address),
    STATE_INT(DmaChannel, count),
    STATE_INT(DmaChannel, mode),
    STATE_BOOL(DmaChannel, masked),
    STATE_END,
};

static const StateSection channel_state = {
    .name = "dma-channel",
    .version = 1,
    .fields = channel_fields,
};

static const StateField chip_fields[] = {
    STATE_STRUCT_ARRAY(DmaChip, channels, &channel_state),
    STATE_INT(DmaChip, command),
    STATE_INT(DmaChip, terminal),
    STATE_BOOL(DmaChip, high),
    STATE_END,
};

static const StateSection chip_state = { .name = "dma-chip", .version = 1, .fields = chip_fields };

static const StateField i8237_fields[] = {
    STATE_STRUCT_ARRAY(I8237State, chips, &chip_state),
    STATE_BUFFER(I8237State, pages),
    STATE_END,
};

static const StateSection i8237_state = { .name = "i8257", .version = 1, .fields = i8237_fields };

const DeviceClass i8237_class = {
    .name = "i8257",
    .desc = "ISA DMA controllers (two Intel 8237A) with page registers",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(I8237State),
    .state = &i8237_state,
    .internal = true,
    .realize = i8237_realize,
    .unrealize = i8237_unrealize,
    .reset = i8237_reset,
};
