/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interval timer (Intel 8254 data sheet): counter 0 drives ISA IRQ 0, counter 2 the speaker, whose
 * port is pcspk.c's. Counters are not stepped: their values follow from the time of the last load.
 */
#include "hw/devices.h"
#include "hw/isa/i8254.h"
#include "hw/isa/isa.h"
#include "hw/misc/irqchip.h"
#include "vmm/event/loop.h"
#include "vmm/machine/machine.h"

#define PIT_HZ       1193182
#define PIT_COUNTERS 3
#define PIT_PORT     0x40
#define TIMER_GSI    0
#define SPEAKER      2 /* the counter */

/* A guest's shortest period: faster interrupts come at this rate. */
#define SHORTEST_PERIOD_NS (20 * NS_PER_US)
/* A machine that was held up for longer does not get the interrupts that it missed. */
#define CATCH_UP_NS (100 * NS_PER_MS)

enum { MODE_TERMINAL, MODE_ONE_SHOT, MODE_RATE, MODE_SQUARE, MODE_STROBE, MODE_HARD_STROBE };
enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

#define REG_CONTROL         3
#define CONTROL_READ_BACK   3 /* as a counter's number */
#define READ_BACK_NO_COUNT  (1 << 5)
#define READ_BACK_NO_STATUS (1 << 4)
#define STATUS_OUT          (1 << 7)
#define STATUS_NULL         (1 << 6)

typedef struct PitCounter {
    uint32_t count;  /* 1 to 65536 (10000 in BCD) */
    int64_t loaded;  /* VM_CLOCK_VIRTUAL, when counting began */
    uint16_t latch;  /* count that the guest latched */
    uint8_t latched; /* bytes of it still to be read */
    uint8_t status;
    bool status_latched;
    uint8_t access, mode;
    uint8_t write_low; /* the first byte of two */
    bool write_second, read_second;
    bool bcd, gate;
    bool counting; /* a count was loaded since the mode was set */
} PitCounter;

typedef struct PitState {
    Device dev;
    PitCounter counters[PIT_COUNTERS];
    bool level; /* of counter 0's line, as last driven */
    Timer timer;
    int64_t next; /* when counter 0's output changes, -1: never */
    MemRegion ports;
} PitState;

/* ---- Time ---- */

static uint64_t ns_to_ticks(int64_t ns)
{
    return (uint64_t)((unsigned __int128)(uint64_t)ns * PIT_HZ / NS_PER_SEC);
}

/* The first moment at which that many ticks have passed. */
static int64_t ticks_to_ns(uint64_t ticks)
{
    return (int64_t)(((unsigned __int128)ticks * NS_PER_SEC + PIT_HZ - 1) / PIT_HZ);
}

static uint64_t counter_ticks(const PitCounter *c, int64_t now)
{
    return now > c->loaded ? ns_to_ticks(now - c->loaded) : 0;
}

static bool counter_out(const PitCounter *c, int64_t now)
{
    uint64_t ticks = counter_ticks(c, now);
    if (!c->counting) {
        return c->mode != MODE_TERMINAL;
    }
    switch (c->mode) {
    case MODE_TERMINAL:
    case MODE_ONE_SHOT:
        return ticks >= c->count;
    case MODE_RATE: /* low for the last tick of a period */
        return !c->gate || ticks % c->count != c->count - 1;
    case MODE_SQUARE:
        return !c->gate || ticks % c->count < (c->count + 1) / 2;
    default: /* strobes: low for one tick */
        return ticks != c->count;
    }
}

/* When the output changes next after `now`; -1: not by itself. */
static int64_t counter_next_change(const PitCounter *c, int64_t now)
{
    uint64_t ticks = counter_ticks(c, now);
    uint64_t base = ticks - ticks % c->count, half = (c->count + 1) / 2;
    uint64_t next;
    if (!c->counting) {
        return -1;
    }
    switch (c->mode) {
    case MODE_RATE:
        next = ticks - base < c->count - 1 ? base + c->count - 1 : base + c->count;
        break;
    case MODE_SQUARE:
        next = ticks - base < half ? base + half : base + c->count;
        break;
    case MODE_TERMINAL:
    case MODE_ONE_SHOT:
        if (ticks >= c->count) {
            return -1;
        }
        next = c->count;
        break;
    default:
        if (ticks > c->count) {
            return -1;
        }
        next = ticks < c->count ? c->count : c->count + 1;
        break;
    }
    return c->loaded + ticks_to_ns(next);
}

