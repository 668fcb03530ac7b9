/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "floppy": drives and the formats of their media. */
#include "hw/devices.h"
#include "hw/isa/fdc.h"

#define SIDES 2

const char *const floppy_type_names[] = { "144", "288", "120", "none", "auto", NULL };

/* What a medium is follows from its size: the first format of the drive's kind that has as many
 * sectors. The first of a kind is what a medium of another size is taken for. */
static const FloppyFormat formats[] = {
    /* 3.5 inch */
    { FLOPPY_144, 18, 80, 2, 0 },
    { FLOPPY_144, 20, 80, 2, 0 },
    { FLOPPY_144, 21, 80, 2, 0 },
    { FLOPPY_144, 21, 82, 2, 0 },
    { FLOPPY_144, 21, 83, 2, 0 },
    { FLOPPY_144, 22, 80, 2, 0 },
    { FLOPPY_144, 23, 80, 2, 0 },
    { FLOPPY_144, 24, 80, 2, 0 },
    { FLOPPY_288, 36, 80, 2, 3 },
    { FLOPPY_288, 39, 80, 2, 3 },
    { FLOPPY_288, 40, 80, 2, 3 },
    { FLOPPY_288, 44, 80, 2, 3 },
    { FLOPPY_288, 48, 80, 2, 3 },
    { FLOPPY_144, 9, 80, 2, 2 },
    { FLOPPY_144, 10, 80, 2, 2 },
    { FLOPPY_144, 10, 82, 2, 2 },
    { FLOPPY_144, 10, 83, 2, 2 },
    { FLOPPY_144, 13, 80, 2, 2 },
    { FLOPPY_144, 14, 80, 2, 2 },
    /* 5.25 inch */
    { FLOPPY_120, 15, 80, 2, 0 },
    { FLOPPY_120, 18, 80, 2, 0 },
    { FLOPPY_120, 18, 82, 2, 0 },
    { FLOPPY_120, 18, 83, 2, 0 },
    { FLOPPY_120, 20, 80, 2, 0 },
    { FLOPPY_120, 9, 80, 2, 1 },
    { FLOPPY_120, 11, 80, 2, 1 },
    { FLOPPY_120, 9, 40, 2, 1 },
    { FLOPPY_120, 9, 40, 1, 1 },
    { FLOPPY_120, 10, 41, 2, 1 },
    { FLOPPY_120, 10, 42, 2, 1 },
    { FLOPPY_120, 8, 40, 2, 2 },
    { FLOPPY_120, 8, 40, 1, 2 },
    /* 3.5 inch again: half of a 720 KiB disk */
    { FLOPPY_144, 9, 80, 1, 2 },
};

/* A drive for 2.88 MB takes all media of its size. */
static bool format_fits(const FloppyFormat *format, int drive_type)
{
    return drive_type == FLOPPY_AUTO || format->drive == drive_type ||
           (drive_type == FLOPPY_288 && format->drive == FLOPPY_144);
}

static const FloppyFormat *find_format(int drive_type, uint64_t bytes)
{
    const FloppyFormat *first = NULL;
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
        const FloppyFormat *f = &formats[i];
        if (format_fits(f, drive_type) &&
            (uint64_t)f->sectors * f->tracks * f->heads * FDC_SECTOR == bytes) {
            return f;
        }
        if (!first && f->drive == drive_type) {
            first = f;
        }
    }
    return first;
}

/* ---- Media ---- */

bool fdc_drive_loaded(const FdcDrive *drive)
{
    return drive->floppy && drive->format && block_backend_inserted(drive->floppy->disk.backend);
}

bool fdc_drive_readonly(const FdcDrive *drive)
{
    return block_backend_readonly(drive->floppy->disk.backend);
}

bool fdc_drive_offset(const FdcDrive *drive, uint8_t cylinder, uint8_t head, uint8_t record,
                      uint64_t *offset)
{
    const FloppyFormat *f = drive->format;
    if (cylinder >= f->tracks || head >= f->heads || record < 1 || record > f->sectors) {
        return false;
    }
    *offset = (((uint64_t)cylinder * f->heads + head) * f->sectors + record - 1) * FDC_SECTOR;
    return *offset + FDC_SECTOR <= block_backend_length(drive->floppy->disk.backend);
}

void fdc_drive_revalidate(FdcState *fdc, unsigned unit, bool changed)
{
    FdcDrive *drive = &fdc->drives[unit];
    Floppy *floppy = drive->floppy;
    drive->format = NULL;
    if (floppy && block_backend_inserted(floppy->disk.backend)) {
        drive->format = find_format(floppy->drive_type, block_backend_length(floppy->disk.backend));
    }
    drive->changed |= changed;
}

