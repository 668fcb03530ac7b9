/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe namespaces: nvme-ns, and what the controller's own has in common with it. Main thread. */
#include <string.h>
#include "hw/devices.h"
#include "hw/nvme/nvme.h"

#define DEFAULT_EUI64 0x5254000000000000ULL

typedef struct NvmeNsDevice {
    Device dev;
    NvmeNamespace ns;
    bool default_eui64;
} NvmeNsDevice;

static const Property nvme_ns_props[] = {
    DISK_CONF_PROPS(NvmeNsDevice, ns.disk),
    PROP_RANGE_U32("nsid", NvmeNsDevice, ns.nsid, 0, 0, NVME_MAX_NAMESPACES,
                   "Namespace id; 0: the first that is free"),
    PROP_STRING("uuid", NvmeNsDevice, ns.uuid_text, NULL, "UUID; \"auto\": a random one"),
    PROP_U64("eui64", NvmeNsDevice, ns.eui64, 0, "EUI-64; 0: none"),
    PROP_BOOL("eui64-default", NvmeNsDevice, default_eui64, false,
              "Without eui64: one made of the namespace's number"),
    PROP_END,
};

/* ---- Common ---- */

static void insert_in_loop(void *opaque)
{
    NvmeNamespace *ns = opaque;
    ns->ctrl->namespaces[ns->nsid] = ns;
}

static void remove_in_loop(void *opaque)
{
    NvmeNamespace *ns = opaque;
    ns->ctrl->namespaces[ns->nsid] = NULL;
}

static void announce_in_loop(void *opaque)
{
    NvmeNamespace *ns = opaque;
    NvmeCtrl *ctrl = ns->ctrl;
    bool known = ctrl->changed[ns->nsid / 8] & 1u << (ns->nsid % 8);
    ctrl->changed[ns->nsid / 8] |= 1u << (ns->nsid % 8);
    if (!known && ctrl->async_config & 1u << 8) {
        nvme_event(ctrl, NVME_EVENT_NOTICE, NVME_NOTICE_NS_CHANGED, NVME_LOG_CHANGED_NS);
    }
}

static void ns_resized(void *opaque)
{
    NvmeNamespace *ns = opaque;
    event_loop_call(ns->ctrl->loop, announce_in_loop, ns);
}

static const BlockBackendEvents ns_events = { .resized = ns_resized };

static bool parse_uuid(const char *text, uint8_t uuid[16])
{
    if (!g_uuid_string_is_valid(text)) {
        return false;
    }
    for (unsigned byte = 0; byte < 16; text++) {
        if (*text != '-') {
            uuid[byte++] = g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]);
            text++;
        }
    }
    return true;
}

static bool check_identity(NvmeNamespace *ns, GError **error)
{
    if (!ns->uuid_text) {
        return true;
    }
    g_autofree char *random = g_uuid_string_random();
    const char *text = strcmp(ns->uuid_text, "auto") == 0 ? random : ns->uuid_text;
    if (!parse_uuid(text, ns->uuid)) {
        return error_set(error, "uuid=%s is not a UUID (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)",
                         ns->uuid_text);
    }
    ns->has_uuid = true;
    return true;
}

static bool check_format(NvmeNamespace *ns, GError **error)
{
    if (ns->disk.logical_block != 512 && ns->disk.logical_block != 4096) {
        return error_set(error, "logical_block_size=%u: a namespace has blocks of 512 or 4096",
                         ns->disk.logical_block);
    }
    ns->lba_shift = ns->disk.logical_block == 512 ? 9 : 12;
    if (!nvme_blocks(ns)) {
        return error_set(error, "drive '%s' is smaller than one block of %u bytes", ns->disk.drive,
                         ns->disk.logical_block);
    }
    return true;
}

