/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hpet: high precision event timers (IA-PC HPET specification 1.0a): a 64-bit counter of 100 MHz,
 * 3 to 32 timers, legacy replacement, FSB interrupts. Nothing is counted: the counter follows from
 * the virtual clock, and nothing runs unless the guest armed a timer.
 */
#include "hw/misc/hpet.h"
#include "hw/misc/irqchip.h"
#include "vmm/machine/accel.h"
#include "vmm/memory/address_space.h"

#define TICK_NS        10
#define PERIOD_FS      10000000ULL
#define TIMERS_MIN     3
#define TIMERS_MAX     32
#define GSI_TIMER_PIN  2 /* of the I/O APIC: GSI 0 */
#define RTC_GSI        8
#define SHORTEST_TICKS 2000                      /* a guest's shortest period: 20 us */
#define LONGEST_TICKS  (INT64_MAX / 4 / TICK_NS) /* centuries: such a match never comes */

#define REG_ID      0x000
#define REG_CONFIG  0x010
#define REG_STATUS  0x020
#define REG_COUNTER 0x0f0
#define REG_TIMERS  0x100
#define TIMER_BYTES 0x20

#define TIMER_CONFIG     0x00
#define TIMER_COMPARATOR 0x08
#define TIMER_FSB        0x10

#define ID_FEATURES 0x8086a001U /* Intel, 64-bit counter, legacy replacement, revision 1 */

#define CONFIG_ENABLE 0x1
#define CONFIG_LEGACY 0x2

#define T_LEVEL        0x0002ULL
#define T_ENABLE       0x0004ULL
#define T_PERIODIC     0x0008ULL
#define T_CAN_PERIODIC 0x0010ULL
#define T_CAN_64       0x0020ULL
#define T_SET_VALUE    0x0040ULL
#define T_32BIT        0x0100ULL
#define T_ROUTE        0x3e00ULL
#define T_ROUTE_SHIFT  9
#define T_FSB          0x4000ULL
#define T_CAN_FSB      0x8000ULL
#define T_WRITABLE     (T_LEVEL | T_ENABLE | T_PERIODIC | T_32BIT | T_ROUTE)

typedef struct HpetState HpetState;

typedef struct HpetTimer {
    HpetState *hpet;
    Timer timer;
    uint64_t config; /* what the guest wrote of it */
    uint64_t comparator, period, fsb;
    bool set_value; /* the next write of the comparator sets the first match too */
} HpetTimer;

struct HpetState {
    Device dev;
    MemRegion window;
    uint8_t timer_count; /* properties */
    bool msi;
    uint32_t routes; /* a bit for each I/O APIC input that timers may take */
    uint64_t config;
    uint32_t status;  /* matches of level-triggered timers */
    uint32_t lines;   /* GSIs that are high because of them */
    uint64_t counter; /* while it stands still, or when it was started */
    int64_t started;  /* VM_CLOCK_VIRTUAL */
    HpetTimer timers[TIMERS_MAX];
};

/* ---- Time ---- */

static bool running(const HpetState *hpet)
{
    return hpet->config & CONFIG_ENABLE;
}

/* Ticks since the counter was started. */
static uint64_t ticks_run(const HpetState *hpet)
{
    return (uint64_t)(clock_now(VM_CLOCK_VIRTUAL) - hpet->started) / TICK_NS;
}

static uint64_t counter_now(const HpetState *hpet)
{
    return hpet->counter + (running(hpet) ? ticks_run(hpet) : 0);
}

static bool is_32bit(const HpetTimer *t)
{
    return t->config & T_32BIT;
}

static uint64_t cut(const HpetTimer *t, uint64_t value)
{
    return is_32bit(t) ? (uint32_t)value : value;
}

/* ---- Interrupts ---- */

static bool uses_fsb(const HpetTimer *t)
{
    return t->config & T_FSB;
}

