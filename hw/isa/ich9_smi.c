/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What firmware and q35 agree on about SMIs: see the header. */
#include "hw/isa/ich9_smi.h"

#include "hw/firmware/fw_cfg.h"
#include "vmm/machine/machine.h"
#include "vmm/util/bytes.h"

#define FILE_SUPPORTED "etc/smi/supported-features"
#define FILE_REQUESTED "etc/smi/requested-features"
#define FILE_OK        "etc/smi/features-ok"

#define FEATURE_BROADCAST (1ULL << 0)
#define FEATURES          FEATURE_BROADCAST

void ich9_smi_init(Ich9Smi *smi, AcpiPm *pm)
{
    smi->pm = pm;
}

/* The agreement into effect. Under the fw_cfg device's lock, so without the bridge's. A vCPU that
 * came later would take its first SMI in a handler that the guest's system has put there: none may
 * come. */
static void apply(Ich9Smi *smi)
{
    bool all = smi->valid && (smi->agreed & FEATURE_BROADCAST);

    __atomic_store_n(&smi->pm->smi_broadcast, all, __ATOMIC_RELEASE);
    __atomic_store_n(&smi->pm->dev->machine->cpus_fixed, all, __ATOMIC_RELEASE);
}

static uint64_t requested(const Ich9Smi *smi)
{
    size_t len;
    const uint8_t *data = fw_cfg_file(smi->fw_cfg, FILE_REQUESTED, &len);

    return data && len == 8 ? load_le64(data) : 0;
}

/* Firmware selects the file that says whether it can have what it asked for. */
static void answer(void *opaque, uint8_t *data, size_t len)
{
    Ich9Smi *smi = opaque;
    uint64_t wanted = requested(smi);

    if (!smi->valid && !(wanted & ~FEATURES)) {
        smi->agreed = wanted;
        smi->valid = true;
        apply(smi);
    }
    data[0] = smi->valid;
}

bool ich9_smi_add_files(Ich9Smi *smi, Device *fw_cfg, GError **error)
{
    smi->fw_cfg = fw_cfg;
    return fw_cfg_add_file_int(fw_cfg, FILE_SUPPORTED, FEATURES, 8, error) &&
           fw_cfg_add_writable(fw_cfg, FILE_REQUESTED, 8, NULL, NULL, error) &&
           fw_cfg_add_answer(fw_cfg, FILE_OK, 1, answer, smi, error);
}

void ich9_smi_reset(Ich9Smi *smi)
{
    static const uint8_t nothing[8];

    if (smi->fw_cfg) {
        fw_cfg_write_file(smi->fw_cfg, FILE_REQUESTED, nothing, sizeof(nothing));
        fw_cfg_write_file(smi->fw_cfg, FILE_OK, nothing, 1);
    }
    smi->agreed = 0;
    smi->valid = false;
    apply(smi);
}

static bool smi_post_load(void *base, uint16_t version, GError **error)
{
    Ich9Smi *smi = base;
    uint8_t ok = smi->valid;

    if (smi->agreed & ~FEATURES) {
        return error_set(error, "ICH9: SMI features 0x%" G_GINT64_MODIFIER "x cannot be",
                         smi->agreed);
    }
    if (smi->fw_cfg) {
        fw_cfg_write_file(smi->fw_cfg, FILE_OK, &ok, 1);
    }
    apply(smi);
    return true;
}

static const StateField smi_fields[] = {
    STATE_INT(Ich9Smi, agreed),
    STATE_BOOL(Ich9Smi, valid),
    STATE_END,
};

const StateSection ich9_smi_state = {
    .name = "ich9-smi",
    .version = 1,
    .fields = smi_fields,
    .post_load = smi_post_load,
};
