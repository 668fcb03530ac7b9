/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SCSI bus: addresses of units, finding them from any loop, and the target that answers for
 * units that it has not (SPC-4, 6.6; SAM-5, 4.7).
 *
 * Units stand in an immutable table, replaced whole by the main thread; the adapter's barrier says
 * when nobody reads the old one any more.
 */
#include "hw/scsi/internal.h"

typedef struct ScsiTable {
    unsigned count;
    ScsiLun *luns[]; /* by ascending address */
} ScsiTable;

typedef struct ScsiBus {
    Bus *bus;
    const ScsiHba *hba;
    void *opaque;
    ScsiTable *table; /* atomic */
    ScsiLun target;   /* for units that are not there, of any target that is */
} ScsiBus;

const Property scsi_bus_device_props[] = {
    PROP_U32("channel", ScsiBusDevice, channel, 0, "Channel of the adapter"),
    PROP_FIELD("scsi-id", PROP_TYPE_I32, ScsiBusDevice, target, "Target; -1: the next free",
               .def = -1, .min = -1, .max = INT32_MAX),
    PROP_FIELD("lun", PROP_TYPE_I32, ScsiBusDevice, lun_number, "Logical unit; -1: the next free",
               .def = -1, .min = -1, .max = INT32_MAX),
    PROP_END,
};

static uint64_t key_of(ScsiAddress address)
{
    return (uint64_t)address.channel << 48 | (uint64_t)address.target << 32 | address.lun;
}

/* ---- The table ---- */

static void publish(ScsiBus *scsi, ScsiTable *table)
{
    ScsiTable *old = scsi->table;
    __atomic_store_n(&scsi->table, table, __ATOMIC_RELEASE);
    if (old) {
        scsi->hba->barrier(scsi->opaque);
        g_free(old);
    }
}

static ScsiTable *table_new(unsigned count)
{
    ScsiTable *table = g_malloc0(sizeof(*table) + count * sizeof(table->luns[0]));
    table->count = count;
    return table;
}

static void table_add(ScsiBus *scsi, ScsiLun *lun)
{
    unsigned old_count = scsi->table->count, n = 0;
    ScsiTable *table = table_new(old_count + 1);
    for (unsigned i = 0; i < old_count; i++) {
        ScsiLun *other = scsi->table->luns[i];
        if (n == i && key_of(lun->address) < key_of(other->address)) {
            table->luns[n++] = lun;
        }
        table->luns[n++] = other;
    }
    if (n == old_count) {
        table->luns[n] = lun;
    }
    publish(scsi, table);
}

static void table_remove(ScsiBus *scsi, ScsiLun *lun)
{
    unsigned n = 0;
    ScsiTable *table = table_new(scsi->table->count - 1);
    for (unsigned i = 0; i < scsi->table->count; i++) {
        if (scsi->table->luns[i] != lun) {
            table->luns[n++] = scsi->table->luns[i];
        }
    }
    publish(scsi, table);
}

