/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cfi.pflash01: flash memory with Intel's command set (JEDEC CFI, JESD68.01; Intel 28F128J3 data
 * sheet), one chip of 8 data lines.
 *
 * While it reads as memory its contents are mapped into the guest as a ROM; in every other mode a
 * register window stands in its place. A program or erase changes the contents, is written to the
 * drive by the I/O thread, and shows as busy until that is done: what the status register calls
 * ready is in the image. Its handlers move windows: they take the topology lock, then the device's.
 */
#include "hw/firmware/pflash.h"

#include <string.h>
#include "block/block.h"
#include "hw/devices.h"
#include "hw/pci/pam.h"
#include "vmm/boot/boot.h"
#include "vmm/machine/machine.h"
#include "vmm/util/bytes.h"

#define BLOCK_SIZE       4096U /* what an erase clears */
#define BUFFER_SIZE_BITS 11
#define BUFFER_SIZE      (1U << BUFFER_SIZE_BITS) /* of one buffered program */
#define LOW_SIZE         (128 * KIB)
#define FLASH_MAX        (64 * MIB)
#define MANUFACTURER     0x89
#define DEVICE_ID        0x18
#define CFI_FIRST        0x10
#define CFI_LAST         0x3f

enum { /* commands: 28F128J3 data sheet, table 4 */
       CMD_PROGRAM_ALT = 0x10,
       CMD_ERASE = 0x20,
       CMD_PROGRAM = 0x40,
       CMD_CLEAR_STATUS = 0x50,
       CMD_LOCK_SETUP = 0x60,
       CMD_READ_STATUS = 0x70,
       CMD_READ_ID = 0x90,
       CMD_QUERY = 0x98,
       CMD_CONFIRM = 0xd0,
       CMD_BUFFER = 0xe8,
       CMD_RESET_AMD = 0xf0, /* what drivers that probe for the other command set write */
       CMD_READ_ARRAY = 0xff,
};

enum {
    STATUS_LOCKED = 1 << 1,
    STATUS_PROGRAM_ERROR = 1 << 4,
    STATUS_ERASE_ERROR = 1 << 5,
    STATUS_READY = 1 << 7,
};

typedef enum FlashMode { /* what reads give */
                         MODE_ARRAY,
                         MODE_STATUS,
                         MODE_ID,
                         MODE_QUERY,
                         MODE_COUNT,
} FlashMode;

typedef enum FlashStep { /* what the next write is */
                         STEP_COMMAND,
                         STEP_PROGRAM,
                         STEP_ERASE_CONFIRM,
                         STEP_BUFFER_COUNT,
                         STEP_BUFFER_DATA,
                         STEP_BUFFER_CONFIRM,
                         STEP_LOCK,
                         STEP_COUNT,
} FlashStep;

typedef struct Pflash {
    Device dev;
    char *drive;
    bool secure;
    /* as realized */
    BlockBackend *backend;
    EventLoop *loop;
    RamBlock *ram;
    uint64_t base;
    MemRegion rom, registers, low;
    LoopTask submit_task;
    BlockRequest request;
    struct iovec iov;
    /* state; under dev.lock */
    uint8_t mode, step, status;
    bool busy; /* a write to the drive is under way; never in a saved state */
    uint32_t buffer_start, buffer_left;
    uint8_t buffer[BUFFER_SIZE];
    uint8_t cfi[CFI_LAST - CFI_FIRST + 1];
} Pflash;

/* ---- Writing to the drive ---- */

static void write_done(BlockRequest *request, int ret)
{
    Pflash *s = request->opaque;

    g_mutex_lock(&s->dev.lock);
    s->busy = false;
    if (ret < 0) {
        s->status |= STATUS_PROGRAM_ERROR | STATUS_ERASE_ERROR;
        device_guest_error(&s->dev, "the flash image could not be written: %s", g_strerror(-ret));
    }
    g_mutex_unlock(&s->dev.lock);
}

static void submit(void *opaque)
{
    Pflash *s = opaque;

    block_submit(s->backend, &s->request);
}

/* The contents of [offset, offset + len) changed. */
static void contents_changed(Pflash *s, uint64_t offset, uint64_t len)
{
    ram_block_mark_dirty(s->ram, offset, len);
    s->busy = true;
    s->iov = (struct iovec){ s->ram->host + offset, len };
    s->request = (BlockRequest){
        .op = BLOCK_WRITE,
        .offset = offset,
        .bytes = len,
        .iov = &s->iov,
        .iov_count = 1,
        .done = write_done,
        .opaque = s,
    };
    event_loop_post(s->loop, &s->submit_task);
}

