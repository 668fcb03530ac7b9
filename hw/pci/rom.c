/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expansion ROMs: a file behind the ROM BAR (PCI Firmware 3.0, 5.1: the header and PCI data
 * structure of each image). */
#include "hw/pci/pci_internal.h"
#include "vmm/boot/boot.h"

#define ROM_MIN        (2 * KIB)
#define ROM_MAX        (16 * MIB)
#define ROM_ENABLE     PCI_ROM_ADDRESS_ENABLE
#define ROM_DATA       0x18 /* in an image: where its PCI data structure is */
#define ROM_CHECKSUM   0x06 /* a byte that may take up what the ids change, in these packages */
#define DATA_VENDOR    0x04
#define DATA_DEVICE    0x06
#define DATA_LENGTH    0x10 /* of the image, in units of 512 bytes */
#define DATA_INDICATOR 0x15
#define DATA_SIZE      0x18
#define LAST_IMAGE     0x80

static const char *wanted_file(const PciDevice *pci)
{
    if (pci->romfile) {
        return *pci->romfile ? pci->romfile : NULL;
    }
    return pci->default_romfile ? pci->default_romfile : pci_class(pci)->romfile;
}

static bool make_bar(PciDevice *pci, const uint8_t *data, size_t len, GError **error)
{
    uint64_t size = ROM_MIN;
    while (size < len) {
        size *= 2;
    }
    RamOptions options = { .size = size };
    g_autofree char *name = g_strdup_printf("%s.rom", pci->dev.cls->name);
    pci->rom = ram_block_new(name, &options, error);
    if (!pci->rom) {
        return false;
    }
    memcpy(pci->rom->host, data, len);
    memset(pci->rom->host + len, 0xff, pci->rom->size - len);
    mem_region_init_ram(&pci->rom_region, "rom", pci->rom, 0, size, true);
    pci->bars[PCI_ROM_REGION] = (PciBar){
        .region = &pci->rom_region, .kind = PCI_BAR_MEM32, .size = size, .mapped_at = UINT64_MAX
    };
    store_le32(pci->wmask + PCI_ROM_ADDRESS, (uint32_t) ~(size - 1) | ROM_ENABLE);
    return true;
}

bool pci_rom_realize(PciDevice *pci, GError **error)
{
    const char *name = wanted_file(pci);
    size_t len;

    if (!name || !pci->rombar || pci_class(pci)->is_bridge) {
        return !pci->romfile || !*pci->romfile || !pci_class(pci)->is_bridge ||
               error_set(error, "romfile=%s: a bridge has no expansion ROM here", pci->romfile);
    }
    g_autofree char *path = boot_data_find(name);
    if (!path && !pci->romfile) {
        return true; /* the package is not installed */
    }
    g_autofree uint8_t *data = boot_data_read(path ? path : name, ROM_MAX, &len, error);
    if (!data) {
        g_prefix_error(error, "romfile=%s: ", name);
        return false;
    }
    return make_bar(pci, data, len, error);
}

/* Other threads may be reading the ROM still; waiting for them takes no lock that they want. */
static gboolean free_when_unread(gpointer rom)
{
    address_space_synchronize();
    ram_block_free(rom);
    return G_SOURCE_REMOVE;
}

void pci_rom_unrealize(PciDevice *pci)
{
    if (pci->rom) {
        g_idle_add(free_when_unread, g_steal_pointer(&pci->rom));
    }
}

static uint8_t byte_sum(const uint8_t *data, uint64_t len)
{
    uint8_t sum = 0;
    while (len--) {
        sum += *data++;
    }
    return sum;
}

/* One image at `image`, of at most `room` bytes; its length, 0 when it is none or the last. */
static uint64_t image_adopt_ids(const PciDevice *pci, uint8_t *image, uint64_t room)
{
    if (room < ROM_DATA + 2 || load_le16(image) != 0xaa55) {
        return 0;
    }
    uint64_t at = load_le16(image + ROM_DATA);
    if (!range_inside(at, DATA_SIZE, room) || memcmp(image + at, "PCIR", 4) != 0) {
        return 0;
    }
    uint8_t *data = image + at;
    uint64_t len = load_le16(data + DATA_LENGTH) * 512ULL;
    if (len == 0 || len > room) {
        return 0;
    }
    uint8_t before = byte_sum(data, DATA_SIZE);
    memcpy(data + DATA_VENDOR, pci->config + PCI_VENDOR_ID, 2);
    memcpy(data + DATA_DEVICE, pci->config + PCI_DEVICE_ID, 2);
    image[ROM_CHECKSUM] -= byte_sum(data, DATA_SIZE) - before;
    return data[DATA_INDICATOR] & LAST_IMAGE ? 0 : len;
}

void pci_rom_adopt_ids(PciDevice *pci)
{
    if (!pci->rom || pci->romfile) { /* what the user names stays as it is */
        return;
    }
    uint64_t size = pci->rom_region.size, at = 0, len;
    do {
        len = image_adopt_ids(pci, pci->rom->host + at, size - at);
        at += len;
    } while (len && at < size);
}