/* The first unit at or behind an address. */
static unsigned table_search(const ScsiTable *table, uint64_t key)
{
    unsigned low = 0, high = table->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (key_of(table->luns[middle]->address) < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

ScsiLun *scsi_bus_find(Bus *bus, ScsiAddress address)
{
    ScsiBus *scsi = bus->owner;
    const ScsiTable *table = __atomic_load_n(&scsi->table, __ATOMIC_ACQUIRE);
    uint64_t key = key_of(address), target = key & ~(uint64_t)UINT32_MAX;
    unsigned i = table_search(table, key);
    if (i < table->count && key_of(table->luns[i]->address) == key) {
        return table->luns[i];
    }
    i = table_search(table, target);
    bool there = i < table->count &&
                 (key_of(table->luns[i]->address) & ~(uint64_t)UINT32_MAX) == target;
    return there ? &scsi->target : NULL;
}

unsigned scsi_bus_luns(Bus *bus, ScsiAddress address, uint32_t *luns, unsigned max)
{
    ScsiBus *scsi = bus->owner;
    const ScsiTable *table = __atomic_load_n(&scsi->table, __ATOMIC_ACQUIRE);
    unsigned count = 0;
    address.lun = 0;
    luns[count++] = 0; /* answers always */
    for (unsigned i = table_search(table, key_of(address)); i < table->count && count < max; i++) {
        ScsiAddress at = table->luns[i]->address;
        if (at.channel != address.channel || at.target != address.target) {
            break;
        }
        if (at.lun) {
            luns[count++] = at.lun;
        }
    }
    return count;
}

void scsi_bus_foreach(Bus *bus, void (*fn)(ScsiLun *lun, void *opaque), void *opaque)
{
    const ScsiTable *table = ((ScsiBus *)bus->owner)->table;
    for (unsigned i = 0; i < table->count; i++) {
        fn(table->luns[i], opaque);
    }
}

void scsi_bus_changed(ScsiLun *lun, ScsiSense sense)
{
    ScsiBus *scsi = lun->bus ? lun->bus->owner : NULL;
    if (scsi && scsi->hba->changed) {
        scsi->hba->changed(scsi->opaque, lun, sense);
    }
}

/* ---- The target ---- */

static void target_prepare(ScsiRequest *request)
{
    static const struct {
        uint8_t opcode;
        ScsiFormat format;
    } known[] = { { OP_INQUIRY, FORMAT_INQUIRY },
                  { OP_REQUEST_SENSE, FORMAT_ALLOC_6 },
                  { OP_REPORT_LUNS, FORMAT_ALLOC_12 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(known); i++) {
        if (known[i].opcode == request->cdb[0]) {
            request->length = scsi_format_length(known[i].format, request->cdb, 0);
            request->direction = request->length ? SCSI_DATA_IN : SCSI_NO_DATA;
        }
    }
}

static void target_inquiry(ScsiRequest *request)
{
    bool vital = request->cdb[1] & 1;
    if (request->cdb[2]) {
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    uint8_t *reply = scsi_reply_new(request, 36);
    /* Unit 0 of a target could be there; of others this target knows nothing. */
    reply[0] = request->address.lun ? TYPE_NOT_THERE : 0x3f;
    if (vital) { /* supported pages: this one */
        reply[3] = 1;
        scsi_reply(request, 5);
        return;
    }
    reply[2] = 5;
    reply[3] = 0x12;
    reply[4] = 36 - 5;
    reply[7] = 0x12;
    memcpy(reply + 8, "QEMU    QEMU TARGET     2.5+", 28);
    scsi_reply(request, 36);
}

static void target_submit(ScsiRequest *request)
{
    switch (request->cdb[0]) {
    case OP_INQUIRY:
        target_inquiry(request);
        break;
    case OP_REPORT_LUNS:
        scsi_run_report_luns(request);
        break;
    case OP_REQUEST_SENSE:
        scsi_build_sense(scsi_reply_new(request, SCSI_SENSE_SIZE), SENSE_INVALID_LUN);
        scsi_reply(request, SCSI_SENSE_SIZE);
        break;
    default:
        scsi_fail(request, SENSE_INVALID_LUN);
        break;
    }
}

static const ScsiLunClass target_lun = { .type = TYPE_NOT_THERE,
                                         .prepare = target_prepare,
                                         .submit = target_submit };

/* ---- Addresses ---- */

static bool address_taken(const ScsiBus *scsi, const ScsiBusDevice *child, uint32_t channel,
                          uint32_t target, int64_t lun)
{
    const GPtrArray *children = scsi->bus->children;
    for (guint i = 0; i < children->len; i++) {
        const ScsiBusDevice *other = g_ptr_array_index(children, i);
        if (other != child && other->channel == channel && (uint32_t)other->target == target &&
            (lun < 0 || other->lun_number == lun)) {
            return true;
        }
    }
    return false;
}

static bool check_limits(const ScsiHba *hba, const ScsiBusDevice *child, GError **error)
{
    if (child->channel > hba->max_channel) {
        return error_set(error, "channel=%u: the adapter has 0 to %u", child->channel,
                         hba->max_channel);
    }
    if (child->target >= 0 && (unsigned)child->target > hba->max_target) {
        return error_set(error, "scsi-id=%d: the adapter has 0 to %u", child->target,
                         hba->max_target);
    }
    if (child->lun_number >= 0 && (unsigned)child->lun_number > hba->max_lun) {
        return error_set(error, "lun=%d: the adapter has 0 to %u", child->lun_number, hba->max_lun);
    }
    return true;
}

static bool bus_plug(Bus *bus, Device *dev, GError **error)
{
    ScsiBus *scsi = bus->owner;
    ScsiBusDevice *child = (ScsiBusDevice *)dev;
    if (!check_limits(scsi->hba, child, error)) {
        return false;
    }
    if (child->target < 0) {
        unsigned target = 0;
        child->lun_number = MAX(child->lun_number, 0);
        while (target <= scsi->hba->max_target &&
               address_taken(scsi, child, child->channel, target, child->lun_number)) {
            target++;
        }
        if (target > scsi->hba->max_target) {
            return error_set(error, "bus '%s' has no free target", bus->name);
        }
        child->target = (int32_t)target;
    } else if (child->lun_number < 0) {
        unsigned lun = 0;
        while (lun <= scsi->hba->max_lun &&
               address_taken(scsi, child, child->channel, child->target, lun)) {
            lun++;
        }
        if (lun > scsi->hba->max_lun) {
            return error_set(error, "target %d of bus '%s' has no free unit", child->target,
                             bus->name);
        }
        child->lun_number = (int32_t)lun;
    }
    if (address_taken(scsi, child, child->channel, child->target, child->lun_number)) {
        return error_set(error, "bus '%s' has a unit at channel=%u, scsi-id=%d, lun=%d already",
                         bus->name, child->channel, child->target, child->lun_number);
    }
    return true;
}

bool scsi_bus_attach(ScsiBusDevice *device, GError **error)
{
    ScsiBus *scsi = device->dev.bus->owner;
    ScsiLun *lun = &device->lun;
    lun->bus = scsi->bus;
    lun->autosense = scsi->hba->autosense;
    lun->address = (ScsiAddress){ .channel = (uint8_t)device->channel,
                                  .target = (uint16_t)device->target,
                                  .lun = (uint32_t)device->lun_number };
    if (!scsi->hba->attach(scsi->opaque, lun, error)) {
        return false;
    }
    table_add(scsi, lun);
    if (scsi->hba->plugged) {
        scsi->hba->plugged(scsi->opaque, lun);
    }
    return true;
}

void scsi_bus_detach(ScsiBusDevice *device)
{
    ScsiBus *scsi = device->dev.bus->owner;
    table_remove(scsi, &device->lun);
    scsi->hba->detach(scsi->opaque, &device->lun);
}

static char *bus_firmware_name(const Bus *bus, const Device *child)
{
    const ScsiBusDevice *device = (const ScsiBusDevice *)child;
    return g_strdup_printf("channel@%x/%s@%x,%x", device->channel,
                           device->lun.cls && device->lun.cls->commands ? "disk" : "generic",
                           device->target, device->lun_number);
}

Bus *scsi_bus_new(const ScsiHba *hba, void *opaque, Device *dev)
{
    static unsigned unnamed;
    g_assert(hba->max_channel <= UINT8_MAX && hba->max_target <= UINT16_MAX);
    g_autofree char *name = dev->id ? g_strdup_printf("%s.0", dev->id)
                                    : g_strdup_printf("scsi.%u", unnamed++);
    ScsiBus *scsi = g_new0(ScsiBus, 1);
    scsi->bus = bus_new(BUS_SCSI, name, dev->machine, dev);
    scsi->hba = hba;
    scsi->opaque = opaque;
    scsi->table = table_new(0);
    scsi->target.cls = &target_lun;
    scsi->target.bus = scsi->bus;
    scsi->target.autosense = true;
    scsi->target.dev = dev;
    g_mutex_init(&scsi->target.lock);
    scsi->bus->owner = scsi;
    scsi->bus->plug = bus_plug;
    scsi->bus->firmware_name = bus_firmware_name;
    scsi->bus->hotplug = true;
    scsi->bus->max_children = (hba->max_channel + 1) * (hba->max_target + 1) * (hba->max_lun + 1);
    return scsi->bus;
}

void scsi_bus_free(Bus *bus)
{
    if (bus) {
        ScsiBus *scsi = bus->owner;
        bus_free(bus);
        g_mutex_clear(&scsi->target.lock);
        g_free(scsi->table);
        g_free(scsi);
    }
}
