/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SMBus host controller (Intel ICH9, 316972, chapter 18; PIIX4, 290562, 11.4). Packet error
 * codes are neither sent nor checked: PEC_EN is a bit without effect. A transaction takes no time,
 * but is seen busy once, as software expects that waits for it.
 */
#include <string.h>
#include "hw/devices.h"
#include "hw/smbus/smbus.h"

enum { /* ports */
       HST_STS = 0x00,
       HST_CNT = 0x02,
       HST_CMD = 0x03,
       XMIT_SLVA = 0x04,
       HST_D0 = 0x05,
       HST_D1 = 0x06,
       BLOCK_DB = 0x07,
       AUX_CTL = 0x0d,
};

enum { /* HST_STS */
       STS_BUSY = 1 << 0,
       STS_INTR = 1 << 1,
       STS_DEV_ERR = 1 << 2,
       STS_BUS_ERR = 1 << 3,
       STS_FAILED = 1 << 4,
       STS_BYTE_DONE = 1 << 7,
};

enum { /* HST_CNT */
       CNT_INTREN = 1 << 0,
       CNT_KILL = 1 << 1,
       CNT_PROTOCOL_SHIFT = 2,
       CNT_LAST_BYTE = 1 << 5,
       CNT_START = 1 << 6,
};

typedef enum Protocol {
    QUICK,
    BYTE,
    BYTE_DATA,
    WORD_DATA,
    PROCESS_CALL,
    BLOCK,
    I2C_READ,
    BLOCK_PROCESS_CALL,
} Protocol;

#define NOT_THERE 0xff /* what a port without a device reads as */

enum { AUX_BUFFER = 1 << 1, AUX_WRITABLE = 3 };

/* ---- Targets ---- */

static Device *find_target(const SmbusHost *host)
{
    for (guint i = 0; i < host->bus->children->len; i++) {
        Device *dev = g_ptr_array_index(host->bus->children, i);
        const SmbusTargetClass *ops = dev->cls->ops;
        if (ops->address(dev) == host->address >> 1) {
            return dev;
        }
    }
    return NULL;
}

static bool target_write(SmbusHost *host, const uint8_t *data, unsigned len)
{
    Device *dev = find_target(host);
    return dev && ((const SmbusTargetClass *)dev->cls->ops)->write(dev, data, len);
}

static bool target_read(SmbusHost *host, uint8_t *data, unsigned len)
{
    Device *dev = find_target(host);
    return dev && ((const SmbusTargetClass *)dev->cls->ops)->read(dev, data, len);
}

/* ---- Transactions ---- */

static void update_irq(SmbusHost *host)
{
    if (host->set_irq) {
        host->set_irq(host->dev,
                      (host->control & CNT_INTREN) && (host->status & (uint8_t)~STS_BUSY));
    }
}

static void finish(SmbusHost *host, bool ok)
{
    host->bytewise = false;
    host->index = 0;
    host->status &= (uint8_t)~STS_BUSY;
    host->status |= ok ? STS_INTR : STS_DEV_ERR;
}

static bool is_read(const SmbusHost *host)
{
    return host->address & 1;
}

static Protocol protocol(const SmbusHost *host)
{
    return (Protocol)(host->control >> CNT_PROTOCOL_SHIFT & 7);
}

/* Command and up to two bytes of data out, or the command out and data in. */
static bool transfer_data(SmbusHost *host, unsigned len)
{
    uint8_t bytes[3] = { host->command, host->data0, host->data1 };
    if (!is_read(host)) {
        return target_write(host, bytes, 1 + len);
    }
    if (!target_write(host, bytes, 1) || !target_read(host, bytes + 1, len)) {
        return false;
    }
    host->data0 = bytes[1];
    host->data1 = len > 1 ? bytes[2] : host->data1;
    return true;
}

static bool process_call(SmbusHost *host)
{
    uint8_t bytes[3] = { host->command, host->data0, host->data1 };
    if (!target_write(host, bytes, 3) || !target_read(host, bytes, 2)) {
        return false;
    }
    host->data0 = bytes[0];
    host->data1 = bytes[1];
    return true;
}

static bool count_possible(uint8_t count)
{
    return count >= 1 && count <= SMBUS_BLOCK_MAX;
}

static bool write_block(SmbusHost *host)
{
    uint8_t message[SMBUS_MESSAGE_MAX] = { host->command, host->data0 };
    if (!count_possible(host->data0)) {
        return false;
    }
    memcpy(message + 2, host->block, host->data0);
    return target_write(host, message, 2U + host->data0);
}

/* The target says how many bytes it has. */
static bool begin_block_read(SmbusHost *host)
{
    return target_write(host, &host->command, 1) && target_read(host, &host->data0, 1) &&
           count_possible(host->data0);
}