/* ---- Commands ---- */

static void command_error(Pflash *s)
{
    s->status |= STATUS_PROGRAM_ERROR | STATUS_ERASE_ERROR;
}

static bool is_protected(Pflash *s, uint8_t error)
{
    if (block_backend_readonly(s->backend)) {
        s->status |= STATUS_LOCKED | error;
        return true;
    }
    return false;
}

/* Programming clears bits; only an erase sets them. */
static void program(Pflash *s, uint64_t offset, const uint8_t *data, uint32_t len)
{
    if (is_protected(s, STATUS_PROGRAM_ERROR) || !range_inside(offset, len, s->ram->size)) {
        return;
    }
    for (uint32_t i = 0; i < len; i++) {
        s->ram->host[offset + i] &= data[i];
    }
    contents_changed(s, offset, len);
}

static void erase(Pflash *s, uint64_t offset)
{
    if (!is_protected(s, STATUS_ERASE_ERROR)) {
        offset -= offset % BLOCK_SIZE;
        memset(s->ram->host + offset, 0xff, BLOCK_SIZE);
        contents_changed(s, offset, BLOCK_SIZE);
    }
}

static FlashStep take_command(Pflash *s, uint8_t command)
{
    s->mode = MODE_STATUS;
    switch (command) {
    case CMD_PROGRAM:
    case CMD_PROGRAM_ALT:
        return STEP_PROGRAM;
    case CMD_ERASE:
        return STEP_ERASE_CONFIRM;
    case CMD_BUFFER:
        return STEP_BUFFER_COUNT;
    case CMD_LOCK_SETUP:
        return STEP_LOCK;
    case CMD_CLEAR_STATUS:
        s->status = STATUS_READY;
        return STEP_COMMAND;
    case CMD_READ_STATUS:
        return STEP_COMMAND;
    case CMD_READ_ID:
        s->mode = MODE_ID;
        return STEP_COMMAND;
    case CMD_QUERY:
        s->mode = MODE_QUERY;
        return STEP_COMMAND;
    default: /* CMD_READ_ARRAY, CMD_RESET_AMD, and what the chip does not know */
        s->mode = MODE_ARRAY;
        return STEP_COMMAND;
    }
}

static FlashStep take_count(Pflash *s, uint64_t offset, uint32_t count)
{
    if (count >= BUFFER_SIZE) {
        command_error(s);
        return STEP_COMMAND;
    }
    s->buffer_left = count + 1;
    s->buffer_start = offset - offset % BUFFER_SIZE;
    memset(s->buffer, 0xff, sizeof(s->buffer));
    return STEP_BUFFER_DATA;
}

static FlashStep take_buffer_data(Pflash *s, uint64_t offset, uint64_t value, unsigned size)
{
    if (offset < s->buffer_start || !range_inside(offset - s->buffer_start, size, BUFFER_SIZE)) {
        command_error(s);
        return STEP_COMMAND;
    }
    store_le(s->buffer + (offset - s->buffer_start), value, size);
    s->buffer_left -= MIN(size, s->buffer_left);
    return s->buffer_left ? STEP_BUFFER_DATA : STEP_BUFFER_CONFIRM;
}

static FlashStep take_step(Pflash *s, uint64_t offset, uint64_t value, unsigned size)
{
    uint8_t data[8];

    switch (s->step) {
    case STEP_PROGRAM:
        store_le(data, value, size);
        program(s, offset, data, size);
        return STEP_COMMAND;
    case STEP_BUFFER_COUNT:
        return take_count(s, offset, value);
    case STEP_BUFFER_DATA:
        return take_buffer_data(s, offset, value, size);
    case STEP_ERASE_CONFIRM:
    case STEP_BUFFER_CONFIRM:
        if ((uint8_t)value != CMD_CONFIRM) {
            command_error(s);
        } else if (s->step == STEP_ERASE_CONFIRM) {
            erase(s, offset);
        } else {
            program(s, s->buffer_start, s->buffer, BUFFER_SIZE);
        }
        return STEP_COMMAND;
    case STEP_LOCK: /* blocks have no lock bits: setting and clearing them succeeds */
        return STEP_COMMAND;
    default:
        return take_command(s, value);
    }
}

/* ---- Windows ---- */

static void place_windows(Pflash *s)
{
    AddressSpace *memory = s->dev.machine->memory;
    bool array = s->mode == MODE_ARRAY;

    address_space_begin(memory);
    address_space_unmap(&s->registers);
    address_space_unmap(&s->rom);
    address_space_map(memory, array ? &s->rom : &s->registers, s->base, 0);
    address_space_commit(memory);
}

