/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cfi.pflash01: flash memory with Intel's command set (JEDEC CFI, JESD68.01; Intel 28F128J3 data
 * sheet), one chip of 8 data lines.
 *
 * While it reads as memory its contents are mapped into the guest as a ROM; in every other mode a
 * register window stands in its place. A program or erase changes the contents at once and goes to
 * the drive by the I/O thread, in the guest's order; what the status register calls ready is in the
 * image. Commands are taken meanwhile: OVMF never waits for the chip. It also tells flash from ROM
 * by a status register that reads 0 when cleared, where the data sheet would have "ready".
 * The handlers move windows: they take the topology lock, then the device's.
 * A secure chip's windows are in the memory of system management mode only; all others, and DMA,
 * see its contents as a plain ROM.
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
#define BUFFER_SIZE_BITS 8
#define BUFFER_SIZE      (1U << BUFFER_SIZE_BITS) /* of one buffered program */
#define LOW_SIZE         (128 * KIB)
#define FLASH_MAX        (64 * MIB)
#define CFI_FIRST        0x10
#define CFI_LAST         0x3f
#define LOG_RECORDS      32

enum {                  /* commands: 28F128J3 data sheet, table 4 */
       CMD_LOCK = 0x01, /* after CMD_LOCK_SETUP */
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

typedef struct FlashRecord { /* bytes on their way to the drive */
    uint64_t offset;
    uint32_t len;
    uint8_t data[BLOCK_SIZE];
} FlashRecord;

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
    MemRegion plain; /* of a secure chip */
    LoopTask submit_task;
    BlockRequest request;
    struct iovec iov;
    /* under dev.lock; empty in a saved state */
    FlashRecord log[LOG_RECORDS]; /* a ring; the first one is being written */
    unsigned log_first, log_count;
    bool write_all;   /* the log was full: all contents are to be written after it */
    bool writing_all; /* they are being written */
    /* state; under dev.lock */
    uint8_t mode, step, status;
    uint32_t buffer_start, buffer_left;
    uint8_t buffer[BUFFER_SIZE];
    uint8_t cfi[CFI_LAST - CFI_FIRST + 1];
} Pflash;

/* ---- Writing to the drive ---- */

static void write_done(BlockRequest *request, int ret);

/* Under the lock: a request for what is to be written next. False: nothing is. */
static bool prepare_write(Pflash *s)
{
    const FlashRecord *record = &s->log[s->log_first];

    if (s->log_count) {
        s->iov = (struct iovec){ (void *)record->data, record->len };
    } else if (s->write_all) {
        s->write_all = false;
        s->writing_all = true;
        s->iov = (struct iovec){ s->ram->host, s->ram->size };
    } else {
        return false;
    }
    s->request = (BlockRequest){
        .op = BLOCK_WRITE,
        .offset = s->writing_all ? 0 : record->offset,
        .bytes = s->iov.iov_len,
        .iov = &s->iov,
        .iov_count = 1,
        .done = write_done,
        .opaque = s,
    };
    return true;
}

/* Posted when the log got its first record; write_done() goes on with the others. */
static void submit(void *opaque)
{
    Pflash *s = opaque;

    g_mutex_lock(&s->dev.lock);
    bool more = prepare_write(s);
    g_mutex_unlock(&s->dev.lock);
    if (more) {
        block_submit(s->backend, &s->request);
    }
}

static void write_done(BlockRequest *request, int ret)
{
    Pflash *s = request->opaque;

    g_mutex_lock(&s->dev.lock);
    if (s->writing_all) {
        s->writing_all = false;
    } else {
        s->log_first = (s->log_first + 1) % LOG_RECORDS;
        s->log_count--;
    }
    if (ret < 0) {
        s->status |= STATUS_PROGRAM_ERROR | STATUS_ERASE_ERROR;
        device_guest_error(&s->dev, "the flash image could not be written: %s", g_strerror(-ret));
    }
    /* In one step with the above: an empty log that others see is one they post submit() for. */
    bool more = prepare_write(s);
    g_mutex_unlock(&s->dev.lock);
    if (more) {
        block_submit(s->backend, &s->request);
    }
}

static bool is_busy(const Pflash *s)
{
    return s->log_count || s->write_all || s->writing_all;
}

/* True when the range was added to the last record, which is not being written yet. */
static bool extend_log(Pflash *s, uint64_t offset, uint32_t len)
{
    FlashRecord *last = &s->log[(s->log_first + s->log_count - 1) % LOG_RECORDS];

    if (s->log_count < 2 || last->offset + last->len != offset || len > BLOCK_SIZE - last->len) {
        return false;
    }
    memcpy(last->data + last->len, s->ram->host + offset, len);
    last->len += len;
    return true;
}

/* A guest that programs faster than the drive writes, without ever looking at the status: its order
 * is given up for a bound on memory. */
static void drop_log(Pflash *s)
{
    s->log_count = 1;
    s->write_all = true;
}

