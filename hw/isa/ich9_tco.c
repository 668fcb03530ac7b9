/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The TCO timer of ICH9: see the header. It counts 0.6 s a tick; the first expiry is for system
 * management mode, which there is not, the second one is the watchdog's. */
#include "hw/isa/ich9_tco.h"
#include "vmm/device/registers.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/watchdog.h"

#define TICK_NS     (600 * NS_PER_MS)
#define COUNT_MASK  0x3ff
#define COUNT_RESET 4
#define COUNT_LEAST 2 /* smaller ones are ignored */
#define EXPIRIES    2

#define STATUS1_SW_SMI  0x0002
#define STATUS1_INT     0x0004
#define STATUS1_TIMEOUT 0x0008
#define STATUS2_SECOND  0x0002 /* a second expiry: these two survive the reset that it makes */
#define STATUS2_BOOT    0x0004
#define STATUS2_BATTERY (STATUS2_SECOND | STATUS2_BOOT)

#define CONTROL1_NMI_NOW 0x0100
#define CONTROL1_NMI2SMI 0x0200
#define CONTROL1_HALT    0x0800
#define CONTROL1_LOCK    0x1000
#define CONTROL1_BITS    (CONTROL1_NMI_NOW | CONTROL1_NMI2SMI | CONTROL1_HALT | CONTROL1_LOCK)

/* ---- The timer ---- */

static uint16_t count_now(const Ich9Tco *tco)
{
    int64_t expires = timer_expires(&tco->timer), left = 0;
    if (expires < 0) {
        return tco->count;
    }
    left = (expires - clock_now(VM_CLOCK_VIRTUAL) + TICK_NS - 1) / TICK_NS;
    return (uint16_t)CLAMP(left, 0, COUNT_MASK);
}

static void start(Ich9Tco *tco, uint16_t count)
{
    tco->count = count;
    timer_arm(&tco->timer, clock_now(VM_CLOCK_VIRTUAL) + count * TICK_NS);
}

static void halt(Ich9Tco *tco)
{
    tco->count = count_now(tco);
    timer_cancel(&tco->timer);
}

static void tco_fire(void *opaque)
{
    Ich9Tco *tco = opaque;
    tco->count = 0;
    tco->status1 |= STATUS1_TIMEOUT;
    if (++tco->expiries < EXPIRIES) {
        tco->ops->event(tco->dev);
        start(tco, tco->initial);
        return;
    }
    tco->expiries = 0;
    tco->status2 |= STATUS2_BATTERY;
    if (!tco->ops->no_reboot(tco->dev)) {
        watchdog_expired(tco->dev->machine);
    }
}

/* ---- Registers ---- */

static uint64_t reload_read(void *opaque, uint64_t stored)
{
    return count_now(opaque);
}

/* Any value does. */
static void reload_written(void *opaque, uint64_t old, uint64_t now)
{
    Ich9Tco *tco = opaque;
    tco->expiries = 0;
    tco->count = tco->initial;
    if (!(tco->control1 & CONTROL1_HALT)) {
        start(tco, tco->initial);
    }
}

static void data_in_written(void *opaque, uint64_t old, uint64_t now)
{
    Ich9Tco *tco = opaque;
    tco->status1 |= STATUS1_SW_SMI;
    tco->ops->event(tco->dev);
}

static void data_out_written(void *opaque, uint64_t old, uint64_t now)
{
    ((Ich9Tco *)opaque)->status1 |= STATUS1_INT;
}

static void control1_written(void *opaque, uint64_t old, uint64_t now)
{
    Ich9Tco *tco = opaque;
    tco->control1 |= old & CONTROL1_LOCK; /* for good */
    if (tco->control1 & CONTROL1_HALT) {
        halt(tco);
    } else if (timer_expires(&tco->timer) < 0) {
        start(tco, tco->count ? tco->count : tco->initial);
    }
    if (now & ~old & CONTROL1_NMI_NOW && !(now & CONTROL1_NMI2SMI)) {
        tco->dev->machine->accel->nmi(tco->dev->machine);
    }
}

static void initial_written(void *opaque, uint64_t old, uint64_t now)
{
    Ich9Tco *tco = opaque;
    if (now < COUNT_LEAST) {
        tco->initial = (uint16_t)old;
    }
}

#define TCO_REG(reg, at, bytes, member, ...)                                                       \
    {                                                                                              \
        .name = (reg), .offset = (at), .size = (bytes), .field = offsetof(Ich9Tco, member),        \
        __VA_ARGS__                                                                                \
    }