static void pflash_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Pflash *s = opaque;

    machine_topology_lock(s->dev.machine);
    g_mutex_lock(&s->dev.lock);
    bool was_array = s->mode == MODE_ARRAY;
    if (!s->busy) { /* a busy chip takes no command */
        s->step = take_step(s, offset, value, size);
    }
    bool moved = was_array != (s->mode == MODE_ARRAY);
    g_mutex_unlock(&s->dev.lock);
    if (moved) {
        place_windows(s);
    }
    machine_topology_unlock(s->dev.machine);
}

static uint8_t read_byte(const Pflash *s, uint64_t offset)
{
    uint64_t in_block = offset % BLOCK_SIZE;

    switch (s->mode) {
    case MODE_STATUS:
        return s->busy ? s->status & ~STATUS_READY : s->status;
    case MODE_ID:
        return in_block == 0 ? MANUFACTURER : in_block == 1 ? DEVICE_ID : 0;
    case MODE_QUERY:
        return offset >= CFI_FIRST && offset <= CFI_LAST ? s->cfi[offset - CFI_FIRST] : 0;
    default:
        return s->ram->host[offset];
    }
}

static uint64_t pflash_read(void *opaque, uint64_t offset, unsigned size)
{
    Pflash *s = opaque;
    uint64_t value = 0;

    g_mutex_lock(&s->dev.lock);
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)read_byte(s, offset + i) << (8 * i);
    }
    g_mutex_unlock(&s->dev.lock);
    return value;
}

static const MemOps pflash_ops = { .read = pflash_read, .write = pflash_write, .max_size = 8 };

uint64_t pflash_size(const Device *dev)
{
    return ((const Pflash *)dev)->ram->size;
}

void pflash_map(Device *dev, uint64_t base, bool low)
{
    Pflash *s = (Pflash *)dev;
    uint64_t low_size = MIN(s->ram->size, LOW_SIZE);

    s->base = base;
    machine_topology_lock(dev->machine);
    place_windows(s);
    if (low) {
        mem_region_init_ram(&s->low, "isa-bios", s->ram, s->ram->size - low_size, low_size, true);
        address_space_map(dev->machine->memory, &s->low, MIB - low_size, LEGACY_PRIORITY_ROM);
    }
    machine_topology_unlock(dev->machine);
}

/* ---- Life ---- */

static void fill_cfi(Pflash *s)
{
    uint32_t blocks = s->ram->size / BLOCK_SIZE;
    unsigned size_bits = 63 - __builtin_clzll(s->ram->size);
    uint8_t table[] = {
        'Q',
        'R',
        'Y',
        0x01,
        0x00,
        0x31,
        0x00, /* Intel's command set; its table at 0x31 */
        0x00,
        0x00,
        0x00,
        0x00, /* no other one */
        0x45,
        0x55,
        0x00,
        0x00, /* Vcc 4.5 V to 5.5 V, no Vpp */
        0x07,
        0x07,
        0x0a,
        0x00, /* typical times, 2^n: us a byte, us a buffer, ms an erase */
        0x04,
        0x04,
        0x04,
        0x00, /* the longest, 2^n times these */
        size_bits,
        0x00,
        0x00,
        BUFFER_SIZE_BITS,
        0x00, /* 2^n bytes, 8 lines, 2^n a buffer */
        0x01,
        (blocks - 1) & 0xff,
        (blocks - 1) >> 8, /* one region of equal blocks */
        BLOCK_SIZE / 256,
        BLOCK_SIZE / 256 >> 8,
        'P',
        'R',
        'I',
        '1',
        '0', /* Intel's table, version 1.0: no optional features */
    };

    G_STATIC_ASSERT(sizeof(table) <= sizeof(s->cfi));
    memcpy(s->cfi, table, sizeof(table));
}

static bool check_size(Pflash *s, GError **error)
{
    uint64_t size = block_backend_length(s->backend);

    if (size == 0 || size % BLOCK_SIZE || size > FLASH_MAX) {
        return error_set(error,
                         "drive '%s' has %" PRIu64 " bytes; flash memory is a multiple of %u bytes "
                         "up to %u MiB",
                         s->drive, size, BLOCK_SIZE, (unsigned)(FLASH_MAX / MIB));
    }
    return true;
}