/* With legacy replacement timer 0 is ISA IRQ 0, and timer 1 IRQ 8. */
static unsigned timer_gsi(const HpetState *hpet, unsigned index)
{
    if (hpet->config & CONFIG_LEGACY && index < 2) {
        return index == 0 ? GSI_TIMER_PIN : RTC_GSI;
    }
    return (hpet->timers[index].config & T_ROUTE) >> T_ROUTE_SHIFT;
}

static bool gsi_allowed(const HpetState *hpet, unsigned index, unsigned gsi)
{
    return (hpet->config & CONFIG_LEGACY && index < 2) || hpet->routes >> gsi & 1;
}

static void gsi_set(HpetState *hpet, unsigned gsi, int level)
{
    Machine *machine = hpet->dev.machine;
    if (gsi < machine->gsi_count) {
        irq_set(&machine->gsi[gsi == GSI_TIMER_PIN ? 0 : gsi], level);
    }
}

static bool may_interrupt(const HpetState *hpet, unsigned index)
{
    return running(hpet) && hpet->timers[index].config & T_ENABLE;
}

/* The lines of level-triggered timers, from the state. */
static void update_irq(HpetState *hpet)
{
    uint32_t lines = 0;
    for (unsigned i = 0; i < hpet->timer_count; i++) {
        const HpetTimer *t = &hpet->timers[i];
        unsigned gsi = timer_gsi(hpet, i);
        if (hpet->status >> i & 1 && t->config & T_LEVEL && !uses_fsb(t) &&
            may_interrupt(hpet, i) && gsi_allowed(hpet, i, gsi)) {
            lines |= 1U << gsi;
        }
    }
    uint32_t changed = lines ^ hpet->lines;
    hpet->lines = lines;
    for (unsigned gsi = 0; changed; gsi++, changed >>= 1) {
        if (changed & 1) {
            gsi_set(hpet, gsi, lines >> gsi & 1);
        }
    }
}

/* A level-triggered timer has its status bit whether it may interrupt or not (2.3.6). */
static void timer_matched(HpetState *hpet, unsigned index)
{
    const HpetTimer *t = &hpet->timers[index];
    unsigned gsi = timer_gsi(hpet, index);
    if (t->config & T_LEVEL) {
        hpet->status |= 1U << index;
    }
    update_irq(hpet);
    if (!may_interrupt(hpet, index)) {
        return;
    }
    if (uses_fsb(t)) {
        MsiMessage message = { .address = t->fsb >> 32, .data = (uint32_t)t->fsb };
        hpet->dev.machine->accel->msi_send(hpet->dev.machine, message);
    } else if (!(t->config & T_LEVEL) && gsi_allowed(hpet, index, gsi) &&
               !(hpet->lines >> gsi & 1)) {
        gsi_set(hpet, gsi, 1);
        gsi_set(hpet, gsi, 0);
    }
}

/* ---- Timers ---- */

/* Armed for the moment at which the counter will have run that many ticks more. */
static void arm_in(HpetTimer *t, uint64_t ticks)
{
    uint64_t run = ticks_run(t->hpet);
    if (ticks > LONGEST_TICKS || run > LONGEST_TICKS) {
        timer_cancel(&t->timer);
        return;
    }
    timer_arm(&t->timer, t->hpet->started + (int64_t)(run + ticks) * TICK_NS);
}

/* A match that has passed comes again after a full turn of the counter. A timer that could neither
 * interrupt nor leave a status bit is not armed. */
static void timer_update(HpetTimer *t)
{
    if (!running(t->hpet) || !(t->config & (T_ENABLE | T_LEVEL))) {
        timer_cancel(&t->timer);
        return;
    }
    arm_in(t, cut(t, t->comparator - counter_now(t->hpet)));
}

/* The comparator goes to its next match after now, on the period's grid. Periods that are too short
 * are skipped so that the shortest is kept. */
static void timer_advance(HpetTimer *t, uint64_t now)
{
    uint64_t late = cut(t, now - t->comparator);
    uint64_t least = t->period < SHORTEST_TICKS ? SHORTEST_TICKS : 0;
    uint64_t steps = late / t->period + 1;
    if (least) {
        steps = (late + least) / t->period + 1;
    }
    t->comparator = cut(t, t->comparator + steps * t->period);
}

