/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mc146818rtc: real-time clock and CMOS (Motorola MC146818A; ICH9, 13.6).
 *
 * The time of day is not counted: it is the clock of `-rtc clock=` plus an offset, and what should
 * have happened since the last look (a second passed, the alarm, a period) is worked out when the
 * guest looks or when a timer fires for an interrupt that it enabled. An idle clock costs nothing.
 */
#include <time.h>
#include "hw/devices.h"
#include "hw/isa/isa.h"
#include "hw/misc/irqchip.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/monitor.h"
#include "vmm/util/bytes.h"

#define RTC_PORT        0x70
#define RTC_UIP_NS      244140 /* update in progress is seen this long before the update */
#define RTC_PERIODIC_HZ 32768
#define TIME_LIMIT_NS   (INT64_MAX / 2)
#define DAY_SECONDS     86400

enum {
    REG_SECONDS,
    REG_SECONDS_ALARM,
    REG_MINUTES,
    REG_MINUTES_ALARM,
    REG_HOURS,
    REG_HOURS_ALARM,
    REG_DAY_OF_WEEK,
    REG_DAY_OF_MONTH,
    REG_MONTH,
    REG_YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    CMOS_SHUTDOWN = 0x0f, /* why the system is being reset, for its firmware */
    REG_CENTURY = 0x32,
    REG_CENTURY_PS2 = 0x37,
};

#define A_UIP            0x80
#define A_DIVIDER        0x70
#define A_RATE           0x0f
#define B_SET            0x80
#define B_PIE            0x40
#define B_AIE            0x20
#define B_UIE            0x10
#define B_BINARY         0x04
#define B_24H            0x02
#define C_IRQF           0x80
#define C_PF             0x40
#define C_AF             0x20
#define C_UF             0x10
#define D_VALID          0x80
#define HOUR_PM          0x80
#define CMOS_SHUTDOWN_S3 0xfe
#define ALARM_ANY        0xc0 /* an alarm byte with both bits set matches always */
#define DIVIDER_ON       0x20 /* 32768 Hz, the only running setting; 0x60 and 0x70 hold the divider */

#define LOST_MAX 8192 /* periods made up for: a second at the highest rate */

enum { LOST_DISCARD, LOST_SLEW };
static const char *const policy_names[] = { "discard", "slew", NULL };

typedef struct RtcState {
    Device dev;
    VmClock clock;
    MemRegion ports;
    IrqLine *irq;
    uint8_t index;
    uint8_t cmos[128];
    int64_t offset_ns;   /* the guest's time is the clock plus this */
    int64_t frozen_ns;   /* the guest's time while SET or the divider holds it */
    int64_t seen_second; /* up to here updates and alarms are worked out */
    int64_t seen_period;
    Timer update, periodic;
    int policy;             /* LOST_... */
    uint32_t lost;          /* periods that passed before the guest looked */
    int64_t base_offset_ns; /* offset_ns of a clock that nobody set */
} RtcState;

/* ---- Time ---- */

static bool time_runs(const RtcState *rtc)
{
    return !(rtc->cmos[REG_B] & B_SET) && (rtc->cmos[REG_A] & 0x60) != 0x60;
}