bool nvme_ns_attach(NvmeCtrl *ctrl, NvmeNamespace *ns, const Device *dev, GError **error)
{
    ns->ctrl = ctrl;
    if (!check_identity(ns, error) || !disk_conf_attach(&ns->disk, dev, "", error)) {
        return false;
    }
    if (!disk_conf_sizes(&ns->disk, error) || !check_format(ns, error) ||
        !block_backend_add_loop(ns->disk.backend, ctrl->loop, error)) {
        disk_conf_detach(&ns->disk);
        return false;
    }
    block_backend_set_events(ns->disk.backend, &ns_events, ns);
    event_loop_call(ctrl->loop, insert_in_loop, ns);
    return true;
}

void nvme_ns_detach(NvmeNamespace *ns)
{
    event_loop_call(ns->ctrl->loop, remove_in_loop, ns);
    block_backend_cancel_kept(ns->disk.backend);
    disk_conf_detach(&ns->disk);
}

void nvme_ns_reset(NvmeNamespace *ns)
{
    ns->error_recovery = 0;
    block_backend_set_write_cache(ns->disk.backend, ns->disk.initial_write_cache);
}

static bool ns_post_load(void *base, uint16_t version, GError **error)
{
    NvmeNamespace *ns = base;
    if (ns->disk.backend && ns->lba_shift != 9 && ns->lba_shift != 12) {
        return error_set(error, "nvme: namespace %u with blocks of 2^%u bytes", ns->nsid,
                         ns->lba_shift);
    }
    return true;
}

static const StateField ns_fields[] = {
    STATE_INT(NvmeNamespace, lba_shift),
    STATE_INT(NvmeNamespace, error_recovery),
    STATE_END,
};

const StateSection nvme_namespace_state = {
    .name = "nvme-namespace",
    .version = 1,
    .fields = ns_fields,
    .post_load = ns_post_load,
};

/* ---- nvme-ns ---- */

static uint64_t default_eui64_count; /* namespaces that were given one */

static bool ns_realize(Device *dev, GError **error)
{
    NvmeNsDevice *self = (NvmeNsDevice *)dev;
    NvmeCtrl *ctrl = dev->bus->owner;
    if (self->ns.nsid == 0) {
        self->ns.nsid = 1;
        while (self->ns.nsid <= NVME_MAX_NAMESPACES && ctrl->namespaces[self->ns.nsid]) {
            self->ns.nsid++;
        }
    }
    if (self->ns.nsid > NVME_MAX_NAMESPACES) {
        return error_set(error, "bus '%s' is full: a controller has %u namespaces at most",
                         dev->bus->name, NVME_MAX_NAMESPACES);
    }
    if (ctrl->namespaces[self->ns.nsid]) {
        return error_set(error, "nsid=%u is taken on bus '%s'; leave nsid out for a free one",
                         self->ns.nsid, dev->bus->name);
    }
    if (self->default_eui64 && !self->ns.eui64) {
        self->ns.eui64 = DEFAULT_EUI64 + ++default_eui64_count;
    }
    return nvme_ns_attach(ctrl, &self->ns, dev, error);
}

static void ns_unrealize(Device *dev)
{
    nvme_ns_detach(&((NvmeNsDevice *)dev)->ns);
}

static void ns_reset(Device *dev)
{
    nvme_ns_reset(&((NvmeNsDevice *)dev)->ns);
}

static char *ns_firmware_name(const Device *dev)
{
    const NvmeNamespace *ns = &((const NvmeNsDevice *)dev)->ns;
    return g_strdup_printf("namespace@%x,%" PRIx64, ns->nsid, ns->eui64);
}

static const StateField nvme_ns_fields[] = {
    STATE_STRUCT(NvmeNsDevice, ns, &nvme_namespace_state),
    STATE_END,
};

static const StateSection nvme_ns_state = {
    .name = "nvme-ns",
    .version = 1,
    .fields = nvme_ns_fields,
};

const DeviceClass nvme_ns_class = {
    .name = "nvme-ns",
    .desc = "Namespace of an NVMe controller",
    .bus = BUS_NVME,
    .category = DEVICE_CATEGORY_STORAGE,
    .size = sizeof(NvmeNsDevice),
    .props = nvme_ns_props,
    .state = &nvme_ns_state,
    .realize = ns_realize,
    .unrealize = ns_unrealize,
    .reset = ns_reset,
    .firmware_name = ns_firmware_name,
};