static void timer_fire(void *opaque)
{
    HpetTimer *t = opaque;
    HpetState *hpet = t->hpet;
    if (!running(hpet)) {
        return;
    }
    if (t->config & T_PERIODIC && t->period) {
        timer_advance(t, counter_now(hpet));
        timer_update(t);
    } else if (is_32bit(t)) { /* again when the low half has turned */
        arm_in(t, (uint64_t)(uint32_t)(t->comparator - counter_now(hpet) - 1) + 1);
    }
    timer_matched(hpet, (unsigned)(t - hpet->timers));
}

static void timers_update(HpetState *hpet)
{
    for (unsigned i = 0; i < hpet->timer_count; i++) {
        timer_update(&hpet->timers[i]);
    }
}

/* ---- Registers: 64 bits each, read and written whole or by halves ---- */

uint32_t hpet_block_id(const Device *dev)
{
    return ID_FEATURES | ((uint32_t)((const HpetState *)dev)->timer_count - 1) << 8;
}

static uint64_t timer_config(const HpetState *hpet, const HpetTimer *t)
{
    return t->config | T_CAN_PERIODIC | T_CAN_64 | (hpet->msi ? T_CAN_FSB : 0) |
           (uint64_t)hpet->routes << 32;
}

static uint64_t read_timer(const HpetState *hpet, unsigned reg)
{
    unsigned index = (reg - REG_TIMERS) / TIMER_BYTES;
    if (index >= hpet->timer_count) {
        return 0;
    }
    const HpetTimer *t = &hpet->timers[index];
    switch (reg % TIMER_BYTES) {
    case TIMER_CONFIG:
        return timer_config(hpet, t);
    case TIMER_COMPARATOR:
        return t->comparator;
    case TIMER_FSB:
        return t->fsb;
    default:
        return 0;
    }
}

static uint64_t read_register(const HpetState *hpet, unsigned reg)
{
    switch (reg) {
    case REG_ID:
        return PERIOD_FS << 32 | hpet_block_id(&hpet->dev);
    case REG_CONFIG:
        return hpet->config;
    case REG_STATUS:
        return hpet->status;
    case REG_COUNTER:
        return counter_now(hpet);
    default:
        return reg >= REG_TIMERS ? read_timer(hpet, reg) : 0;
    }
}

static void deposit(uint64_t *field, uint64_t value, uint64_t mask)
{
    *field = (*field & ~mask) | (value & mask);
}

static void write_timer_config(HpetTimer *t, uint64_t value, uint64_t mask)
{
    HpetState *hpet = t->hpet;
    uint64_t writable = T_WRITABLE | (hpet->msi ? T_FSB : 0);
    deposit(&t->config, value, mask & writable);
    if (mask & T_SET_VALUE) {
        t->set_value = value & T_SET_VALUE;
    }
    if (!(t->config & T_LEVEL)) {
        hpet->status &= ~(1U << (t - hpet->timers));
    }
    t->comparator = cut(t, t->comparator);
    t->period = cut(t, t->period);
    timer_update(t);
    update_irq(hpet);
}

/* Of a periodic timer a write is the period; after SET_VALUE it is the first match too (2.3.9.2).
 */
static void write_comparator(HpetTimer *t, uint64_t value, uint64_t mask)
{
    bool periodic = t->config & T_PERIODIC;
    if (!periodic || t->set_value) {
        deposit(&t->comparator, value, mask);
        t->comparator = cut(t, t->comparator);
    }
    if (periodic) {
        deposit(&t->period, value, mask);
        t->period = cut(t, t->period);
    }
    t->set_value = false;
    timer_update(t);
}

