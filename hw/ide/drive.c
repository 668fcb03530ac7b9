/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk "ide-hd", what all drives have in common, and the IDE bus. */
#include "hw/devices.h"
#include "hw/ide/ata.h"
#include "vmm/machine/machine.h"
#include "vmm/util/bytes.h"

/* ---- The bus ---- */

static bool bus_plug(Bus *bus, Device *child, GError **error)
{
    IdePort *port = bus->owner;
    IdeDrive *drive = (IdeDrive *)child;
    int unit = drive->unit;
    if (unit < 0) {
        for (unit = 0; unit < (int)port->units && port->drives[unit];) {
            unit++;
        }
        if (unit == (int)port->units) {
            return error_set(error, "bus '%s' has a drive in every place (%u)", bus->name,
                             port->units);
        }
    }
    if (unit >= (int)port->units) {
        return error_set(error, "unit=%d: bus '%s' has units 0 to %u", unit, bus->name,
                         port->units - 1);
    }
    if (port->drives[unit]) {
        return error_set(error, "unit %d of bus '%s' is taken", unit, bus->name);
    }
    drive->unit = unit;
    return true;
}

static char *bus_firmware_name(const Bus *bus, const Device *child)
{
    const IdePort *port = bus->owner;
    return g_strdup_printf("drive@%x/disk@%x", port->number, ((const IdeDrive *)child)->unit);
}

bool ide_port_init(IdePort *port, Device *controller, unsigned number, unsigned units,
                   GError **error)
{
    g_autofree char *name = controller->id ? g_strdup_printf("%s.%u", controller->id, number)
                                           : g_strdup_printf("ide.%u", number);
    port->number = number;
    port->units = units;
    port->lock = &controller->lock;
    port->loop = machine_io_loop(controller->machine, error);
    if (!port->loop) {
        return false;
    }
    port->bus = bus_new(BUS_IDE, name, controller->machine, controller);
    port->bus->owner = port;
    port->bus->plug = bus_plug;
    port->bus->firmware_name = bus_firmware_name;
    port->bus->max_children = units;
    port->bus->hotplug = port->sata;
    return true;
}

/* ---- Realizing ---- */

/* 16 heads and 63 sectors, as every BIOS translates. */
static bool choose_geometry(IdeDrive *drive, GError **error)
{
    if (!drive->cyls && !drive->heads && !drive->secs) {
        drive->heads = 16;
        drive->secs = 63;
        drive->cyls = (uint32_t)CLAMP(ata_sectors(drive) / (16 * 63), 2, 16383);
    }
    if (!drive->cyls || drive->cyls > 65535 || !drive->heads || drive->heads > 16 || !drive->secs ||
        drive->secs > 255) {
        return error_set(error,
                         "cyls=%u, heads=%u, secs=%u: cylinders are 1 to 65535, heads 1 to 16, "
                         "sectors 1 to 255",
                         drive->cyls, drive->heads, drive->secs);
    }
    return true;
}

static bool attach_disk(IdeDrive *drive, GError **error)
{
    if (!disk_conf_attach(&drive->disk, &drive->dev, "", error) ||
        !disk_conf_sizes(&drive->disk, error)) {
        return false;
    }
    if (drive->disk.logical_block != 512 && drive->disk.logical_block != 4096) {
        return error_set(error, "logical_block_size=%u: an ATA disk has sectors of 512 or 4096",
                         drive->disk.logical_block);
    }
    return choose_geometry(drive, error);
}

static void choose_names(IdeDrive *drive)
{
    static unsigned made;
    const char *serial = disk_conf_serial(&drive->disk);
    made++;
    if (*serial) {
        g_strlcpy(drive->serial, serial, sizeof(drive->serial));
    } else {
        g_snprintf(drive->serial, sizeof(drive->serial), "QM%05u", made);
    }
    if (!drive->model) {
        drive->model = g_strdup(drive->is_cd ? "QEMU DVD-ROM" : "QEMU HARDDISK");
    }
}