static bool read_block(SmbusHost *host)
{
    return begin_block_read(host) && target_read(host, host->block, host->data0);
}

static bool buffered_block(SmbusHost *host)
{
    host->index = 0;
    if (protocol(host) == BLOCK_PROCESS_CALL) {
        return write_block(host) && target_read(host, &host->data0, 1) &&
               count_possible(host->data0) && target_read(host, host->block, host->data0);
    }
    return is_read(host) ? read_block(host) : write_block(host);
}

/* ---- Blocks byte by byte: software clears BYTE_DONE for the next ---- */

static bool reads_bytes(const SmbusHost *host)
{
    return protocol(host) == I2C_READ || is_read(host);
}

/* The next byte is wanted or there. */
static void step_block(SmbusHost *host)
{
    host->last = host->control & CNT_LAST_BYTE;
    if (reads_bytes(host) && !target_read(host, &host->block_db, 1)) {
        finish(host, false);
        return;
    }
    host->status |= STS_BYTE_DONE;
}

static void begin_bytewise(SmbusHost *host)
{
    bool ok = protocol(host) == I2C_READ ? target_write(host, &host->data1, 1)
              : is_read(host)            ? begin_block_read(host)
                                         : count_possible(host->data0) && find_target(host);
    host->index = 0;
    if (!ok) {
        finish(host, false);
        return;
    }
    host->bytewise = true;
    host->status |= STS_BUSY;
    if (!reads_bytes(host)) {
        host->block[0] = host->block_db;
    }
    step_block(host);
}

/* One byte is done with. */
static void continue_block(SmbusHost *host)
{
    bool reading = reads_bytes(host), counted = protocol(host) != I2C_READ;
    host->index++;
    if (counted ? host->index >= host->data0 || host->index >= SMBUS_BLOCK_MAX : host->last) {
        finish(host, reading || write_block(host));
        return;
    }
    host->index = counted ? host->index : 0;
    if (!reading) {
        host->block[host->index] = host->block_db;
    }
    step_block(host);
}

static void run(SmbusHost *host)
{
    bool ok = false;
    host->started = false;
    if (host->status & STS_DEV_ERR) { /* to be cleared first */
        host->status &= (uint8_t)~STS_BUSY;
        return;
    }
    switch (protocol(host)) {
    case QUICK:
        ok = find_target(host) != NULL;
        break;
    case BYTE:
        ok = is_read(host) ? target_read(host, &host->data0, 1)
                           : target_write(host, &host->command, 1);
        break;
    case BYTE_DATA:
        ok = transfer_data(host, 1);
        break;
    case WORD_DATA:
        ok = transfer_data(host, 2);
        break;
    case PROCESS_CALL:
        ok = process_call(host);
        break;
    case BLOCK:
    case BLOCK_PROCESS_CALL:
        if (!(host->aux & AUX_BUFFER)) {
            begin_bytewise(host);
            return;
        }
        ok = buffered_block(host);
        break;
    case I2C_READ:
        begin_bytewise(host);
        return;
    }
    finish(host, ok);
}

/* ---- Registers ---- */

static void status_write(SmbusHost *host, uint8_t value)
{
    bool next = host->bytewise && (value & host->status & STS_BYTE_DONE);
    host->status &= (uint8_t) ~(value & (uint8_t)~STS_BUSY);
    if (next) {
        continue_block(host);
    }
}

static void control_write(SmbusHost *host, uint8_t value)
{
    host->control = value & (uint8_t)~CNT_START;
    if (value & CNT_KILL) {
        host->started = host->bytewise = false;
        host->index = 0;
        host->status &= (uint8_t)~STS_BUSY;
        host->status |= STS_FAILED;
    } else if ((value & CNT_START) && !host->bytewise) {
        host->started = true;
        host->status |= STS_BUSY;
        if (value & CNT_INTREN) {
            run(host);
        }
    }
}

static uint8_t status_read(SmbusHost *host)
{
    uint8_t value = host->status;
    if (host->started) {
        run(host);
    }
    return value;
}

static uint8_t *block_byte(SmbusHost *host)
{
    if (!(host->aux & AUX_BUFFER) || host->bytewise) {
        return &host->block_db;
    }
    uint8_t *byte = &host->block[host->index];
    host->index = (uint8_t)((host->index + 1) % SMBUS_BLOCK_MAX);
    return byte;
}