static const RegisterDesc tco_regs[] = {
    TCO_REG("TCO_RLD", 0x00, 2, count, .writable = 0, .read = reload_read,
            .written = reload_written),
    TCO_REG("TCO_DAT_IN", 0x02, 1, data_in, .writable = 0xff, .written = data_in_written),
    TCO_REG("TCO_DAT_OUT", 0x03, 1, data_out, .writable = 0xff, .written = data_out_written),
    TCO_REG("TCO1_STS", 0x04, 2, status1, .w1c = 0xffff),
    TCO_REG("TCO2_STS", 0x06, 2, status2, .w1c = 0xffff),
    TCO_REG("TCO1_CNT", 0x08, 2, control1, .writable = CONTROL1_BITS, .written = control1_written),
    TCO_REG("TCO2_CNT", 0x0a, 2, control2, .reset = 0x0008, .writable = 0x003e),
    TCO_REG("TCO_MESSAGE1", 0x0c, 1, message[0], .writable = 0xff),
    TCO_REG("TCO_MESSAGE2", 0x0d, 1, message[1], .writable = 0xff),
    TCO_REG("TCO_WDCNT", 0x0e, 1, boot_status, .writable = 0xff),
    TCO_REG("SW_IRQ_GEN", 0x10, 1, irq_cause, .reset = 0x03, .writable = 0x03),
    TCO_REG("TCO_TMR", 0x12, 2, initial, .reset = COUNT_RESET, .writable = COUNT_MASK,
            .written = initial_written),
};

static const RegisterFile tco_file = { tco_regs, G_N_ELEMENTS(tco_regs), 0 };

static uint64_t tco_read(void *opaque, uint64_t offset, unsigned size)
{
    return register_read(&tco_file, opaque, offset, size);
}

static void tco_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    register_write(&tco_file, opaque, offset, value, size);
}

static const MemOps tco_ops = { .read = tco_read, .write = tco_write, .max_size = 4 };

bool ich9_tco_smi_locked(const Ich9Tco *tco)
{
    return tco->control1 & CONTROL1_LOCK;
}

/* ---- Life ---- */

void ich9_tco_init(Ich9Tco *tco, Device *dev, const Ich9TcoOps *ops)
{
    tco->dev = dev;
    tco->ops = ops;
    mem_region_init_io(&tco->region, "tco", ICH9_TCO_SIZE, &tco_ops, tco, &dev->lock);
    timer_init(&tco->timer, event_loop_main(), VM_CLOCK_VIRTUAL, &dev->lock, tco_fire, tco);
}

void ich9_tco_cleanup(Ich9Tco *tco)
{
    g_mutex_lock(&tco->dev->lock);
    timer_cancel(&tco->timer);
    g_mutex_unlock(&tco->dev->lock);
}

void ich9_tco_reset(Ich9Tco *tco)
{
    g_mutex_lock(&tco->dev->lock);
    uint16_t kept = tco->status2 & STATUS2_BATTERY;
    timer_cancel(&tco->timer);
    register_reset(&tco_file, tco);
    tco->status2 = kept;
    tco->count = 0;
    tco->expiries = 0;
    g_mutex_unlock(&tco->dev->lock);
}

static bool tco_post_load(void *base, uint16_t version, GError **error)
{
    Ich9Tco *tco = base;
    tco->count &= COUNT_MASK;
    tco->initial = MAX(tco->initial & COUNT_MASK, COUNT_LEAST);
    tco->control1 &= CONTROL1_BITS;
    tco->expiries = MIN(tco->expiries, EXPIRIES - 1);
    return true;
}

static const StateField tco_fields[] = {
    STATE_TIMER(Ich9Tco, timer),     STATE_INT(Ich9Tco, count),
    STATE_INT(Ich9Tco, initial),     STATE_INT(Ich9Tco, status1),
    STATE_INT(Ich9Tco, status2),     STATE_INT(Ich9Tco, control1),
    STATE_INT(Ich9Tco, control2),    STATE_INT(Ich9Tco, data_in),
    STATE_INT(Ich9Tco, data_out),    STATE_BUFFER(Ich9Tco, message),
    STATE_INT(Ich9Tco, boot_status), STATE_INT(Ich9Tco, irq_cause),
    STATE_INT(Ich9Tco, expiries),    STATE_END,
};

const StateSection ich9_tco_state = {
    .name = "tco",
    .version = 1,
    .fields = tco_fields,
    .post_load = tco_post_load,
};
