/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmcoreinfo (QEMU: docs/specs/vmcoreinfo.rst): a file of fw_cfg into which the guest's kernel
 * writes where its ELF note for crash dumps is. Linux's qemu_fw_cfg driver does.
 */
#include <string.h>
#include "hw/devices.h"
#include "hw/firmware/fw_cfg.h"
#include "vmm/util/bytes.h"

#define FILE_NAME "etc/vmcoreinfo"

/* The file, little-endian: formats of host and guest, size and address of the note. */
enum { AT_HOST_FORMAT = 0, AT_GUEST_FORMAT = 2, AT_SIZE = 4, AT_ADDRESS = 8, FILE_SIZE = 16 };
enum { FORMAT_NONE = 0, FORMAT_ELF = 1 };

typedef struct VmCoreInfo {
    Device dev;
    uint8_t note[FILE_SIZE]; /* the file as the guest left it; under dev.lock, a leaf here */
} VmCoreInfo;

/* On a vCPU thread, with fw_cfg's lock. */
static void note_written(void *opaque, const uint8_t *data, size_t len)
{
    VmCoreInfo *s = opaque;
    g_mutex_lock(&s->dev.lock);
    memcpy(s->note, data, FILE_SIZE);
    g_mutex_unlock(&s->dev.lock);
}

static json_object *get_note(const void *base)
{
    VmCoreInfo *s = (VmCoreInfo *)base;
    json_object *object = json_object_new_object();
    g_mutex_lock(&s->dev.lock);
    unsigned format = load_le16(s->note + AT_GUEST_FORMAT);
    json_object_object_add(object, "format", json_object_new_int((int)format));
    json_object_object_add(object, "size", json_object_new_int64(load_le32(s->note + AT_SIZE)));
    json_object_object_add(object, "paddr",
                           json_object_new_uint64(load_le64(s->note + AT_ADDRESS)));
    g_mutex_unlock(&s->dev.lock);
    return object;
}

static void match_vmcoreinfo(Device *dev, void *opaque)
{
    *(bool *)opaque |= dev->cls == &vmcoreinfo_class && dev->stage == DEVICE_REALIZED;
}

static bool vmcoreinfo_realize(Device *dev, GError **error)
{
    Device *fw = fw_cfg_find(dev->machine);
    bool another = false;
    device_foreach(dev->machine, match_vmcoreinfo, &another);
    if (another) {
        return error_set(error, "the machine has a vmcoreinfo device already: at most one is "
                                "possible");
    }
    if (!fw) {
        return error_set(error, "machine '%s' has no fw_cfg device, by which the guest writes",
                         dev->machine->cls->name);
    }
    return fw_cfg_add_writable(fw, FILE_NAME, FILE_SIZE, note_written, dev, error);
}

static void vmcoreinfo_reset(Device *dev)
{
    VmCoreInfo *s = (VmCoreInfo *)dev;
    g_mutex_lock(&dev->lock);
    memset(s->note, FORMAT_NONE, FILE_SIZE);
    store_le16(s->note + AT_HOST_FORMAT, FORMAT_ELF);
    g_mutex_unlock(&dev->lock);
    fw_cfg_replace_file(fw_cfg_find(dev->machine), FILE_NAME, s->note, FILE_SIZE);
}

static const Property vmcoreinfo_props[] = {
    PROP_COMPUTED("note", get_note, "What the guest wrote: format (1: ELF), size, address"),
    PROP_END,
};

static const StateField vmcoreinfo_fields[] = {
    STATE_BUFFER(VmCoreInfo, note),
    STATE_END,
};

static const StateSection vmcoreinfo_state = {
    .name = "vmcoreinfo",
    .version = 1,
    .fields = vmcoreinfo_fields,
};

const DeviceClass vmcoreinfo_class = {
    .name = "vmcoreinfo",
    .desc = "Where the guest's kernel keeps its note for crash dumps",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(VmCoreInfo),
    .props = vmcoreinfo_props,
    .state = &vmcoreinfo_state,
    .realize = vmcoreinfo_realize,
    .reset = vmcoreinfo_reset,
};