bool ide_drive_plug(IdeDrive *drive, GError **error)
{
    IdePort *port = drive->dev.bus->owner;
    drive->port = port;
    if (!drive->version) {
        drive->version = g_strdup("2.5+");
    }
    if (!block_backend_add_loop(drive->disk.backend, port->loop, error)) {
        return false;
    }
    choose_names(drive);
    ata_reset(drive, true);
    g_mutex_lock(port->lock);
    port->drives[drive->unit] = drive;
    g_mutex_unlock(port->lock);
    port->plugged(port, drive);
    return true;
}

void ide_drive_drain(IdeDrive *drive, bool cancel)
{
    if (drive->packet) {
        drive->packet->drain(drive, cancel);
    } else if (cancel) {
        block_backend_cancel_kept(drive->disk.backend);
    } else {
        block_backend_drain(drive->disk.backend);
    }
}

static bool hd_realize(Device *dev, GError **error)
{
    IdeDrive *drive = (IdeDrive *)dev;
    if (!attach_disk(drive, error) || !ide_drive_plug(drive, error)) {
        disk_conf_detach(&drive->disk);
        return false;
    }
    return true;
}

static void hd_unrealize(Device *dev)
{
    IdeDrive *drive = (IdeDrive *)dev;
    drive->port->unplugged(drive->port, drive);
    disk_conf_detach(&drive->disk);
}

/* The controller's reset came first: nothing runs. */
static void hd_reset(Device *dev)
{
    IdeDrive *drive = (IdeDrive *)dev;
    g_mutex_lock(drive->port->lock);
    ata_reset(drive, true);
    g_mutex_unlock(drive->port->lock);
}

/* ---- State ---- */

static const StateField ata_regs_fields[] = {
    STATE_INT_ARRAY(AtaRegs, now),
    STATE_INT_ARRAY(AtaRegs, before),
    STATE_INT(AtaRegs, device),
    STATE_INT(AtaRegs, command),
    STATE_INT(AtaRegs, status),
    STATE_INT(AtaRegs, error),
    STATE_END,
};

static const StateSection ata_regs_state = {
    .name = "ata-regs",
    .version = 1,
    .fields = ata_regs_fields,
};

static const StateField queued_error_fields[] = {
    STATE_INT(AtaQueuedError, tag),
    STATE_INT(AtaQueuedError, status),
    STATE_INT(AtaQueuedError, error),
    STATE_INT(AtaQueuedError, lba),
    STATE_INT(AtaQueuedError, count),
    STATE_BOOL(AtaQueuedError, valid),
    STATE_END,
};

static const StateSection queued_error_state = {
    .name = "ata-queued-error",
    .version = 1,
    .fields = queued_error_fields,
};

static const StateField ata_plan_fields[] = {
    STATE_INT(AtaPlan, protocol),
    STATE_INT(AtaPlan, action),
    STATE_BOOL(AtaPlan, lba48),
    STATE_BOOL(AtaPlan, fua),
    STATE_BOOL(AtaPlan, ncq),
    STATE_BOOL(AtaPlan, packet_dma),
    STATE_INT(AtaPlan, tag),
    STATE_INT(AtaPlan, offset),
    STATE_INT(AtaPlan, bytes),
    STATE_INT(AtaPlan, block_bytes),
    STATE_END,
};

const StateSection ata_plan_state = {
    .name = "ata-plan",
    .version = 1,
    .fields = ata_plan_fields,
};

bool ata_plan_ok(const AtaPlan *plan)
{
    bool blocks = plan->action != ATA_READ && plan->action != ATA_WRITE && plan->action != ATA_SCSI;
    return plan->protocol < ATA_PROTOCOLS && plan->action < ATA_ACTIONS &&
           plan->block_bytes <= ATA_BUFFER_SIZE && (blocks || plan->block_bytes) &&
           ((plan->action != ATA_TRIM && plan->action != ATA_BUFFER) ||
            plan->bytes <= ATA_TRIM_BLOCKS * 512);
}