static bool load(Pflash *s, GError **error)
{
    RamOptions options = { .size = block_backend_length(s->backend) };

    s->ram = ram_block_new(s->drive, &options, error);
    if (!s->ram) {
        return false;
    }
    int ret = block_pread(block_backend_node(s->backend), 0, s->ram->host, s->ram->size);
    return ret >= 0 || error_set_errno(error, -ret, "drive '%s' cannot be read", s->drive);
}

/* Boards only: nothing dispatches any more. */
static void pflash_unrealize(Device *dev)
{
    Pflash *s = (Pflash *)dev;

    address_space_unmap(&s->low);
    address_space_unmap(&s->rom);
    address_space_unmap(&s->registers);
    g_clear_pointer(&s->backend, block_backend_detach);
    g_clear_pointer(&s->ram, ram_block_free);
}

static bool open_drive(Pflash *s, GError **error)
{
    s->loop = machine_io_loop(s->dev.machine, error);
    s->backend = s->loop ? block_backend_attach(s->drive, s->dev.id, false, false, error) : NULL;
    if (!s->backend) {
        return false;
    }
    block_backend_set_error_actions(s->backend, BLOCK_ERROR_REPORT, BLOCK_ERROR_REPORT);
    return block_backend_add_loop(s->backend, s->loop, error) && check_size(s, error) &&
           load(s, error);
}

static bool pflash_realize(Device *dev, GError **error)
{
    Pflash *s = (Pflash *)dev;

    if (!s->drive) {
        return error_set(error, "no drive is named: give drive=ID");
    }
    if (s->secure) {
        return error_set(error, "secure=on needs system management mode, which Vireo does not "
                                "have: leave it out");
    }
    if (!open_drive(s, error)) {
        pflash_unrealize(dev);
        return false;
    }
    s->submit_task = (LoopTask)LOOP_TASK_INIT(submit, s);
    fill_cfi(s);
    mem_region_init_rom_ops(&s->rom, "pflash", s->ram, 0, s->ram->size, &pflash_ops, s, NULL);
    mem_region_init_io(&s->registers, "pflash-registers", s->ram->size, &pflash_ops, s, NULL);
    return true;
}

static void pflash_reset(Device *dev)
{
    Pflash *s = (Pflash *)dev;

    s->mode = MODE_ARRAY;
    s->step = STEP_COMMAND;
    s->status = STATUS_READY;
    s->buffer_start = s->buffer_left = 0;
    place_windows(s);
}

static void nothing(void *opaque)
{
}

/* A write that was posted has reached the back end when the call returns. */
static void pflash_quiesce(Device *dev)
{
    Pflash *s = (Pflash *)dev;

    event_loop_call(s->loop, nothing, NULL);
    block_backend_drain(s->backend);
}

/* ---- Description ---- */

static bool pflash_post_load(void *base, uint16_t version, GError **error)
{
    Pflash *s = base;

    if (s->mode >= MODE_COUNT || s->step >= STEP_COUNT || s->buffer_left > BUFFER_SIZE ||
        s->buffer_start % BUFFER_SIZE || s->buffer_start >= s->ram->size) {
        return error_set(error, "cfi.pflash01: mode %u, step %u and buffer 0x%x cannot be", s->mode,
                         s->step, s->buffer_start);
    }
    machine_topology_lock(s->dev.machine);
    place_windows(s);
    machine_topology_unlock(s->dev.machine);
    return true;
}

static const StateField pflash_fields[] = {
    STATE_INT(Pflash, mode),
    STATE_INT(Pflash, step),
    STATE_INT(Pflash, status),
    STATE_INT(Pflash, buffer_start),
    STATE_INT(Pflash, buffer_left),
    STATE_BUFFER(Pflash, buffer),
    STATE_END,
};

static const StateSection pflash_state = {
    .name = "cfi.pflash01",
    .version = 1,
    .fields = pflash_fields,
    .post_load = pflash_post_load,
};

static const Property pflash_props[] = {
    PROP_REF("drive", Pflash, drive, "drive", "The drive or block node that holds the contents"),
    PROP_BOOL("secure", Pflash, secure, false, "Writable in system management mode only: only off"),
    PROP_END,
};

const DeviceClass pflash_cfi01_class = {
    .name = "cfi.pflash01",
    .desc = "Flash memory with Intel's command set (CFI)",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(Pflash),
    .props = pflash_props,
    .state = &pflash_state,
    .internal = true,
    .realize = pflash_realize,
    .unrealize = pflash_unrealize,
    .reset = pflash_reset,
    .quiesce = pflash_quiesce,
};