static void media_changed(void *opaque, bool loaded)
{
    Floppy *floppy = opaque;
    g_mutex_lock(&floppy->fdc->dev.lock);
    fdc_drive_revalidate(floppy->fdc, (unsigned)floppy->unit, true);
    g_mutex_unlock(&floppy->fdc->dev.lock);
}

/* ---- Life ---- */

bool fdc_bus_plug(Bus *bus, Device *child, GError **error)
{
    FdcState *fdc = bus->owner;
    Floppy *floppy = (Floppy *)child;
    if (floppy->unit < 0) {
        floppy->unit = fdc->drives[0].floppy ? 1 : 0;
    }
    if (floppy->unit >= FDC_DRIVES) {
        return error_set(error, "unit=%d: the floppy controller has units 0 and 1", floppy->unit);
    }
    if (fdc->drives[floppy->unit].floppy) {
        return error_set(error, "unit %d of the floppy controller is taken", floppy->unit);
    }
    return true;
}

/* A drive of no said kind is one for the medium that is in it. */
static void choose_type(Floppy *floppy)
{
    floppy->drive_type = floppy->type;
    if (floppy->type != FLOPPY_AUTO) {
        return;
    }
    const FloppyFormat *format =
        block_backend_inserted(floppy->disk.backend)
            ? find_format(FLOPPY_AUTO, block_backend_length(floppy->disk.backend))
            : NULL;
    floppy->drive_type = format ? format->drive : floppy->fdc->fallback;
}

static bool drive_wants_readonly(const char *name)
{
    const Drive *drive = name ? drive_find(name) : NULL;
    const BlockNode *node = drive ? drive->node : name ? block_node_find(name) : NULL;
    return (drive && drive->readonly) || (node && block_node_readonly(node));
}

static bool attach(Floppy *floppy, GError **error)
{
    DiskConf *disk = &floppy->disk;
    if (!disk_conf_attach_removable(disk, &floppy->dev, "", drive_wants_readonly(disk->drive),
                                    false, error) ||
        !block_backend_add_loop(disk->backend, floppy->fdc->loop, error)) {
        return false;
    }
    if (disk->logical_block > FDC_SECTOR || disk->physical_block > FDC_SECTOR) {
        return error_set(error,
                         "logical_block_size=%u, physical_block_size=%u: a floppy disk has "
                         "sectors of 512 bytes",
                         disk->logical_block, disk->physical_block);
    }
    return true;
}

static bool floppy_realize(Device *dev, GError **error)
{
    static const BlockBackendEvents events = { .media_changed = media_changed };
    Floppy *floppy = (Floppy *)dev;
    FdcState *fdc = dev->bus->owner;
    floppy->fdc = fdc;
    if (floppy->type == FLOPPY_NONE) {
        return error_set(error, "drive-type=none: a drive has a type; leave the device out");
    }
    if (!attach(floppy, error)) {
        disk_conf_detach(&floppy->disk);
        return false;
    }
    choose_type(floppy);
    block_backend_set_events(floppy->disk.backend, &events, floppy);
    g_mutex_lock(&fdc->dev.lock);
    fdc->drives[floppy->unit] = (FdcDrive){ .floppy = floppy };
    fdc_drive_revalidate(fdc, (unsigned)floppy->unit, true);
    g_mutex_unlock(&fdc->dev.lock);
    return true;
}

static void floppy_unrealize(Device *dev)
{
    Floppy *floppy = (Floppy *)dev;
    FdcState *fdc = floppy->fdc;
    g_mutex_lock(&fdc->dev.lock);
    fdc_abandon(fdc);
    fdc->drives[floppy->unit] = (FdcDrive){ .floppy = NULL };
    g_mutex_unlock(&fdc->dev.lock);
    block_backend_cancel_kept(floppy->disk.backend);
    disk_conf_detach(&floppy->disk);
}

static char *floppy_firmware_name(const Device *dev)
{
    return g_strdup_printf("floppy@%x", ((const Floppy *)dev)->unit);
}

static const Property floppy_props[] = {
    PROP_FIELD("unit", PROP_TYPE_I32, Floppy, unit, "0 for A, 1 for B (-1: next free)", .def = -1,
               .min = -1, .max = FDC_DRIVES - 1),
    PROP_ENUM("drive-type", Floppy, type, FLOPPY_AUTO, floppy_type_names,
              "1.44, 2.88 or 1.2 MB (auto: as its medium)"),
    DISK_CONF_PROPS(Floppy, disk),
    PROP_END,
};

const DeviceClass floppy_class = {
    .name = "floppy",
    .desc = "Floppy drive",
    .bus = BUS_FLOPPY,
    .category = DEVICE_CATEGORY_STORAGE,
    .size = sizeof(Floppy),
    .props = floppy_props,
    .realize = floppy_realize,
    .unrealize = floppy_unrealize,
    .firmware_name = floppy_firmware_name,
};