static int64_t guest_ns(const RtcState *rtc)
{
    return time_runs(rtc) ? clock_now(rtc->clock) + rtc->offset_ns : rtc->frozen_ns;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static uint8_t encode(const RtcState *rtc, unsigned value)
{
    return rtc->cmos[REG_B] & B_BINARY ? value : (value / 10) << 4 | value % 10;
}

static unsigned decode(const RtcState *rtc, uint8_t value)
{
    return rtc->cmos[REG_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hour(const RtcState *rtc, unsigned hour)
{
    if (rtc->cmos[REG_B] & B_24H) {
        return encode(rtc, hour);
    }
    return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const RtcState *rtc, uint8_t value)
{
    if (rtc->cmos[REG_B] & B_24H) {
        return decode(rtc, value);
    }
    return decode(rtc, value & ~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

static void time_to_cmos(RtcState *rtc)
{
    time_t seconds = floor_div(guest_ns(rtc), NS_PER_SEC);
    struct tm tm = { 0 };

    if (!gmtime_r(&seconds, &tm)) {
        return;
    }
    rtc->cmos[REG_SECONDS] = encode(rtc, tm.tm_sec);
    rtc->cmos[REG_MINUTES] = encode(rtc, tm.tm_min);
    rtc->cmos[REG_HOURS] = encode_hour(rtc, tm.tm_hour);
    rtc->cmos[REG_DAY_OF_WEEK] = encode(rtc, tm.tm_wday + 1);
    rtc->cmos[REG_DAY_OF_MONTH] = encode(rtc, tm.tm_mday);
    rtc->cmos[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
    rtc->cmos[REG_YEAR] = encode(rtc, (tm.tm_year + 1900) % 100);
    rtc->cmos[REG_CENTURY] = encode(rtc, (tm.tm_year + 1900) / 100 % 100);
    rtc->cmos[REG_CENTURY_PS2] = rtc->cmos[REG_CENTURY];
}

/* Nonsense in the registers gives some time, never an overflow: timegm() normalizes bytes, and what
 * nanoseconds cannot hold (1824 to 2116) becomes the nearest they can. */
static int64_t time_from_cmos(const RtcState *rtc)
{
    const uint8_t *cmos = rtc->cmos;
    struct tm tm = {
        .tm_sec = decode(rtc, cmos[REG_SECONDS]),
        .tm_min = decode(rtc, cmos[REG_MINUTES]),
        .tm_hour = decode_hour(rtc, cmos[REG_HOURS]),
        .tm_mday = decode(rtc, cmos[REG_DAY_OF_MONTH]),
        .tm_mon = (int)decode(rtc, cmos[REG_MONTH]) - 1,
    };

    tm.tm_year = decode(rtc, cmos[REG_YEAR]) + decode(rtc, cmos[REG_CENTURY]) * 100 - 1900;
    return CLAMP((int64_t)timegm(&tm), -TIME_LIMIT_NS / NS_PER_SEC, TIME_LIMIT_NS / NS_PER_SEC) *
           NS_PER_SEC;
}

static void time_set(RtcState *rtc, int64_t ns)
{
    rtc->offset_ns = ns - clock_now(rtc->clock);
    rtc->frozen_ns = ns;
    rtc->seen_second = floor_div(ns, NS_PER_SEC);
}

/* The guest set the clock: how far it is from the one that it was given. */
static void tell_change(RtcState *rtc)
{
    json_object *data = json_object_new_object();
    g_autofree char *path = device_path(&rtc->dev);
    int64_t offset = rtc->offset_ns - rtc->base_offset_ns;

    json_object_object_add(data, "offset",
                           json_object_new_int64(floor_div(offset + NS_PER_SEC / 2, NS_PER_SEC)));
    json_object_object_add(data, "qom-path", json_object_new_string(path));
    monitor_emit("RTC_CHANGE", data);
}

/* ---- Events ---- */

static bool alarm_matches(const RtcState *rtc, unsigned reg, unsigned value)
{
    uint8_t byte = rtc->cmos[reg];

    if ((byte & ALARM_ANY) == ALARM_ANY) {
        return true;
    }
    return (reg == REG_HOURS_ALARM ? decode_hour(rtc, byte) : decode(rtc, byte)) == value;
}

/* The first second after `second` at which the alarm goes off; INT64_MAX: never. */
static int64_t next_alarm(const RtcState *rtc, int64_t second)
{
    int64_t end = second + DAY_SECONDS;

    for (int64_t at = second + 1; at <= end;) {
        unsigned of_day = (at % DAY_SECONDS + DAY_SECONDS) % DAY_SECONDS;
        if (!alarm_matches(rtc, REG_HOURS_ALARM, of_day / 3600)) {
            at += 3600 - of_day % 3600;
        } else if (!alarm_matches(rtc, REG_MINUTES_ALARM, of_day / 60 % 60)) {
            at += 60 - of_day % 60;
        } else if (!alarm_matches(rtc, REG_SECONDS_ALARM, of_day % 60)) {
            at++;
        } else {
            return at;
        }
    }
    return INT64_MAX;
}

/* Nanoseconds of the periodic rate (data sheet, table 5), 0: none. */
static int64_t period_ns(const RtcState *rtc)
{
    unsigned rate = rtc->cmos[REG_A] & A_RATE;

    if (!rate || (rtc->cmos[REG_A] & 0x60) == 0x60) {
        return 0;
    }
    if (rate <= 2) {
        rate += 7;
    }
    return (NS_PER_SEC << (rate - 1)) / RTC_PERIODIC_HZ;
}

/* A guest that counts periods gets those that it missed, one for each that it acknowledges. */
static void count_lost(RtcState *rtc, int64_t periods)
{
    bool counts = rtc->policy == LOST_SLEW && (rtc->cmos[REG_B] & B_PIE);

    if (counts && !(rtc->cmos[REG_C] & C_PF)) {
        periods--;
    }
    rtc->lost = counts ? (uint32_t)MIN(rtc->lost + periods, LOST_MAX) : 0;
}

/* Sets the flags of what happened since the last look. */
static void events_update(RtcState *rtc)
{
    int64_t second = floor_div(guest_ns(rtc), NS_PER_SEC), period = period_ns(rtc);

    if (time_runs(rtc) && second > rtc->seen_second) {
        rtc->cmos[REG_C] |= C_UF;
        if (next_alarm(rtc, rtc->seen_second) <= second) {
            rtc->cmos[REG_C] |= C_AF;
        }
    }
    rtc->seen_second = second;
    if (period) {
        int64_t now = clock_now(rtc->clock) / period;
        if (now > rtc->seen_period) {
            count_lost(rtc, now - rtc->seen_period);
            rtc->cmos[REG_C] |= C_PF;
        }
        rtc->seen_period = now;
    }
}

/* The line and the timers, from the registers. */
static void rtc_update(RtcState *rtc)
{
    uint8_t *c = &rtc->cmos[REG_C], b = rtc->cmos[REG_B];
    int64_t next = INT64_MAX, period = period_ns(rtc);

    events_update(rtc);
    *c &= ~C_IRQF;
    if (*c & b & (C_PF | C_AF | C_UF)) {
        *c |= C_IRQF;
    }
    irq_set(rtc->irq, (*c & C_IRQF) != 0);

    if ((b & B_AIE) && !(*c & C_AF)) {
        next = next_alarm(rtc, rtc->seen_second);
    }
    if ((b & B_UIE) && !(*c & C_UF)) {
        next = rtc->seen_second + 1;
    }
    if (time_runs(rtc) && next != INT64_MAX) {
        timer_arm(&rtc->update, next * NS_PER_SEC - rtc->offset_ns);
    } else {
        timer_cancel(&rtc->update);
    }
    if (period && (b & B_PIE) && !(*c & C_PF)) {
        timer_arm(&rtc->periodic, (rtc->seen_period + 1) * period);
    } else {
        timer_cancel(&rtc->periodic);
    }
}

static void rtc_fire(void *opaque)
{
    RtcState *rtc = opaque;

    rtc_update(rtc);
    if (rtc->cmos[REG_B] & rtc->cmos[REG_C] & B_AIE) {
        machine_request_wakeup(rtc->dev.machine, WAKEUP_RTC);
    }
}

/* What tells the firmware, after the reset that wakes the system, to look for the way back. */
static void rtc_suspended(void *opaque)
{
    RtcState *rtc = opaque;

    g_mutex_lock(&rtc->dev.lock);
    rtc->cmos[CMOS_SHUTDOWN] = CMOS_SHUTDOWN_S3;
    g_mutex_unlock(&rtc->dev.lock);
}

/* ---- Registers ---- */

static uint8_t read_a(const RtcState *rtc)
{
    int64_t ns = guest_ns(rtc);
    bool updating = time_runs(rtc) &&
                    NS_PER_SEC - (ns - floor_div(ns, NS_PER_SEC) * NS_PER_SEC) <= RTC_UIP_NS;

    return rtc->cmos[REG_A] | (updating ? A_UIP : 0);
}

static uint8_t read_c(RtcState *rtc)
{
    uint8_t value;

    rtc_update(rtc);
    value = rtc->cmos[REG_C];
    rtc->cmos[REG_C] = 0;
    if (rtc->lost && (rtc->cmos[REG_B] & B_PIE)) {
        irq_set(rtc->irq, 0); /* the next one is an edge */
        rtc->cmos[REG_C] = C_PF;
        rtc->lost--;
    }
    rtc_update(rtc);
    return value;
}

static uint8_t cmos_read(RtcState *rtc, uint8_t index)
{
    switch (index) {
    case REG_SECONDS:
    case REG_MINUTES:
    case REG_HOURS:
    case REG_DAY_OF_WEEK:
    case REG_DAY_OF_MONTH:
    case REG_MONTH:
    case REG_YEAR:
    case REG_CENTURY:
    case REG_CENTURY_PS2:
        if (time_runs(rtc)) {
            time_to_cmos(rtc);
        }
        return rtc->cmos[index];
    case REG_A:
        return read_a(rtc);
    case REG_C:
        return read_c(rtc);
    default:
        return rtc->cmos[index];
    }
}

static void time_byte_write(RtcState *rtc, uint8_t index, uint8_t value)
{
    int64_t subsecond;

    if (!time_runs(rtc)) {
        rtc->cmos[index] = value;
        return;
    }
    time_to_cmos(rtc);
    rtc->cmos[index] = value;
    subsecond = guest_ns(rtc) - floor_div(guest_ns(rtc), NS_PER_SEC) * NS_PER_SEC;
    time_set(rtc, time_from_cmos(rtc) + subsecond);
    tell_change(rtc);
}

/* A and B hold or let go the time: SET keeps the fraction of the second; the divider's release
 * makes the first update come half a second later (data sheet, "divider control"). */
static void control_write(RtcState *rtc, uint8_t index, uint8_t value)
{
    bool ran = time_runs(rtc);
    bool held_divider = (rtc->cmos[REG_A] & 0x60) == 0x60;
    int64_t ns = guest_ns(rtc);

    events_update(rtc);
    if (ran) {
        time_to_cmos(rtc);
    }
    if (index == REG_A) {
        rtc->cmos[REG_A] = value & ~A_UIP;
    } else {
        rtc->cmos[REG_B] = value & B_SET ? value & ~B_UIE : value;
    }
    rtc->lost = 0;
    rtc->seen_period = period_ns(rtc) ? clock_now(rtc->clock) / period_ns(rtc) : 0;
    if (ran && !time_runs(rtc)) {
        rtc->frozen_ns = ns;
    } else if (!ran && time_runs(rtc)) {
        int64_t fraction =
            held_divider ? NS_PER_SEC / 2
                         : rtc->frozen_ns - floor_div(rtc->frozen_ns, NS_PER_SEC) * NS_PER_SEC;
        time_set(rtc, time_from_cmos(rtc) + fraction);
        tell_change(rtc);
    }
}

static void cmos_write(RtcState *rtc, uint8_t index, uint8_t value)
{
    switch (index) {
    case REG_SECONDS:
    case REG_MINUTES:
    case REG_HOURS:
    case REG_DAY_OF_WEEK:
    case REG_DAY_OF_MONTH:
    case REG_MONTH:
    case REG_YEAR:
    case REG_CENTURY:
        time_byte_write(rtc, index, value);
        break;
    case REG_CENTURY_PS2:
        time_byte_write(rtc, REG_CENTURY, value);
        rtc->cmos[REG_CENTURY_PS2] = value;
        break;
    case REG_A:
    case REG_B:
        control_write(rtc, index, value);
        break;
    case REG_C:
    case REG_D:
        return;
    default:
        rtc->cmos[index] = value;
        break;
    }
    rtc_update(rtc);
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
    RtcState *rtc = opaque;

    return offset == 0 ? 0xff : cmos_read(rtc, rtc->index);
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    RtcState *rtc = opaque;

    if (offset == 0) {
        rtc->index = value & 0x7f;
    } else {
        cmos_write(rtc, rtc->index, value);
    }
}

static const MemOps rtc_ops = { .read = rtc_read, .write = rtc_write, .max_size = 1 };

/* ---- CMOS contents ---- */

void mc146818_set_cmos(Device *dev, uint8_t index, uint8_t value)
{
    ((RtcState *)dev)->cmos[index & 0x7f] = value;
}

static void set_le(Device *dev, uint8_t index, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        mc146818_set_cmos(dev, index + i, value >> (8 * i));
    }
}

/* The places that PC firmware has used since the AT: KiB of base and extended memory, 64 KiB units
 * above 16 MiB and above 4 GiB. */
void mc146818_set_memory(Device *dev, uint64_t below_4g, uint64_t above_4g, unsigned cpus)
{
    uint64_t extended = below_4g > MIB ? MIN((below_4g - MIB) / KIB, 65535) : 0;
    uint64_t above_16m = below_4g > 16 * MIB ? MIN((below_4g - 16 * MIB) / (64 * KIB), 65535) : 0;

    set_le(dev, 0x15, MIN(below_4g / KIB, 640), 2);
    set_le(dev, 0x17, extended, 2);
    set_le(dev, 0x30, extended, 2);
    set_le(dev, 0x34, above_16m, 2);
    set_le(dev, 0x5b, MIN(above_4g / (64 * KIB), 0xffffff), 3);
    mc146818_set_cmos(dev, 0x5f, MIN(cpus, 256) - 1);
}

/* ---- Life ---- */

static int64_t initial_ns(const MachineConfig *config)
{
    int64_t ns = config->rtc_base >= 0 ? config->rtc_base * NS_PER_SEC : clock_now(VM_CLOCK_HOST);

    ns += config->rtc_offset_ns;
    if (config->rtc_localtime) {
        time_t seconds = floor_div(ns, NS_PER_SEC);
        struct tm tm;
        if (localtime_r(&seconds, &tm)) {
            ns += tm.tm_gmtoff * NS_PER_SEC;
        }
    }
    return ns;
}

static bool rtc_realize(Device *dev, GError **error)
{
    RtcState *rtc = (RtcState *)dev;
    const MachineConfig *config = dev->machine->config;

    rtc->clock = config->rtc_clock;
    rtc->irq = irqchip_rtc_line();
    timer_init(&rtc->update, event_loop_main(), rtc->clock, &dev->lock, rtc_fire, rtc);
    timer_init(&rtc->periodic, event_loop_main(), rtc->clock, &dev->lock, rtc_fire, rtc);
    rtc->cmos[REG_A] = DIVIDER_ON | 6;
    rtc->cmos[REG_B] = B_24H;
    rtc->cmos[REG_D] = D_VALID;
    time_set(rtc, initial_ns(config));
    rtc->base_offset_ns = rtc->offset_ns - config->rtc_offset_ns;
    mem_region_init_io(&rtc->ports, "rtc", 2, &rtc_ops, rtc, &dev->lock);
    isa_map_ports(dev, &rtc->ports, RTC_PORT);
    machine_add_suspend_notifier(dev->machine, rtc_suspended, rtc);
    return true;
}

static void rtc_unrealize(Device *dev)
{
    RtcState *rtc = (RtcState *)dev;

    machine_remove_suspend_notifier(dev->machine, rtc_suspended, rtc);
    isa_unmap_ports(dev, &rtc->ports);
    g_mutex_lock(&dev->lock);
    timer_cancel(&rtc->update);
    timer_cancel(&rtc->periodic);
    g_mutex_unlock(&dev->lock);
}

/* RESET# clears enables and flags; time, alarm and RAM have a battery (data sheet, "RESET"). */
static void rtc_reset(Device *dev)
{
    RtcState *rtc = (RtcState *)dev;

    g_mutex_lock(&dev->lock);
    rtc->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE);
    rtc_update(rtc);
    rtc->cmos[REG_C] = 0;
    rtc->lost = 0;
    rtc->index = 0;
    rtc_update(rtc);
    g_mutex_unlock(&dev->lock);
}

static void rtc_pre_save(void *base)
{
    RtcState *rtc = base;

    g_mutex_lock(&rtc->dev.lock);
    rtc_update(rtc);
    g_mutex_unlock(&rtc->dev.lock);
}

static bool rtc_post_load(void *base, uint16_t version, GError **error)
{
    RtcState *rtc = base;
    int64_t limit = TIME_LIMIT_NS / 2 * 3; /* a time within the limit, less the present one */

    if (rtc->offset_ns > limit || rtc->offset_ns < -limit || rtc->frozen_ns > limit ||
        rtc->frozen_ns < -limit) {
        return error_set(error, "mc146818rtc: the saved time is out of range");
    }
    g_mutex_lock(&rtc->dev.lock);
    rtc->index &= 0x7f;
    rtc->lost = MIN(rtc->lost, LOST_MAX);
    rtc->seen_second = MIN(rtc->seen_second, floor_div(guest_ns(rtc), NS_PER_SEC));
    rtc->seen_second = MAX(rtc->seen_second, 0);
    rtc->seen_period = CLAMP(rtc->seen_period, 0, clock_now(rtc->clock));
    rtc_update(rtc);
    g_mutex_unlock(&rtc->dev.lock);
    return true;
}

static const Property rtc_props[] = {
    PROP_ENUM("lost_tick_policy", RtcState, policy, LOST_DISCARD, policy_names,
              "Periodic interrupts that the guest missed: forgotten, or made up for"),
    PROP_END,
};

static const StateField rtc_fields[] = {
    STATE_INT(RtcState, index),
    STATE_BUFFER(RtcState, cmos),
    STATE_INT(RtcState, offset_ns),
    STATE_INT(RtcState, frozen_ns),
    STATE_INT(RtcState, seen_second),
    STATE_INT(RtcState, seen_period),
    STATE_FIELD(RtcState, lost, STATE_KIND_UINT, .size = sizeof(uint32_t), .count = 1, .since = 2),
    STATE_END,
};

static const StateSection rtc_state = {
    .name = "mc146818rtc",
    .version = 2,
    .fields = rtc_fields,
    .pre_save = rtc_pre_save,
    .post_load = rtc_post_load,
};

const DeviceClass mc146818rtc_class = {
    .name = "mc146818rtc",
    .desc = "Real-time clock and CMOS (Motorola MC146818)",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(RtcState),
    .props = rtc_props,
    .state = &rtc_state,
    .internal = true,
    .realize = rtc_realize,
    .unrealize = rtc_unrealize,
    .reset = rtc_reset,
};
