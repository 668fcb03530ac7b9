/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the TPM's interfaces share: back end, state, who there is. */
#include <string.h>
#include "hw/devices.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/tpm/tpm.h"
#include "vmm/util/bytes.h"

static void match_tpm(Device *dev, void *opaque)
{
    if ((dev->cls == &tpm_tis_class || dev->cls == &tpm_crb_class) &&
        dev->stage == DEVICE_REALIZED) {
        *(Device **)opaque = dev;
    }
}

Device *tpm_find(Machine *machine)
{
    Device *found = NULL;
    device_foreach(machine, match_tpm, &found);
    return found;
}

bool tpm_is_crb(const Device *dev)
{
    return dev->cls == &tpm_crb_class;
}

/* Room for the firmware's event log, which the ACPI tables point to. */
static bool add_log(Machine *machine, GError **error)
{
    Device *fw = fw_cfg_find(machine);
    g_autofree uint8_t *zeroes = g_malloc0(TPM_LOG_SIZE);
    return !fw || fw_cfg_add_file(fw, TPM_LOG_FILE, zeroes, TPM_LOG_SIZE, error);
}

bool tpm_port_realize(TpmPort *port, Device *dev, uint32_t buffer_size, TpmAnswered *answered,
                      GError **error)
{
    if (tpm_find(dev->machine)) {
        return error_set(error, "the machine has a TPM already: at most one is possible");
    }
    if (port->ppi) {
        return error_set(error, "ppi=on: QEMU has the physical presence interface, Vireo does "
                                "not; leave it out");
    }
    port->dev = dev;
    port->buffer_size = buffer_size;
    port->backend =
        tpm_backend_attach(port->tpmdev, dev->cls->name, &port->buffer_size, answered, dev, error);
    if (!port->backend) {
        return false;
    }
    if (!add_log(dev->machine, error)) {
        tpm_port_unrealize(port);
        return false;
    }
    return true;
}

static void drop_blobs(TpmPort *port)
{
    for (unsigned i = 0; i < TPM_STATE_BLOBS; i++) {
        g_free(port->blobs[i].data);
        port->blobs[i] = (TpmBlob){ 0 };
    }
}

void tpm_port_unrealize(TpmPort *port)
{
    tpm_backend_detach(port->backend);
    port->backend = NULL;
    drop_blobs(port);
}

void tpm_port_reset(TpmPort *port)
{
    port->token++;
    tpm_backend_reset(port->backend);
}

void tpm_port_quiesce(TpmPort *port)
{
    tpm_backend_quiesce(port->backend);
}

uint32_t tpm_port_length(const TpmPort *port, const uint8_t *buffer)
{
    return MIN(load_be32(buffer + TPM_SIZE_OFFSET), port->buffer_size);
}

bool tpm_port_submit(TpmPort *port, unsigned locality, const uint8_t *buffer)
{
    uint32_t len = load_be32(buffer + TPM_SIZE_OFFSET);
    TpmCommand command = { .token = ++port->token, .locality = (uint8_t)locality, .len = len };
    if (len < TPM_HEADER_SIZE || len > port->buffer_size) {
        return false;
    }
    memcpy(command.data, buffer, len);
    tpm_backend_submit(port->backend, &command);
    return true;
}

/* ---- State ---- */

static void port_pre_save(void *base)
{
    TpmPort *port = base;
    g_autoptr(GError) error = NULL;
    drop_blobs(port);
    port->has_blobs = tpm_backend_save(port->backend, port->blobs, &error);
    if (!port->has_blobs) {
        drop_blobs(port);
        report_error("%s: this state of the machine cannot be restored: %s", port->dev->cls->name,
                     error->message);
    }
}

static bool port_post_load(void *base, uint16_t version, GError **error)
{
    TpmPort *port = base;
    bool ok = false;
    tpm_backend_quiesce(port->backend);
    port->token++;
    if (!port->has_blobs) {
        error_set(error, "the machine was saved without the state of its TPM, which swtpm could "
                         "not give; the guest's keys would be lost");
    } else {
        ok = tpm_backend_load(port->backend, port->blobs, error);
    }
    drop_blobs(port);
    return ok;
}

static const StateField blob_fields[] = {
    STATE_INT(TpmBlob, flags),
    STATE_VBUFFER(TpmBlob, data, len, TPM_STATE_MAX),
    STATE_END,
};

static const StateSection blob_state = { .name = "tpm-blob", .version = 1, .fields = blob_fields };

static const StateField port_fields[] = {
    STATE_BOOL(TpmPort, has_blobs),
    STATE_STRUCT_ARRAY(TpmPort, blobs, &blob_state),
    STATE_END,
};

const StateSection tpm_port_state = {
    .name = "tpm-backend",
    .version = 1,
    .fields = port_fields,
    .pre_save = port_pre_save,
    .post_load = port_post_load,
};

const Property tpm_port_props[] = {
    PROP_REF("tpmdev", TpmPort, tpmdev, "tpm", "The back end: the id of a -tpmdev"),
    PROP_BOOL("ppi", TpmPort, ppi, false, "Physical presence interface: only off"),
    PROP_END,
};
