/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtual machine generation ID: see the header. */
#include "hw/acpi/vmgenid.h"

#include <string.h>
#include "hw/devices.h"
#include "hw/firmware/fw_cfg.h"
#include "vmm/memory/dma.h"
#include "vmm/util/bytes.h"

#define GUID_SIZE  16
#define GUID_TEXT  36
#define GUID_FIRST 8 /* bytes of its little-endian fields */

typedef struct VmGenId {
    Device dev;
    char *guid; /* property: text, from realize on as it is printed */
    uint8_t bytes[GUID_SIZE];
    void (*raise)(void *opaque, unsigned bit);
    void *raise_opaque;
    uint64_t address; /* of the GUID in guest memory, as firmware wrote it; 0: not yet. Under
                         dev.lock, which is a leaf here. */
} VmGenId;

/* ---- The GUID ---- */

/* Microsoft's order: the first three fields are little-endian. */
static void guid_to_bytes(const char *text, uint8_t *out)
{
    static const uint8_t order[GUID_FIRST] = { 3, 2, 1, 0, 5, 4, 7, 6 };
    unsigned at = 0;
    for (; *text; text++) {
        if (*text != '-') {
            out[at < GUID_FIRST ? order[at] : at] =
                (uint8_t)(g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]));
            at++;
            text++;
        }
    }
}

static bool choose_guid(VmGenId *s, GError **error)
{
    char *text = NULL;
    if (!s->guid || g_str_equal(s->guid, "auto")) {
        text = g_uuid_string_random();
    } else if (g_uuid_string_is_valid(s->guid)) {
        text = g_ascii_strdown(s->guid, GUID_TEXT);
    } else {
        return error_set(error,
                         "guid=%s is neither a UUID "
                         "(324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87) nor \"auto\"",
                         s->guid);
    }
    g_free(s->guid);
    s->guid = text;
    guid_to_bytes(text, s->bytes);
    return true;
}

/* ---- The guest's copy ---- */

/* The address comes from the guest: what is not RAM there stays as it is. */
static void tell_guest(VmGenId *s)
{
    g_mutex_lock(&s->dev.lock);
    uint64_t address = s->address;
    g_mutex_unlock(&s->dev.lock);
    if (!address) {
        return;
    }
    if (!dma_write(s->dev.machine->memory, address, s->bytes, GUID_SIZE)) {
        device_guest_error(&s->dev,
                           "the guest keeps its generation ID at 0x%" PRIx64 ", where no RAM is",
                           address);
    } else if (s->raise) {
        s->raise(s->raise_opaque, VMGENID_GPE);
    }
}

/* On a vCPU thread, with fw_cfg's lock. */
static void address_written(void *opaque, const uint8_t *data, size_t len)
{
    VmGenId *s = opaque;
    g_mutex_lock(&s->dev.lock);
    s->address = load_le64(data);
    g_mutex_unlock(&s->dev.lock);
}

void vmgenid_place(Device *dev, uint64_t page)
{
    VmGenId *s = (VmGenId *)dev;
    g_mutex_lock(&dev->lock);
    s->address = page + VMGENID_OFFSET;
    g_mutex_unlock(&dev->lock);
    dma_write(dev->machine->memory, s->address, s->bytes, GUID_SIZE);
}

void vmgenid_connect(Device *dev, void (*raise)(void *opaque, unsigned bit), void *opaque)
{
    VmGenId *s = (VmGenId *)dev;
    s->raise = raise;
    s->raise_opaque = opaque;
}

const char *vmgenid_guid(const Device *dev)
{
    return ((const VmGenId *)dev)->guid;
}

static void match_vmgenid(Device *dev, void *opaque)
{
    if (dev->cls == &vmgenid_class && dev->stage == DEVICE_REALIZED) {
        *(Device **)opaque = dev;
    }
}

Device *vmgenid_find(Machine *machine)
{
    Device *found = NULL;
    device_foreach(machine, match_vmgenid, &found);
    return found;
}

/* ---- Life ---- */

static bool vmgenid_realize(Device *dev, GError **error)
{
    VmGenId *s = (VmGenId *)dev;
    Device *fw = fw_cfg_find(dev->machine);
    uint8_t page[VMGENID_PAGE_SIZE] = { 0 };
    if (vmgenid_find(dev->machine)) {
        return error_set(error, "a second vmgenid device: a machine has one generation ID");
    }
    if (!fw || dev->machine->config->no_acpi) {
        return error_set(error,
                         "the guest finds its generation ID through ACPI, which machine "
                         "'%s' is without: leave out acpi=off or the device",
                         dev->machine->cls->name);
    }
    if (!choose_guid(s, error)) {
        return false;
    }
    memcpy(page + VMGENID_OFFSET, s->bytes, GUID_SIZE);
    return fw_cfg_add_file(fw, VMGENID_GUID_FILE, page, sizeof(page), error) &&
           fw_cfg_add_writable(fw, VMGENID_ADDRESS_FILE, sizeof(s->address), address_written, s,
                               error);
}

static void vmgenid_reset(Device *dev)
{
    VmGenId *s = (VmGenId *)dev;
    static const uint8_t none[sizeof(s->address)];
    g_mutex_lock(&dev->lock);
    s->address = 0;
    g_mutex_unlock(&dev->lock);
    fw_cfg_replace_file(fw_cfg_find(dev->machine), VMGENID_ADDRESS_FILE, none, sizeof(none));
}

/* The machine goes on from a state that was saved: this process's ID is the new generation's. */
static bool vmgenid_post_load(void *base, uint16_t version, GError **error)
{
    tell_guest(base);
    return true;
}

static const Property vmgenid_props[] = {
    PROP_STRING("guid", VmGenId, guid, "auto", "The generation's UUID, or \"auto\" for a new one"),
    PROP_END,
};

static const StateField vmgenid_fields[] = {
    STATE_INT(VmGenId, address),
    STATE_END,
};

static const StateSection vmgenid_state = {
    .name = "vmgenid",
    .version = 1,
    .fields = vmgenid_fields,
    .post_load = vmgenid_post_load,
};

const DeviceClass vmgenid_class = {
    .name = "vmgenid",
    .desc = "Virtual machine generation ID",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(VmGenId),
    .props = vmgenid_props,
    .state = &vmgenid_state,
    .realize = vmgenid_realize,
    .reset = vmgenid_reset,
};
