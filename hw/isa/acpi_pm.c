/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACPI fixed hardware of ICH9 and PIIX4: see the header. */
#include "hw/isa/acpi_pm.h"
#include "hw/isa/isa.h"
#include "vmm/device/registers.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/monitor.h"

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

enum { /* sleep types */
       TYPE_S5 = 0,
       TYPE_S3 = 1,
};

#define TIMER_TOP_BIT 0x800000ULL /* of 24 */
#define TIMER_MASK    0xffffffULL

#define APM_PORT    0xb2
#define APM_PORTS   2
#define GPE_BYTES   2 /* of status, and of enable, where GPE0 stands apart */
#define COMMON_REGS 4 /* of pm_regs: those of a block without GPE0 */

#define SMI_EN_GLOBAL (1U << 0)
/* In SMI_EN: set from the start when there is no system management mode, as firmware knows it; in
 * SMI_STS: there was such an SMI. */
#define SMI_APMC      (1U << 5)
#define SMI_TCO       (1U << 13)
#define SMI_EN_BITS   (SMI_EN_GLOBAL | SMI_APMC | SMI_TCO)
#define SMI_STS_BITS  (SMI_APMC | SMI_TCO)
#define GLBSTS_APM    (1U << 5)
#define GLBCTL_SMI_EN (1U << 0)

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
    AcpiPm *pm = opaque;

    pm_update(pm);
    machine_request_wakeup(pm->dev->machine, WAKEUP_PM_TIMER);
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

