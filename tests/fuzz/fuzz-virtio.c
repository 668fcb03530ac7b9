/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzes the virtio devices: a microvm machine with one of each in its MMIO slots, and a driver
 * that does what the input says: sets devices up, makes chains available, writes registers and
 * rings at random, pauses, saves and loads. Whatever it does, the process stays sound, and every
 * device can be reset.
 */
#include <string.h>
#include "hw/virtio/ring.h"
#include "tests/fuzz/machine.h"
#include "vmm/util/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SLOTS      5 /* disk, entropy, serial ports, balloon, network */
#define QUEUES     5
#define QUEUE_SIZE 16
#define SLOT_BASE  0xfeb00000ULL
#define SLOT_SIZE  0x200
#define RING_BASE  0x100000ULL /* a page triple for each queue */
#define RING_STEP  0x4000ULL
#define AVAIL      0x1000
#define USED       0x2000
#define TABLE      0x3000
#define DATA_BASE  0x200000ULL
#define DATA_STEP  0x1000ULL

enum {
    REG_FEATURES_SEL = 0x24,
    REG_FEATURES = 0x20,
    REG_DEVICE_FEATURES_SEL = 0x14,
    REG_DEVICE_FEATURES = 0x10,
    REG_QUEUE_SEL = 0x30,
    REG_QUEUE_NUM = 0x38,
    REG_QUEUE_READY = 0x44,
    REG_NOTIFY = 0x50,
    REG_STATUS = 0x70,
    REG_DESC = 0x80,
    REG_AVAIL = 0x90,
    REG_USED = 0xa0,
};

static Machine *machine;
static uint16_t next_desc[SLOTS][QUEUES];

typedef struct Input {
    const uint8_t *data;
    size_t left;
} Input;

static uint8_t take8(Input *in)
{
    if (!in->left) {
        return 0;
    }
    in->left--;
    return *in->data++;
}

static uint32_t take32(Input *in)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        value = value << 8 | take8(in);
    }
    return value;
}

/* ---- The machine ---- */

static uint8_t *ram(uint64_t addr)
{
    g_assert_cmphex(addr, <, machine->ram->size);
    return machine->ram->host + addr;
}

static void reg_write(unsigned slot, uint32_t offset, uint32_t value)
{
    uint8_t bytes[4];
    store_le32(bytes, value);
    address_space_write(machine->memory, SLOT_BASE + slot * SLOT_SIZE + offset, bytes, 4);
}

static uint32_t reg_read(unsigned slot, uint32_t offset)
{
    uint8_t bytes[4];
    address_space_read(machine->memory, SLOT_BASE + slot * SLOT_SIZE + offset, bytes, 4);
    return load_le32(bytes);
}

static uint64_t ring(unsigned slot, unsigned queue)
{
    return RING_BASE + (slot * QUEUES + queue) * RING_STEP;
}

static void nothing(void *opaque)
{
}

/* The I/O thread and the main loop do what they have to do. */
static void settle(void)
{
    for (int i = 0; i < 3; i++) {
        event_loop_call(machine->io_loop, nothing, NULL);
        while (g_main_context_iteration(NULL, FALSE)) {
        }
    }
}

/* ---- What the driver does ---- */

static void reset_slot(unsigned slot)
{
    reg_write(slot, REG_STATUS, 0);
    settle();
    while (reg_read(slot, REG_STATUS)) {
        settle();
    }
    for (unsigned queue = 0; queue < QUEUES; queue++) {
        memset(ram(ring(slot, queue)), 0, RING_STEP);
        next_desc[slot][queue] = 0;
    }
}

static void set_up(unsigned slot, uint64_t features)
{
    reset_slot(slot);
    reg_write(slot, REG_STATUS, 3);
    for (unsigned word = 0; word < 2; word++) {
        reg_write(slot, REG_DEVICE_FEATURES_SEL, word);
        reg_write(slot, REG_FEATURES_SEL, word);
        reg_write(slot, REG_FEATURES,
                  reg_read(slot, REG_DEVICE_FEATURES) & (features >> (32 * word)));
    }
    reg_write(slot, REG_STATUS, 11);
    for (unsigned queue = 0; queue < QUEUES; queue++) {
        reg_write(slot, REG_QUEUE_SEL, queue);
        reg_write(slot, REG_QUEUE_NUM, QUEUE_SIZE);
        reg_write(slot, REG_DESC, ring(slot, queue));
        reg_write(slot, REG_AVAIL, ring(slot, queue) + AVAIL);
        reg_write(slot, REG_USED, ring(slot, queue) + USED);
        reg_write(slot, REG_QUEUE_READY, 1);
    }
    reg_write(slot, REG_STATUS, 15);
}

