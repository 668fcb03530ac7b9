/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACPI fixed hardware of ICH9: see the header. */
#include "hw/isa/acpi_pm.h"
#include "vmm/device/registers.h"
#include "vmm/machine/machine.h"

#define PM1_STS_TMR   (1U << 0)
#define PM1_STS_GBL   (1U << 5)
#define PM1_STS_PWRBT (1U << 8)
#define PM1_STS_RTC   (1U << 10)
#define PM1_STS_WAK   (1U << 15)
#define PM1_STS_W1C   (PM1_STS_TMR | PM1_STS_GBL | PM1_STS_PWRBT | PM1_STS_RTC | PM1_STS_WAK)
#define PM1_EN_BITS   (PM1_STS_TMR | PM1_STS_GBL | PM1_STS_PWRBT | PM1_STS_RTC)

#define PM1_CNT_SCI_EN  (1U << 0)
#define PM1_CNT_BM_RLD  (1U << 1)
#define PM1_CNT_SLP_TYP (7U << 10)
#define PM1_CNT_SLP_EN  (1U << 13)
#define SLP_TYP_S5      0
#define SLP_TYP_S4      2

#define TIMER_TOP_BIT 0x800000ULL /* of 24 */
#define TIMER_MASK    0xffffffULL

#define SMI_EN_APMC (1U << 5) /* set from the start: there is no system management mode */

static uint64_t ticks_now(void)
{
    return (unsigned __int128)clock_now(VM_CLOCK_VIRTUAL) * ACPI_PM_TIMER_HZ / NS_PER_SEC;
}

static int64_t ticks_to_ns(uint64_t ticks)
{
    return ((unsigned __int128)ticks * NS_PER_SEC + ACPI_PM_TIMER_HZ - 1) / ACPI_PM_TIMER_HZ;
}

static void overflow_restart(AcpiPm *pm)
{
    pm->overflow_ticks = (ticks_now() + TIMER_TOP_BIT) & ~(TIMER_TOP_BIT - 1);
}

/* The interrupt and the timer that would raise it, from the registers. */
static void pm_update(AcpiPm *pm)
{
    uint16_t events;

    if (ticks_now() >= pm->overflow_ticks) {
        pm->pm1_sts |= PM1_STS_TMR;
    }
    events = pm->pm1_sts & pm->pm1_en & PM1_EN_BITS;
    irq_set(pm->sci, (pm->pm1_cnt & PM1_CNT_SCI_EN) && (events || (pm->gpe0_sts & pm->gpe0_en)));
    if ((pm->pm1_en & PM1_STS_TMR) && !(pm->pm1_sts & PM1_STS_TMR)) {
        timer_arm(&pm->overflow, ticks_to_ns(pm->overflow_ticks));
    } else {
        timer_cancel(&pm->overflow);
    }
}

static void overflow_fire(void *opaque)
{
    pm_update(opaque);
}

/* ---- Registers ---- */

static uint64_t sts_read(void *opaque, uint64_t stored)
{
    AcpiPm *pm = opaque;

    pm_update(pm);
    return pm->pm1_sts;
}

static void sts_written(void *opaque, uint64_t old, uint64_t now)
{
    AcpiPm *pm = opaque;

    if ((old & ~now) & PM1_STS_TMR) {
        overflow_restart(pm);
    }
    pm_update(pm);
}

static void any_written(void *opaque, uint64_t old, uint64_t now)
{
    pm_update(opaque);
}