static void fall_asleep(AcpiPm *pm, unsigned type)
{
    Machine *machine = pm->dev->machine;

    if (type == TYPE_S5) {
        machine_request_shutdown(machine, SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
    } else if (type == TYPE_S3 && pm->s3) {
        machine_request_suspend(machine,
                                (pm->pm1_en & PM1_STS_RTC ? 1U << WAKEUP_RTC : 0) |
                                    (pm->pm1_en & PM1_STS_TMR ? 1U << WAKEUP_PM_TIMER : 0));
    } else if (type == pm->s4_val && !pm->disable_s4) {
        monitor_emit("SUSPEND_DISK", NULL);
        machine_request_shutdown(machine, SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
    } else {
        device_guest_error(pm->dev, "the guest asked for sleep type %u, which does not exist",
                           type);
    }
}

static void cnt_written(void *opaque, uint64_t old, uint64_t now)
{
    AcpiPm *pm = opaque;

    pm->pm1_cnt &= ~PM1_CNT_SLP_EN;
    pm_update(pm);
    if (!(now & PM1_CNT_SLP_EN)) {
        return;
    }
    fall_asleep(pm, (now & PM1_CNT_SLP_TYP) >> 10);
}

static uint64_t timer_read(void *opaque, uint64_t stored)
{
    return ticks_now() & TIMER_MASK;
}

static void smi_en_written(void *opaque, uint64_t old, uint64_t now)
{
    AcpiPm *pm = opaque;
    uint32_t kept = pm->smm ? 0 : SMI_EN_GLOBAL | SMI_APMC;

    if (pm->tco_locked && pm->tco_locked(pm->dev)) {
        kept |= SMI_TCO;
    }
    if (pm->smi_locked) {
        kept |= SMI_EN_GLOBAL;
    }
    pm->smi_en = ((uint32_t)now & ~kept) | ((uint32_t)old & kept);
}

/* Whether events of this kind, bits of SMI_EN, are SMIs now. */
static bool smi_allowed(const AcpiPm *pm, uint32_t event)
{
    if (!pm->smm) {
        return false;
    }
    if (pm->layout->global) {
        return pm->apmc && (pm->smi_en & GLBCTL_SMI_EN);
    }
    return (pm->smi_en & event) && (pm->smi_en & SMI_EN_GLOBAL);
}

static void smi_send(AcpiPm *pm)
{
    Machine *machine = pm->dev->machine;

    machine->accel->smi(machine, __atomic_load_n(&pm->smi_broadcast, __ATOMIC_ACQUIRE));
}

void acpi_pm_tco_event(AcpiPm *pm)
{
    pm->smi_sts |= SMI_TCO;
    if (smi_allowed(pm, SMI_TCO)) {
        smi_send(pm);
    }
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
    PM_REG("SMI_EN", 0x30, 4, smi_en, .reset = SMI_APMC, .writable = SMI_EN_BITS,
           .written = smi_en_written),
    PM_REG("SMI_STS", 0x34, 4, smi_sts, .w1c = SMI_STS_BITS),
};

/* PIIX4's, besides the common ones: 7.1.5 and 7.1.7. */
static const RegisterDesc global_regs[] = {
    PM_REG("GLBSTS", 0x18, 4, smi_sts, .w1c = GLBSTS_APM),
    PM_REG("GLBCTL", 0x28, 4, smi_en, .writable = GLBCTL_SMI_EN),
};

static const RegisterFile pm_file = { pm_regs, G_N_ELEMENTS(pm_regs), 0 };
static const RegisterFile common_file = { pm_regs, COMMON_REGS, 0 };
static const RegisterFile global_file = { global_regs, G_N_ELEMENTS(global_regs), 0 };

static const RegisterFile *file_of(const AcpiPm *pm, uint64_t offset)
{
    if (pm->layout->global && pm->smm && offset >= global_regs[0].offset) {
        return &global_file;
    }
    return pm->layout->gpe_port ? &common_file : &pm_file;
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
    return register_read(file_of(opaque, offset), opaque, offset, size);
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    register_write(file_of(opaque, offset), opaque, offset, value, size);
}

static const MemOps pm_ops = { .read = pm_read, .write = pm_write, .max_size = 4 };

/* ---- GPE0 apart: bytes of status, then of enable ---- */

static uint64_t gpe_read(void *opaque, uint64_t offset, unsigned size)
{
    AcpiPm *pm = opaque;
    uint64_t value = offset < GPE_BYTES ? pm->gpe0_sts : pm->gpe0_en;

    return value >> (8 * (offset % GPE_BYTES)) & 0xff;
}

static void gpe_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    AcpiPm *pm = opaque;
    unsigned shift = 8 * (offset % GPE_BYTES);

    if (offset < GPE_BYTES) {
        pm->gpe0_sts &= ~(value << shift);
    } else {
        pm->gpe0_en = (pm->gpe0_en & ~(0xffULL << shift)) | value << shift;
    }
    pm_update(pm);
}

static const MemOps gpe_ops = { .read = gpe_read, .write = gpe_write, .max_size = 1 };

void acpi_pm_raise_gpe(AcpiPm *pm, unsigned bit)
{
    g_mutex_lock(&pm->dev->lock);
    pm->gpe0_sts |= 1ULL << bit;
    pm_update(pm);
    g_mutex_unlock(&pm->dev->lock);
}

/* ---- APM ---- */

static uint64_t apm_read(void *opaque, uint64_t offset, unsigned size)
{
    AcpiPm *pm = opaque;

    return offset == 0 ? pm->apm_control : pm->apm_status;
}

static void apm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    AcpiPm *pm = opaque;

    if (offset == 1) {
        pm->apm_status = value;
        return;
    }
    pm->apm_control = value;
    if (value == pm->layout->acpi_enable) {
        pm->pm1_cnt |= PM1_CNT_SCI_EN;
    } else if (value == pm->layout->acpi_disable) {
        pm->pm1_cnt &= ~PM1_CNT_SCI_EN;
    }
    pm_update(pm);
    if (smi_allowed(pm, SMI_APMC)) {
        pm->smi_sts |= SMI_APMC;
        smi_send(pm);
    }
}

static const MemOps apm_ops = { .read = apm_read, .write = apm_write, .max_size = 1 };

/* ---- Life ---- */

void acpi_pm_init(AcpiPm *pm, Device *dev, IrqLine *sci, const AcpiPmLayout *layout)
{
    pm->dev = dev;
    pm->sci = sci;
    pm->layout = layout;
    pm->smm = dev->machine->smm_memory != NULL;
    mem_region_init_io(&pm->region, "acpi-pm", layout->size, &pm_ops, pm, &dev->lock);
    mem_region_init_io(&pm->apm, "apm", APM_PORTS, &apm_ops, pm, &dev->lock);
    isa_map_ports(dev, &pm->apm, APM_PORT);
    if (layout->gpe_port) {
        mem_region_init_io(&pm->gpe, "acpi-gpe0", 2 * GPE_BYTES, &gpe_ops, pm, &dev->lock);
        isa_map_ports(dev, &pm->gpe, layout->gpe_port);
    }
    timer_init(&pm->overflow, event_loop_main(), VM_CLOCK_VIRTUAL, &dev->lock, overflow_fire, pm);
}