/* A chain: what is readable holds bytes of the input; the last one is often writable. */
static void add_chain(Input *in, unsigned slot, unsigned queue)
{
    uint8_t *rings = ram(ring(slot, queue));
    uint8_t shape = take8(in);
    unsigned count = 1 + shape % 4;
    bool indirect = shape & 0x80;
    uint16_t head = next_desc[slot][queue];
    uint8_t *table = indirect ? rings + TABLE + head * 64 : rings;
    for (unsigned i = 0; i < count; i++) {
        unsigned at = indirect ? i : (head + i) % QUEUE_SIZE;
        uint64_t data = DATA_BASE + ((slot * QUEUES + queue) * 4 + i) * DATA_STEP;
        uint8_t kind = take8(in);
        uint32_t len = kind & 0x40 ? (kind & 0x3f) * 64 : kind & 0x3f;
        bool write = kind & 0x80;
        for (unsigned n = 0; !write && n < MIN(len, 24u); n++) {
            *ram(data + n) = take8(in);
        }
        store_le64(table + 16 * at, data);
        store_le32(table + 16 * at + 8, len);
        store_le16(table + 16 * at + 12,
                   (write ? VRING_DESC_WRITE : 0) | (i + 1 < count ? VRING_DESC_NEXT : 0));
        store_le16(table + 16 * at + 14, indirect ? i + 1 : (at + 1) % QUEUE_SIZE);
    }
    if (indirect) {
        store_le64(rings + 16 * head, ring(slot, queue) + TABLE + head * 64);
        store_le32(rings + 16 * head + 8, count * 16);
        store_le16(rings + 16 * head + 12, VRING_DESC_INDIRECT);
    }
    VringAvail *avail = (VringAvail *)(rings + AVAIL);
    avail->ring[avail->idx % QUEUE_SIZE] = head;
    __atomic_store_n(&avail->idx, avail->idx + 1, __ATOMIC_RELEASE);
    next_desc[slot][queue] = (head + (indirect ? 1 : count)) % QUEUE_SIZE;
    reg_write(slot, REG_NOTIFY, queue);
}

static void raw_register(Input *in, unsigned slot)
{
    uint8_t bytes[4];
    unsigned offset = take8(in) | (take8(in) & 1) << 8;
    unsigned size = 1 + take8(in) % 4;
    store_le32(bytes, take32(in));
    uint64_t addr = SLOT_BASE + slot * SLOT_SIZE + offset;
    address_space_write(machine->memory, addr, bytes, size);
    address_space_read(machine->memory, addr, bytes, size);
}

static void raw_memory(Input *in, unsigned slot, unsigned queue)
{
    uint64_t addr = ring(slot, queue) + (take8(in) | take8(in) << 8) % (RING_STEP - 16);
    for (unsigned len = take8(in) % 16; len; len--) {
        *ram(addr++) = take8(in);
    }
}

static void save_and_load(void)
{
    GError *error = NULL;
    g_autoptr(GByteArray) saved = g_byte_array_new();
    machine_stop(machine, RUN_STATE_PAUSED);
    devices_save(machine, saved);
    if (!devices_load(machine, saved->data, saved->len, &error)) {
        g_error("what was saved does not load: %s", error->message);
    }
    machine_cont(machine, NULL);
}

static void step(Input *in)
{
    uint8_t action = take8(in);
    uint8_t where = take8(in);
    unsigned slot = where % SLOTS, queue = where / SLOTS % QUEUES;
    switch (action % 16) {
    case 0:
    case 1:
        raw_register(in, slot);
        break;
    case 2:
        set_up(slot, UINT64_MAX & ~VIRTIO_FEATURE(VIRTIO_F_RING_PACKED));
        break;
    case 3:
        set_up(slot, (uint64_t)take32(in) << 32 | take32(in) | VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
        break;
    case 4:
        raw_memory(in, slot, queue);
        break;
    case 5:
        save_and_load();
        break;
    case 6:
        machine_stop(machine, RUN_STATE_PAUSED);
        machine_cont(machine, NULL);
        break;
    case 7:
        settle();
        break;
    default:
        add_chain(in, slot, queue);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    machine = fuzz_machine("microvm");
    fuzz_machine_reset(machine);
    machine_cont(machine, NULL);
    Input in = { .data = data, .left = size };
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        set_up(slot, UINT64_MAX & ~VIRTIO_FEATURE(VIRTIO_F_RING_PACKED));
    }
    while (in.left) {
        step(&in);
    }
    settle();
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        reset_slot(slot);
    }
    return 0;
}