static void cnt_written(void *opaque, uint64_t old, uint64_t now)
{
    AcpiPm *pm = opaque;

    pm->pm1_cnt &= ~PM1_CNT_SLP_EN;
    pm_update(pm);
    if (!(now & PM1_CNT_SLP_EN)) {
        return;
    }
    switch ((now & PM1_CNT_SLP_TYP) >> 10) {
    case SLP_TYP_S5:
    case SLP_TYP_S4:
        machine_request_shutdown(pm->dev->machine, SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
        break;
    default:
        device_guest_error(pm->dev, "the guest asked for sleep type %u, which does not exist",
                           (unsigned)(now & PM1_CNT_SLP_TYP) >> 10);
        break;
    }
}

static uint64_t timer_read(void *opaque, uint64_t stored)
{
    return ticks_now() & TIMER_MASK;
}

#define PM_REG(reg, at, bytes, member, ...)                                                        \
    {                                                                                              \
        .name = (reg), .offset = (at), .size = (bytes), .field = offsetof(AcpiPm, member),         \
        __VA_ARGS__                                                                                \
    }

static const RegisterDesc pm_regs[] = {
    PM_REG("PM1_STS", 0x00, 2, pm1_sts, .w1c = PM1_STS_W1C, .read = sts_read,
           .written = sts_written),
    PM_REG("PM1_EN", 0x02, 2, pm1_en, .writable = PM1_EN_BITS, .written = any_written),
    PM_REG("PM1_CNT", 0x04, 2, pm1_cnt,
           .writable = PM1_CNT_SCI_EN | PM1_CNT_BM_RLD | PM1_CNT_SLP_TYP | PM1_CNT_SLP_EN,
           .written = cnt_written),
    PM_REG("PM_TMR", 0x08, 4, timer_value, .read = timer_read),
    PM_REG("GPE0_STS", 0x20, 8, gpe0_sts, .w1c = UINT64_MAX, .written = any_written),
    PM_REG("GPE0_EN", 0x28, 8, gpe0_en, .writable = UINT64_MAX, .written = any_written),
    PM_REG("SMI_EN", 0x30, 4, smi_en, .reset = SMI_EN_APMC),
    PM_REG("SMI_STS", 0x34, 4, smi_sts),
};

static const RegisterFile pm_file = { pm_regs, G_N_ELEMENTS(pm_regs), 0 };

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
    return register_read(&pm_file, opaque, offset, size);
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    register_write(&pm_file, opaque, offset, value, size);
}

static const MemOps pm_ops = { .read = pm_read, .write = pm_write, .max_size = 4 };

/* ---- Life ---- */

void acpi_pm_init(AcpiPm *pm, Device *dev, IrqLine *sci)
{
    pm->dev = dev;
    pm->sci = sci;
    mem_region_init_io(&pm->region, "acpi-pm", ACPI_PM_SIZE, &pm_ops, pm, &dev->lock);
    timer_init(&pm->overflow, event_loop_main(), VM_CLOCK_VIRTUAL, &dev->lock, overflow_fire, pm);
}

void acpi_pm_cleanup(AcpiPm *pm)
{
    g_mutex_lock(&pm->dev->lock);
    timer_cancel(&pm->overflow);
    g_mutex_unlock(&pm->dev->lock);
}

void acpi_pm_reset(AcpiPm *pm)
{
    g_mutex_lock(&pm->dev->lock);
    register_reset(&pm_file, pm);
    overflow_restart(pm);
    pm_update(pm);
    g_mutex_unlock(&pm->dev->lock);
}

void acpi_pm_set_sci_enabled(AcpiPm *pm, bool on)
{
    pm->pm1_cnt = on ? pm->pm1_cnt | PM1_CNT_SCI_EN : pm->pm1_cnt & ~PM1_CNT_SCI_EN;
    pm_update(pm);
}

void acpi_pm_power_button(AcpiPm *pm)
{
    g_mutex_lock(&pm->dev->lock);
    pm->pm1_sts |= PM1_STS_PWRBT;
    pm_update(pm);
    g_mutex_unlock(&pm->dev->lock);
}

static void pm_pre_save(void *base)
{
    AcpiPm *pm = base;

    g_mutex_lock(&pm->dev->lock);
    pm_update(pm);
    g_mutex_unlock(&pm->dev->lock);
}

static bool pm_post_load(void *base, uint16_t version, GError **error)
{
    AcpiPm *pm = base;

    g_mutex_lock(&pm->dev->lock);
    pm->pm1_cnt &= ~PM1_CNT_SLP_EN;
    pm->overflow_ticks = MIN(pm->overflow_ticks, ticks_now() + 2 * TIMER_TOP_BIT);
    pm_update(pm);
    g_mutex_unlock(&pm->dev->lock);
    return true;
}

static const StateField pm_fields[] = {
    STATE_INT(AcpiPm, pm1_sts),
    STATE_INT(AcpiPm, pm1_en),
    STATE_INT(AcpiPm, pm1_cnt),
    STATE_INT(AcpiPm, gpe0_sts),
    STATE_INT(AcpiPm, gpe0_en),
    STATE_INT(AcpiPm, overflow_ticks),
    STATE_END,
};

const StateSection acpi_pm_state = {
    .name = "acpi-pm",
    .version = 1,
    .fields = pm_fields,
    .pre_save = pm_pre_save,
    .post_load = pm_post_load,
};
