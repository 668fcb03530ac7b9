/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory besides the ACPI tables that they point to: the page of the generation ID, the TPM's log.
 * Firmware places it from fw_cfg; for a kernel started directly the board does. */
#include "hw/acpi/vmgenid.h"
#include "hw/board/pc.h"
#include "hw/firmware/table_loader.h"
#include "hw/tpm/tpm.h"
#include "vmm/memory/dma.h"

static void describe_tpm(PcBoard *pc, const Device *tpm)
{
    bool crb = tpm_is_crb(tpm);

    pc->tpm = (AcpiTpm){
        .base = TPM_BASE,
        .size = crb ? TPM_LOCALITY_SIZE : TPM_TIS_SIZE,
        .control = crb ? TPM_BASE + TPM_CRB_CONTROL : 0,
        .log.file = TPM_LOG_FILE,
        .log_size = TPM_LOG_SIZE,
    };
}

bool pc_areas_describe(Machine *machine, AcpiConfig *config, GError **error)
{
    PcBoard *pc = machine->board;
    Device *vmgenid = vmgenid_find(machine), *tpm = tpm_find(machine);

    if (vmgenid && !pc->raise_gpe) {
        return error_set(error,
                         "vmgenid: machine '%s' has no general-purpose events, by which the guest "
                         "is told of a new generation; use -machine q35 or pc",
                         machine->cls->name);
    }
    if (vmgenid) {
        vmgenid_connect(vmgenid, pc->raise_gpe, pc->gpe_opaque);
        pc->vmgenid.file = VMGENID_GUID_FILE;
        config->vmgenid = &pc->vmgenid;
    }
    if (tpm) {
        describe_tpm(pc, tpm);
        config->tpm = &pc->tpm;
    }
    return true;
}

uint64_t pc_areas_reserve(Machine *machine, uint64_t top)
{
    PcBoard *pc = machine->board;

    if (pc->vmgenid.file) {
        top -= VMGENID_PAGE_SIZE;
        pc->vmgenid.address = top;
    }
    if (pc->tpm.base) {
        top -= TPM_LOG_SIZE;
        pc->tpm.log.address = top;
    }
    return top;
}

void pc_areas_place(Machine *machine)
{
    static const uint8_t empty_log[TPM_LOG_SIZE];
    PcBoard *pc = machine->board;

    if (pc->tpm.base) {
        dma_write(machine->memory, pc->tpm.log.address, empty_log, sizeof(empty_log));
    }

    if (pc->vmgenid.file) {
        vmgenid_place(vmgenid_find(machine), pc->vmgenid.address);
    }
}

void pc_areas_allocate(Machine *machine, GByteArray *script)
{
    const PcBoard *pc = machine->board;

    if (pc->vmgenid.file) {
        loader_allocate(script, pc->vmgenid.file, VMGENID_PAGE_SIZE, LOADER_ZONE_HIGH);
    }
    if (pc->tpm.base) {
        loader_allocate(script, pc->tpm.log.file, 1, LOADER_ZONE_HIGH);
    }
}

void pc_areas_write_back(Machine *machine, GByteArray *script)
{
    const PcBoard *pc = machine->board;

    if (pc->vmgenid.file) {
        loader_write_pointer(script, VMGENID_ADDRESS_FILE, pc->vmgenid.file, 0, VMGENID_OFFSET,
                             sizeof(uint64_t));
    }
}