static uint16_t to_bcd(uint32_t value)
{
    uint16_t bcd = 0;
    for (unsigned digit = 0; digit < 4; digit++) {
        bcd |= (uint16_t)(value % 10 << (digit * 4));
        value /= 10;
    }
    return bcd;
}

/* Digits above 9 count as what they weigh. */
static uint32_t from_bcd(uint16_t bcd)
{
    return (bcd >> 12) * 1000u + (bcd >> 8 & 15) * 100u + (bcd >> 4 & 15) * 10u + (bcd & 15);
}

static uint16_t counter_value(const PitCounter *c, int64_t now)
{
    uint64_t ticks = counter_ticks(c, now), modulus = c->bcd ? 10000 : 65536;
    uint64_t value;
    switch (c->mode) {
    case MODE_RATE:
        value = c->count - ticks % c->count;
        break;
    case MODE_SQUARE: /* counts by two, twice a period */
        value = c->count - 2 * ticks % c->count;
        break;
    default: /* goes on below zero */
        value = c->count + modulus - ticks % modulus;
        break;
    }
    value = c->counting ? value % modulus : c->count % modulus;
    return c->bcd ? to_bcd((uint32_t)value) : (uint16_t)value;
}

/* ---- Counter 0's interrupt ---- */

static void pit_schedule(PitState *pit, int64_t after)
{
    const PitCounter *c = &pit->counters[TIMER_GSI];
    bool periodic = c->mode == MODE_RATE || c->mode == MODE_SQUARE;
    pit->next = counter_next_change(c, after);
    if (pit->next < 0) {
        timer_cancel(&pit->timer);
        return;
    }
    /* Periods below the shortest become one interrupt each time the timer comes. */
    int64_t least = periodic && ticks_to_ns(c->count) < SHORTEST_PERIOD_NS
                        ? after + SHORTEST_PERIOD_NS
                        : pit->next;
    pit->next = MAX(pit->next, least);
    timer_arm(&pit->timer, pit->next);
}

static void pit_set_irq(PitState *pit, int level)
{
    pit->level = level != 0;
    irq_set(irqchip_timer_line(), level);
}

static void pit_fire(void *opaque)
{
    PitState *pit = opaque;
    const PitCounter *c = &pit->counters[TIMER_GSI];
    int64_t at = pit->next, now = clock_now(VM_CLOCK_VIRTUAL);
    if (at < 0) {
        return;
    }
    if (now - at > CATCH_UP_NS) {
        at = now;
    }
    bool periodic = c->mode == MODE_RATE || c->mode == MODE_SQUARE;
    if (periodic && ticks_to_ns(c->count) < SHORTEST_PERIOD_NS) {
        pit_set_irq(pit, 0);
        pit_set_irq(pit, 1);
    } else {
        pit_set_irq(pit, counter_out(c, at));
    }
    pit_schedule(pit, at);
}

static void pit_update_irq(PitState *pit)
{
    int64_t now = clock_now(VM_CLOCK_VIRTUAL);
    pit_set_irq(pit, counter_out(&pit->counters[TIMER_GSI], now));
    pit_schedule(pit, now);
}

/* ---- Registers ---- */

static void counter_load(PitState *pit, PitCounter *c, uint16_t value)
{
    uint32_t count = c->bcd ? from_bcd(value) : value;
    c->count = count ? count : c->bcd ? 10000 : 65536;
    c->loaded = clock_now(VM_CLOCK_VIRTUAL);
    c->counting = true;
    if (c == &pit->counters[TIMER_GSI]) {
        pit_update_irq(pit);
    }
}