/* The buffer while its contents are on their way. */
static bool buffer_needed(const void *base)
{
    const IdeDrive *drive = base;
    return drive->regs.status & (ATA_STATUS_BSY | ATA_STATUS_DRQ);
}

static const StateField buffer_fields[] = {
    STATE_BUFFER(IdeDrive, buffer),
    STATE_INT_ARRAY(IdeDrive, cdb),
    STATE_END,
};

static const StateSection buffer_state = {
    .name = "ide-drive/buffer",
    .version = 1,
    .fields = buffer_fields,
    .needed = buffer_needed,
};

static bool write_cache_needed(const void *base)
{
    const IdeDrive *drive = base;
    return block_backend_write_cache(drive->disk.backend) != drive->disk.initial_write_cache;
}

static bool write_cache_loaded(void *base, uint16_t version, GError **error)
{
    IdeDrive *drive = base;
    block_backend_set_write_cache(drive->disk.backend, !drive->disk.initial_write_cache);
    return true;
}

static const StateField write_cache_fields[] = { STATE_END };

/* Its being there says that the guest switched the cache. */
static const StateSection write_cache_state = {
    .name = "ide-drive/write-cache-switched",
    .version = 1,
    .fields = write_cache_fields,
    .needed = write_cache_needed,
    .post_load = write_cache_loaded,
};

static const StateSection *const drive_subsections[] = { &buffer_state, &write_cache_state, NULL };

static bool drive_loaded(void *base, uint16_t version, GError **error)
{
    return ata_post_load(base, error);
}

static const StateField drive_fields[] = {
    STATE_STRUCT(IdeDrive, regs, &ata_regs_state),
    STATE_INT(IdeDrive, mult),
    STATE_INT(IdeDrive, current_heads),
    STATE_INT(IdeDrive, current_secs),
    STATE_INT(IdeDrive, mwdma),
    STATE_INT(IdeDrive, udma),
    STATE_INT(IdeDrive, swdma),
    STATE_BOOL(IdeDrive, look_ahead),
    STATE_BOOL(IdeDrive, standby),
    STATE_BOOL(IdeDrive, smart_enabled),
    STATE_BOOL(IdeDrive, smart_autosave),
    STATE_INT(IdeDrive, self_test_status),
    STATE_INT(IdeDrive, self_test_count),
    STATE_INT(IdeDrive, self_test_next),
    STATE_BUFFER(IdeDrive, self_tests),
    STATE_STRUCT(IdeDrive, queued_error, &queued_error_state),
    STATE_END,
};

const StateSection ide_drive_state = {
    .name = "ide-drive",
    .version = 1,
    .fields = drive_fields,
    .subsections = drive_subsections,
    .post_load = drive_loaded,
};

/* ---- Classes ---- */

static const Property hd_props[] = {
    IDE_DRIVE_PROPS,
    PROP_U32("cyls", IdeDrive, cyls, 0, "Cylinders; 0: from the size"),
    PROP_U32("heads", IdeDrive, heads, 0, "Heads; 0: 16"),
    PROP_U32("secs", IdeDrive, secs, 0, "Sectors of a track; 0: 63"),
    PROP_U16("rotation_rate", IdeDrive, rotation_rate, 0,
             "0: not said, 1: solid state, else turns a minute"),
    PROP_END,
};

const DeviceClass ide_hd_class = {
    .name = "ide-hd",
    .desc = "ATA disk",
    .bus = BUS_IDE,
    .category = DEVICE_CATEGORY_STORAGE,
    .size = sizeof(IdeDrive),
    .props = hd_props,
    .state = &ide_drive_state,
    .hotpluggable = true,
    .realize = hd_realize,
    .unrealize = hd_unrealize,
    .reset = hd_reset,
};