static uint64_t host_read(void *opaque, uint64_t port, unsigned size)
{
    SmbusHost *host = opaque;
    uint8_t value = 0;
    if (host->disabled) {
        return NOT_THERE;
    }
    switch (port) {
    case HST_STS:
        value = status_read(host);
        break;
    case HST_CNT:
        value = host->control;
        host->index = host->bytewise ? host->index : 0;
        break;
    case HST_CMD:
        value = host->command;
        break;
    case XMIT_SLVA:
        value = host->address;
        break;
    case HST_D0:
        value = host->data0;
        break;
    case HST_D1:
        value = host->data1;
        break;
    case BLOCK_DB:
        value = *block_byte(host);
        break;
    case AUX_CTL:
        value = host->aux;
        break;
    default:
        break;
    }
    update_irq(host);
    return value;
}

static void host_write(void *opaque, uint64_t port, uint64_t value, unsigned size)
{
    SmbusHost *host = opaque;
    if (host->disabled) {
        return;
    }
    switch (port) {
    case HST_STS:
        status_write(host, (uint8_t)value);
        break;
    case HST_CNT:
        control_write(host, (uint8_t)value);
        break;
    case HST_CMD:
        host->command = (uint8_t)value;
        break;
    case XMIT_SLVA:
        host->address = (uint8_t)value;
        break;
    case HST_D0:
        host->data0 = (uint8_t)value;
        break;
    case HST_D1:
        host->data1 = (uint8_t)value;
        break;
    case BLOCK_DB:
        *block_byte(host) = (uint8_t)value;
        break;
    case AUX_CTL:
        host->aux = value & AUX_WRITABLE;
        break;
    default:
        break;
    }
    update_irq(host);
}

static const MemOps host_ops = { .read = host_read, .write = host_write, .max_size = 1 };

/* ---- Life ---- */

void smbus_host_init(SmbusHost *host, Device *dev, bool buffer_always,
                     void (*set_irq)(Device *dev, int level))
{
    host->dev = dev;
    host->set_irq = set_irq;
    host->reset_aux = buffer_always ? AUX_BUFFER : 0;
    host->bus = bus_new(BUS_I2C, "i2c", dev->machine, dev);
    mem_region_init_io(&host->region, "pm-smbus", SMBUS_HOST_PORTS, &host_ops, host, &dev->lock);
}

void smbus_host_cleanup(SmbusHost *host)
{
    g_clear_pointer(&host->bus, bus_free);
}

bool smbus_host_add_modules(SmbusHost *host, GError **error)
{
    uint8_t spd[SPD_MODULES][SPD_SIZE];
    spd_describe(host->dev->machine->ram->size, spd);
    for (unsigned i = 0; i < SPD_MODULES; i++) {
        if (!smbus_eeprom_new(host->bus, (uint8_t)(SPD_FIRST_ADDRESS + i), spd[i], error)) {
            return false;
        }
    }
    return true;
}

void smbus_host_reset(SmbusHost *host)
{
    g_mutex_lock(&host->dev->lock);
    host->status = host->control = host->command = host->address = 0;
    host->data0 = host->data1 = host->index = host->block_db = 0;
    host->aux = host->reset_aux;
    host->started = host->bytewise = host->last = false;
    memset(host->block, 0, sizeof(host->block));
    update_irq(host);
    g_mutex_unlock(&host->dev->lock);
}

void smbus_host_enable(SmbusHost *host, bool on)
{
    g_mutex_lock(&host->dev->lock);
    host->disabled = !on;
    g_mutex_unlock(&host->dev->lock);
}

static bool host_post_load(void *base, uint16_t version, GError **error)
{
    SmbusHost *host = base;
    if (host->index >= SMBUS_BLOCK_MAX) {
        return error_set(error, "SMBus: byte %u of a block of %d", host->index, SMBUS_BLOCK_MAX);
    }
    host->aux &= AUX_WRITABLE;
    g_mutex_lock(&host->dev->lock);
    update_irq(host);
    g_mutex_unlock(&host->dev->lock);
    return true;
}

static const StateField host_fields[] = {
    STATE_INT(SmbusHost, status),
    STATE_INT(SmbusHost, control),
    STATE_INT(SmbusHost, command),
    STATE_INT(SmbusHost, address),
    STATE_INT(SmbusHost, data0),
    STATE_INT(SmbusHost, data1),
    STATE_INT(SmbusHost, aux),
    STATE_BUFFER(SmbusHost, block),
    STATE_INT(SmbusHost, index),
    STATE_INT(SmbusHost, block_db),
    STATE_BOOL(SmbusHost, started),
    STATE_BOOL(SmbusHost, bytewise),
    STATE_FIELD(SmbusHost, last, STATE_KIND_BOOL, .size = 1, .count = 1, .since = 2),
    STATE_END,
};

const StateSection smbus_host_state = {
    .name = "pmsmb",
    .version = 2,
    .fields = host_fields,
    .post_load = host_post_load,
};
