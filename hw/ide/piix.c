/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IDE functions of PIIX3 and PIIX4 (Intel 290550 and 290562): two channels at the compatibility
 * ports, with bus mastering behind BAR 4.
 */
#include "hw/devices.h"
#include "hw/ide/channel.h"
#include "vmm/util/bytes.h"

#define BM_BAR  4
#define BM_SIZE 16

#define IDETIM          0x40
#define IDETIM_DECODE   0x8000
#define IDETIM_WRITABLE 0xf3ff
#define SIDETIM         0x44

typedef struct PiixIde {
    PciDevice pci;
    IdeChannel channels[2];
    MemRegion bm;
} PiixIde;

static const PropertyGroup piix_groups[] = {
    { pci_device_props, offsetof(PiixIde, pci) },
    { NULL, 0 },
};

static uint64_t bm_read(void *opaque, uint64_t offset, unsigned size)
{
    PiixIde *ide = opaque;
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        unsigned at = (unsigned)offset + i;
        value |= (uint64_t)ide_channel_bm_read(&ide->channels[at >> 3], at & 7) << (8 * i);
    }
    return value;
}

static void bm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PiixIde *ide = opaque;
    for (unsigned i = 0; i < size; i++) {
        unsigned at = (unsigned)offset + i;
        ide_channel_bm_write(&ide->channels[at >> 3], at & 7, (uint8_t)(value >> (8 * i)));
    }
}

static const MemOps bm_ops = { .read = bm_read, .write = bm_write, .min_size = 1, .max_size = 4 };

static void piix_unrealize(Device *dev)
{
    PiixIde *ide = (PiixIde *)dev;
    for (unsigned i = 0; i < 2; i++) {
        ide_channel_cleanup(&ide->channels[i]);
    }
    pci_device_unrealize(&ide->pci);
}

/*
 * IDE timing registers of the channels and of the slave drives (82371SB, 2.3.8 and 2.3.9). They
 * time nothing here, and the ports are decoded whatever they say: so they say so from the start.
 * Linux passes over a channel without its decode bit.
 */
static void init_timing(PciDevice *pci)
{
    for (unsigned i = 0; i < 2; i++) {
        store_le16(pci->wmask + IDETIM + 2 * i, IDETIM_WRITABLE);
    }
    pci->wmask[SIDETIM] = 0xff;
    memset(pci->used + IDETIM, 0xff, SIDETIM + 1 - IDETIM);
}

static void reset_timing(PciDevice *pci)
{
    for (unsigned i = 0; i < 2; i++) {
        store_le16(pci->config + IDETIM + 2 * i, IDETIM_DECODE);
    }
}

static bool piix_realize(Device *dev, GError **error)
{
    static const uint16_t ports[2][2] = { { 0x1f0, 0x3f6 }, { 0x170, 0x376 } };
    PiixIde *ide = (PiixIde *)dev;
    Machine *machine = dev->machine;
    if (!pci_device_realize(&ide->pci, error)) {
        return false;
    }
    init_timing(&ide->pci);
    mem_region_init_io(&ide->bm, "piix-bmdma", BM_SIZE, &bm_ops, ide, &dev->lock);
    pci_register_bar(&ide->pci, BM_BAR, PCI_BAR_IO, &ide->bm);
    for (unsigned i = 0; i < 2; i++) {
        if (!ide_channel_init(&ide->channels[i], &ide->pci, i, ports[i][0], ports[i][1],
                              &machine->gsi[14 + i], error)) {
            piix_unrealize(dev);
            return false;
        }
    }
    return true;
}

static void piix_reset(Device *dev)
{
    PiixIde *ide = (PiixIde *)dev;
    pci_device_reset(&ide->pci);
    reset_timing(&ide->pci);
    for (unsigned i = 0; i < 2; i++) {
        ide_channel_reset(&ide->channels[i]);
    }
}

static void piix_quiesce(Device *dev)
{
    PiixIde *ide = (PiixIde *)dev;
    for (unsigned i = 0; i < 2; i++) {
        ide_channel_quiesce(&ide->channels[i]);
    }
}

static void piix_resume(Device *dev)
{
    PiixIde *ide = (PiixIde *)dev;
    for (unsigned i = 0; i < 2; i++) {
        ide_channel_resume(&ide->channels[i]);
    }
}

static const StateField piix_fields[] = {
    STATE_STRUCT(PiixIde, pci, &pci_device_state),
    STATE_STRUCT_ARRAY(PiixIde, channels, &ide_channel_state),
    STATE_END,
};

static const StateSection piix_state = {
    .name = "piix-ide",
    .version = 1,
    .fields = piix_fields,
};

/* Compatibility mode on both channels, bus master. */
static const PciDeviceClass piix3_pci = {
    .vendor_id = 0x8086,
    .device_id = 0x7010,
    .class_code = 0x010180,
};

static const PciDeviceClass piix4_pci = {
    .vendor_id = 0x8086,
    .device_id = 0x7111,
    .class_code = 0x010180,
};

#define PIIX_CLASS(ident, _name, _desc, _ops)                                                      \
    const DeviceClass ident = {                                                                    \
        .name = (_name),                                                                           \
        .desc = (_desc),                                                                           \
        .bus = BUS_PCI,                                                                            \
        .category = DEVICE_CATEGORY_STORAGE,                                                       \
        .size = sizeof(PiixIde),                                                                   \
        .groups = piix_groups,                                                                     \
        .state = &piix_state,                                                                      \
        .has_child_bus = true,                                                                     \
        .child_bus = BUS_IDE,                                                                      \
        .realize = piix_realize,                                                                   \
        .unrealize = piix_unrealize,                                                               \
        .reset = piix_reset,                                                                       \
        .quiesce = piix_quiesce,                                                                   \
        .resume = piix_resume,                                                                     \
        .ops = (_ops),                                                                             \
    }

PIIX_CLASS(piix3_ide_class, "piix3-ide", "IDE controller (PIIX3)", &piix3_pci);
PIIX_CLASS(piix4_ide_class, "piix4-ide", "IDE controller (PIIX4)", &piix4_pci);