static void counter_latch(PitCounter *c)
{
    if (c->latched == 0) {
        c->latch = counter_value(c, clock_now(VM_CLOCK_VIRTUAL));
        c->latched = c->access == ACCESS_BOTH ? 2 : 1;
    }
}

static void counter_latch_status(PitCounter *c)
{
    if (!c->status_latched) {
        c->status =
            (uint8_t)((counter_out(c, clock_now(VM_CLOCK_VIRTUAL)) ? STATUS_OUT : 0) |
                      (c->counting ? 0 : STATUS_NULL) | c->access << 4 | c->mode << 1 | c->bcd);
        c->status_latched = true;
    }
}

static void pit_read_back(PitState *pit, uint8_t value)
{
    for (unsigned i = 0; i < PIT_COUNTERS; i++) {
        if (!(value >> (i + 1) & 1)) {
            continue;
        }
        if (!(value & READ_BACK_NO_COUNT)) {
            counter_latch(&pit->counters[i]);
        }
        if (!(value & READ_BACK_NO_STATUS)) {
            counter_latch_status(&pit->counters[i]);
        }
    }
}

static void pit_control(PitState *pit, uint8_t value)
{
    unsigned number = value >> 6, access = value >> 4 & 3, mode = value >> 1 & 7;
    if (number == CONTROL_READ_BACK) {
        pit_read_back(pit, value);
        return;
    }
    PitCounter *c = &pit->counters[number];
    if (access == ACCESS_LATCH) {
        counter_latch(c);
        return;
    }
    *c = (PitCounter){
        .access = (uint8_t)access,
        .mode = (uint8_t)(mode > MODE_HARD_STROBE ? mode - 4 : mode), /* 6 and 7 are 2 and 3 */
        .bcd = value & 1,
        .gate = c->gate,
        .count = c->count,
    };
    if (number == TIMER_GSI) {
        pit_update_irq(pit);
    }
}

static void counter_write(PitState *pit, PitCounter *c, uint8_t value)
{
    switch (c->access) {
    case ACCESS_LOW:
        counter_load(pit, c, value);
        break;
    case ACCESS_HIGH:
        counter_load(pit, c, (uint16_t)(value << 8));
        break;
    default:
        if (c->write_second) {
            counter_load(pit, c, (uint16_t)(c->write_low | value << 8));
        } else {
            c->write_low = value;
        }
        c->write_second = !c->write_second;
        break;
    }
}

static uint8_t counter_read(PitCounter *c)
{
    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    bool high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_second);
    uint16_t value = c->latched ? c->latch : counter_value(c, clock_now(VM_CLOCK_VIRTUAL));
    if (c->latched) {
        c->latched--;
    }
    c->read_second = c->access == ACCESS_BOTH && !c->read_second;
    return (uint8_t)(high ? value >> 8 : value);
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
    PitState *pit = opaque;
    return offset == REG_CONTROL ? 0xff : counter_read(&pit->counters[offset]);
}

static void pit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PitState *pit = opaque;
    if (offset == REG_CONTROL) {
        pit_control(pit, (uint8_t)value);
    } else {
        counter_write(pit, &pit->counters[offset], (uint8_t)value);
    }
}

/* A rising gate starts one-shots and restarts periods. */
static void counter_set_gate(PitCounter *c, bool gate)
{
    bool rising = gate && !c->gate;
    c->gate = gate;
    if (rising && c->mode != MODE_TERMINAL && c->mode != MODE_STROBE) {
        c->loaded = clock_now(VM_CLOCK_VIRTUAL);
    }
}

bool i8254_speaker_out(const Device *pit)
{
    return counter_out(&((const PitState *)pit)->counters[SPEAKER], clock_now(VM_CLOCK_VIRTUAL));
}

void i8254_set_speaker_gate(Device *pit, bool gate)
{
    counter_set_gate(&((PitState *)pit)->counters[SPEAKER], gate);
}

static const MemOps pit_ops = { .read = pit_read, .write = pit_write, .max_size = 1 };

/* ---- Life ---- */