/* The contents of [offset, offset + len), a block at most, changed. */
static void contents_changed(Pflash *s, uint64_t offset, uint32_t len)
{
    bool was_busy = is_busy(s);

    ram_block_mark_dirty(s->ram, offset, len);
    s->status |= STATUS_READY;
    if (s->write_all || extend_log(s, offset, len)) {
        return;
    }
    if (s->log_count == LOG_RECORDS) {
        drop_log(s);
    } else {
        FlashRecord *next = &s->log[(s->log_first + s->log_count++) % LOG_RECORDS];
        next->offset = offset;
        next->len = len;
        memcpy(next->data, s->ram->host + offset, len);
    }
    if (!was_busy) {
        event_loop_post(s->loop, &s->submit_task);
    }
}

/* ---- Commands ---- */

static void command_error(Pflash *s)
{
    s->status |= STATUS_READY | STATUS_PROGRAM_ERROR | STATUS_ERASE_ERROR;
}

static bool is_protected(Pflash *s, uint8_t error)
{
    if (block_backend_readonly(s->backend)) {
        s->status |= STATUS_READY | STATUS_LOCKED | error;
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
        s->status |= STATUS_READY;
        return STEP_BUFFER_COUNT;
    case CMD_LOCK_SETUP:
        return STEP_LOCK;
    case CMD_CLEAR_STATUS:
        s->status = 0;
        s->mode = MODE_ARRAY;
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
        if ((uint8_t)value == CMD_READ_ARRAY) {
            s->mode = MODE_ARRAY;
        } else if ((uint8_t)value != CMD_CONFIRM) {
            command_error(s);
        } else if (s->step == STEP_ERASE_CONFIRM) {
            erase(s, offset);
        } else {
            program(s, s->buffer_start, s->buffer, BUFFER_SIZE);
        }
        return STEP_COMMAND;
    case STEP_LOCK: /* blocks have no lock bits: setting and clearing them succeeds */
        if ((uint8_t)value == CMD_LOCK || (uint8_t)value == CMD_CONFIRM) {
            s->status |= STATUS_READY;
        } else {
            s->mode = MODE_ARRAY;
        }
        return STEP_COMMAND;
    default:
        return take_command(s, value);
    }
}

/* ---- Windows ---- */

static void place_windows(Pflash *s)
{
    Machine *machine = s->dev.machine;
    AddressSpace *memory = s->secure ? machine->smm_memory : machine->memory;
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
    s->step = take_step(s, offset, value, size);
    bool moved = was_array != (s->mode == MODE_ARRAY);
    g_mutex_unlock(&s->dev.lock);
    if (moved) {
        place_windows(s);
    }
    machine_topology_unlock(s->dev.machine);
}

static uint8_t read_byte(const Pflash *s, uint64_t offset)
{
    switch (s->mode) {
    case MODE_STATUS:
        return is_busy(s) ? s->status & ~STATUS_READY : s->status;
    case MODE_ID: /* no chip's name, as on QEMU's boards: drivers ask the CFI table */
        return 0;
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
    if (s->secure) {
        address_space_map(dev->machine->memory, &s->plain, base, 0);
    }
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
        0x02,
        0x00,
        BUFFER_SIZE_BITS,
        0x00, /* 2^n bytes, 8 or 16 lines, 2^n a buffer */
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
    enum { PROTECTION_FIELDS = CFI_LAST - CFI_FIRST }; /* of Intel's table: one */

    G_STATIC_ASSERT(sizeof(table) <= sizeof(s->cfi));
    memcpy(s->cfi, table, sizeof(table));
    s->cfi[PROTECTION_FIELDS] = 1;
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
    address_space_unmap(&s->plain);
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
    if (s->secure && !dev->machine->smm_memory) {
        return error_set(error,
                         "secure=on needs system management mode, the only one in which such "
                         "flash memory is written: give -machine q35,smm=on");
    }
    if (!open_drive(s, error)) {
        pflash_unrealize(dev);
        return false;
    }
    s->submit_task = (LoopTask)LOOP_TASK_INIT(submit, s);
    fill_cfi(s);
    mem_region_init_rom_ops(&s->rom, "pflash", s->ram, 0, s->ram->size, &pflash_ops, s, NULL);
    mem_region_init_ram(&s->plain, "pflash-plain", s->ram, 0, s->ram->size, true);
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

/* What was programmed has reached the back end when the call returns. */
static void pflash_quiesce(Device *dev)
{
    Pflash *s = (Pflash *)dev;

    bool busy;

    do {
        event_loop_call(s->loop, nothing, NULL);
        block_backend_drain(s->backend);
        g_mutex_lock(&s->dev.lock);
        busy = is_busy(s);
        g_mutex_unlock(&s->dev.lock);
    } while (busy);
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
    .version = 2, /* 2: a buffer of 256 bytes */
    .fields = pflash_fields,
    .post_load = pflash_post_load,
};

static const Property pflash_props[] = {
    PROP_REF("drive", Pflash, drive, "drive", "The drive or block node that holds the contents"),
    PROP_BOOL("secure", Pflash, secure, false, "Commands are taken in system management mode only"),
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