static void write_timer(HpetState *hpet, unsigned reg, uint64_t value, uint64_t mask)
{
    unsigned index = (reg - REG_TIMERS) / TIMER_BYTES;
    if (index >= hpet->timer_count) {
        return;
    }
    HpetTimer *t = &hpet->timers[index];
    switch (reg % TIMER_BYTES) {
    case TIMER_CONFIG:
        write_timer_config(t, value, mask);
        break;
    case TIMER_COMPARATOR:
        write_comparator(t, value, mask);
        break;
    case TIMER_FSB:
        deposit(&t->fsb, value, mask);
        break;
    default:
        break;
    }
}

static void write_config(HpetState *hpet, uint64_t value, uint64_t mask)
{
    uint64_t now = counter_now(hpet), old = hpet->config;
    deposit(&hpet->config, value, mask & (CONFIG_ENABLE | CONFIG_LEGACY));
    uint64_t changed = old ^ hpet->config;
    if (changed & CONFIG_LEGACY) {
        irqchip_replace_legacy(hpet->dev.machine, hpet->config & CONFIG_LEGACY);
        hpet->lines &= ~(1U << GSI_TIMER_PIN | 1U << RTC_GSI); /* that drove them low */
    }
    if (changed & CONFIG_ENABLE) {
        hpet->counter = now;
        hpet->started = clock_now(VM_CLOCK_VIRTUAL);
        timers_update(hpet);
    }
    update_irq(hpet);
}

static void write_register(HpetState *hpet, unsigned reg, uint64_t value, uint64_t mask)
{
    switch (reg) {
    case REG_CONFIG:
        write_config(hpet, value, mask);
        break;
    case REG_STATUS:
        hpet->status &= ~(uint32_t)(value & mask);
        update_irq(hpet);
        break;
    case REG_COUNTER:
        if (!running(hpet)) {
            deposit(&hpet->counter, value, mask);
        }
        break;
    default:
        if (reg >= REG_TIMERS) {
            write_timer(hpet, reg, value, mask);
        }
        break;
    }
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
    return read_register(opaque, offset & ~7U) >> (offset & 4 ? 32 : 0);
}

static void hpet_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    unsigned shift = offset & 4 ? 32 : 0;
    uint64_t mask = size == 8 ? UINT64_MAX : (uint64_t)UINT32_MAX << shift;
    write_register(opaque, offset & ~7U, value << shift, mask);
}

static const MemOps hpet_ops = {
    .read = hpet_read,
    .write = hpet_write,
    .min_size = 4,
    .max_size = 8,
};

/* ---- Life ---- */

static bool hpet_realize(Device *dev, GError **error)
{
    HpetState *hpet = (HpetState *)dev;
    for (unsigned i = 0; i < TIMERS_MAX; i++) {
        HpetTimer *t = &hpet->timers[i];
        t->hpet = hpet;
        timer_init(&t->timer, event_loop_main(), VM_CLOCK_VIRTUAL, &dev->lock, timer_fire, t);
    }
    mem_region_init_io(&hpet->window, "hpet", HPET_SIZE, &hpet_ops, hpet, &dev->lock);
    machine_topology_lock(dev->machine);
    address_space_map(dev->machine->memory, &hpet->window, HPET_BASE, 0);
    machine_topology_unlock(dev->machine);
    return true;
}

static void timers_cancel(HpetState *hpet)
{
    for (unsigned i = 0; i < TIMERS_MAX; i++) {
        timer_cancel(&hpet->timers[i].timer);
    }
}

static void hpet_unrealize(Device *dev)
{
    HpetState *hpet = (HpetState *)dev;
    machine_topology_lock(dev->machine);
    address_space_unmap(&hpet->window);
    machine_topology_unlock(dev->machine);
    address_space_synchronize();
    g_mutex_lock(&dev->lock);
    timers_cancel(hpet);
    g_mutex_unlock(&dev->lock);
}