void acpi_pm_cleanup(AcpiPm *pm)
{
    isa_unmap_ports(pm->dev, &pm->region);
    isa_unmap_ports(pm->dev, &pm->apm);
    isa_unmap_ports(pm->dev, &pm->gpe);
    g_mutex_lock(&pm->dev->lock);
    timer_cancel(&pm->overflow);
    g_mutex_unlock(&pm->dev->lock);
}

void acpi_pm_reset(AcpiPm *pm)
{
    g_mutex_lock(&pm->dev->lock);
    register_reset(&pm_file, pm);
    if (pm->smm) {
        pm->smi_en = 0;
    }
    pm->apm_control = pm->apm_status = 0;
    switch (machine_waking(pm->dev->machine)) {
    case WAKEUP_NONE:
        break;
    case WAKEUP_OTHER:
        pm->pm1_sts |= PM1_STS_WAK | PM1_STS_PWRBT;
        break;
    case WAKEUP_RTC:
        pm->pm1_sts |= PM1_STS_WAK | PM1_STS_RTC;
        break;
    case WAKEUP_PM_TIMER:
        pm->pm1_sts |= PM1_STS_WAK | PM1_STS_TMR;
        break;
    }
    overflow_restart(pm);
    pm_update(pm);
    g_mutex_unlock(&pm->dev->lock);
}

AcpiSleep acpi_pm_sleep(AcpiPm *pm, bool firmware)
{
    pm->s3 = firmware && !pm->disable_s3;
    return (AcpiSleep){
        .s3 = pm->s3, .s3_type = TYPE_S3, .s4 = !pm->disable_s4, .s4_type = pm->s4_val
    };
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
    pm->smi_en &= pm->smm ? SMI_EN_BITS : SMI_TCO;
    pm->smi_en |= pm->smm ? 0 : SMI_APMC;
    pm->smi_sts &= SMI_STS_BITS;
    if (pm->layout->gpe_port) {
        pm->gpe0_sts &= UINT16_MAX;
        pm->gpe0_en &= UINT16_MAX;
    }
    pm->overflow_ticks = MIN(pm->overflow_ticks, ticks_now() + 2 * TIMER_TOP_BIT);
    pm_update(pm);
    g_mutex_unlock(&pm->dev->lock);
    return true;
}

const Property acpi_pm_props[] = {
    PROP_U8("disable_s3", AcpiPm, disable_s3, 0, "1: the guest is not offered to sleep in RAM"),
    PROP_U8("disable_s4", AcpiPm, disable_s4, 0, "1: the guest is not offered to sleep on disk"),
    PROP_U8("s4_val", AcpiPm, s4_val, 2, "Sleep type of S4"),
    PROP_END,
};

static const StateField pm_fields[] = {
    STATE_INT(AcpiPm, pm1_sts),
    STATE_INT(AcpiPm, pm1_en),
    STATE_INT(AcpiPm, pm1_cnt),
    STATE_INT(AcpiPm, gpe0_sts),
    STATE_INT(AcpiPm, gpe0_en),
    STATE_INT(AcpiPm, overflow_ticks),
    STATE_INT(AcpiPm, apm_control),
    STATE_INT(AcpiPm, apm_status),
    STATE_FIELD(AcpiPm, smi_en, STATE_KIND_UINT, .size = sizeof(uint32_t), .count = 1, .since = 2),
    STATE_FIELD(AcpiPm, smi_sts, STATE_KIND_UINT, .size = sizeof(uint32_t), .count = 1, .since = 2),
    STATE_END,
};

const StateSection acpi_pm_state = {
    .name = "acpi-pm",
    .version = 2,
    .fields = pm_fields,
    .pre_save = pm_pre_save,
    .post_load = pm_post_load,
};