static bool pit_realize(Device *dev, GError **error)
{
    PitState *pit = (PitState *)dev;
    pit->next = -1;
    timer_init(&pit->timer, event_loop_main(), VM_CLOCK_VIRTUAL, &dev->lock, pit_fire, pit);
    mem_region_init_io(&pit->ports, "pit", 4, &pit_ops, pit, &dev->lock);
    isa_map_ports(dev, &pit->ports, PIT_PORT);
    return true;
}

static void pit_unrealize(Device *dev)
{
    PitState *pit = (PitState *)dev;
    isa_unmap_ports(dev, &pit->ports);
    g_mutex_lock(&dev->lock);
    timer_cancel(&pit->timer);
    g_mutex_unlock(&dev->lock);
}

/* Counters run from power-on, with a full count in mode 3, as PC firmware has always found them. */
static void pit_reset(Device *dev)
{
    PitState *pit = (PitState *)dev;
    g_mutex_lock(&dev->lock);
    for (unsigned i = 0; i < PIT_COUNTERS; i++) {
        pit->counters[i] = (PitCounter){
            .count = 65536,
            .loaded = clock_now(VM_CLOCK_VIRTUAL),
            .access = ACCESS_BOTH,
            .mode = MODE_SQUARE,
            .gate = i != SPEAKER,
            .counting = i != TIMER_GSI,
        };
    }
    pit_update_irq(pit);
    g_mutex_unlock(&dev->lock);
}

static bool counter_sane(const PitCounter *c)
{
    return c->count >= 1 && c->count <= 65536 && c->mode <= MODE_HARD_STROBE &&
           c->access >= ACCESS_LOW && c->access <= ACCESS_BOTH && c->latched <= 2 &&
           c->loaded >= 0 && c->loaded <= INT64_MAX / 2;
}

static bool pit_post_load(void *base, uint16_t version, GError **error)
{
    PitState *pit = base;
    for (unsigned i = 0; i < PIT_COUNTERS; i++) {
        if (!counter_sane(&pit->counters[i])) {
            return error_set(error, "isa-pit: the saved state of counter %u is out of range", i);
        }
    }
    g_mutex_lock(&pit->dev.lock);
    if (version < 2) {
        pit_update_irq(pit);
    } else { /* the line may be behind the counter: what it had is what the guest saw */
        pit_set_irq(pit, pit->level);
        pit_schedule(pit, clock_now(VM_CLOCK_VIRTUAL));
    }
    g_mutex_unlock(&pit->dev.lock);
    return true;
}

static const StateField counter_fields[] = {
    STATE_INT(PitCounter, count),
    STATE_INT(PitCounter, loaded),
    STATE_INT(PitCounter, latch),
    STATE_INT(PitCounter, latched),
    STATE_INT(PitCounter, status),
    STATE_BOOL(PitCounter, status_latched),
    STATE_INT(PitCounter, access),
    STATE_INT(PitCounter, mode),
    STATE_INT(PitCounter, write_low),
    STATE_BOOL(PitCounter, write_second),
    STATE_BOOL(PitCounter, read_second),
    STATE_BOOL(PitCounter, bcd),
    STATE_BOOL(PitCounter, gate),
    STATE_BOOL(PitCounter, counting),
    STATE_END,
};

static const StateSection counter_section = { .name = "counter",
                                              .version = 1,
                                              .fields = counter_fields };

static const StateField pit_fields[] = {
    STATE_STRUCT_ARRAY(PitState, counters, &counter_section),
    STATE_FIELD(PitState, level, STATE_KIND_BOOL, .size = 1, .count = 1, .since = 2),
    STATE_END,
};

static const StateSection pit_section = {
    .name = "isa-pit",
    .version = 3,
    .fields = pit_fields,
    .post_load = pit_post_load,
};

const DeviceClass i8254_class = {
    .name = "isa-pit",
    .desc = "Interval timer (Intel 8254)",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(PitState),
    .state = &pit_section,
    .internal = true,
    .realize = pit_realize,
    .unrealize = pit_unrealize,
    .reset = pit_reset,
};