static void hpet_reset(Device *dev)
{
    HpetState *hpet = (HpetState *)dev;
    g_mutex_lock(&dev->lock);
    timers_cancel(hpet);
    for (unsigned i = 0; i < TIMERS_MAX; i++) {
        HpetTimer *t = &hpet->timers[i];
        t->config = t->period = t->fsb = 0;
        t->comparator = UINT64_MAX;
        t->set_value = false;
    }
    hpet->status = 0;
    hpet->counter = 0;
    hpet->started = 0;
    bool legacy = hpet->config & CONFIG_LEGACY;
    hpet->config = 0;
    update_irq(hpet);
    if (legacy) {
        irqchip_replace_legacy(dev->machine, false);
    }
    g_mutex_unlock(&dev->lock);
}

static void timer_sanitize(HpetState *hpet, unsigned index)
{
    HpetTimer *t = &hpet->timers[index];
    t->config &= T_WRITABLE | (hpet->msi ? T_FSB : 0);
    t->comparator = cut(t, t->comparator);
    t->period = cut(t, t->period);
    if (!running(hpet) || index >= hpet->timer_count) {
        timer_cancel(&t->timer);
    }
}

static bool hpet_post_load(void *base, uint16_t version, GError **error)
{
    HpetState *hpet = base;
    if (hpet->started < 0 || hpet->started > clock_now(VM_CLOCK_VIRTUAL)) {
        return error_set(error, "hpet: the saved counter was started in the future");
    }
    g_mutex_lock(&hpet->dev.lock);
    hpet->config &= CONFIG_ENABLE | CONFIG_LEGACY;
    hpet->status &= (uint32_t)((1ULL << hpet->timer_count) - 1);
    for (unsigned i = 0; i < TIMERS_MAX; i++) {
        timer_sanitize(hpet, i);
    }
    irqchip_replace_legacy(hpet->dev.machine, hpet->config & CONFIG_LEGACY);
    update_irq(hpet);
    g_mutex_unlock(&hpet->dev.lock);
    return true;
}

Device *hpet_new(Machine *machine, uint32_t routes, GError **error)
{
    Device *dev = device_new(&hpet_class, NULL);
    HpetState *hpet = (HpetState *)dev;
    hpet->routes = hpet->routes ? hpet->routes : routes;
    if (!device_realize(dev, machine, NULL, error)) {
        g_prefix_error(error, "hpet: ");
        device_free(dev);
        return NULL;
    }
    return dev;
}

static const Property hpet_props[] = {
    PROP_FIELD("timers", PROP_TYPE_U8, HpetState, timer_count, "Number of timers",
               .def = TIMERS_MIN, .min = TIMERS_MIN, .max = TIMERS_MAX),
    PROP_BOOL("msi", HpetState, msi, false, "Timers can interrupt by messages (FSB)"),
    PROP_U32("hpet-intcap", HpetState, routes, 0,
             "Bits: inputs of the I/O APIC that timers may interrupt at (0: the board's)"),
    PROP_END,
};

static const StateField timer_fields[] = {
    STATE_TIMER(HpetTimer, timer),
    STATE_INT(HpetTimer, config),
    STATE_INT(HpetTimer, comparator),
    STATE_INT(HpetTimer, period),
    STATE_INT(HpetTimer, fsb),
    STATE_BOOL(HpetTimer, set_value),
    STATE_END,
};

static const StateSection timer_section = {
    .name = "timer",
    .version = 1,
    .fields = timer_fields,
};

static const StateField hpet_fields[] = {
    STATE_INT(HpetState, config),
    STATE_INT(HpetState, status),
    STATE_INT(HpetState, counter),
    STATE_INT(HpetState, started),
    STATE_STRUCT_ARRAY(HpetState, timers, &timer_section),
    STATE_END,
};

static const StateSection hpet_section = {
    .name = "hpet",
    .version = 1,
    .fields = hpet_fields,
    .post_load = hpet_post_load,
};

const DeviceClass hpet_class = {
    .name = "hpet",
    .desc = "High precision event timers (-machine hpet=on)",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(HpetState),
    .props = hpet_props,
    .state = &hpet_section,
    .internal = true,
    .realize = hpet_realize,
    .unrealize = hpet_unrealize,
    .reset = hpet_reset,
};
