/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI and PCI Express: functions, configuration space as data with write masks, BARs, INTx, MSI,
 * MSI-X, buses (PCI Local Bus 3.0, PCI Express Base 4.0).
 *
 * Configuration writes run with the machine's topology lock, then the function's device lock; BAR
 * handlers with the device lock only.
 */
#ifndef HW_PCI_PCI_H
#define HW_PCI_PCI_H

#include "vmm/device/device.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/machine.h"
#include "vmm/memory/address_space.h"
#include "vmm/memory/dma.h"

#define PCI_CONFIG_SIZE     256
#define PCIE_CONFIG_SIZE    4096
#define PCI_BAR_COUNT       6
#define PCI_ROM_REGION      6 /* of bars: the expansion ROM */
#define PCI_REGION_COUNT    7
#define PCI_DEVFN(slot, fn) (((slot) << 3) | (fn))
#define PCI_SLOT(devfn)     (((devfn) >> 3) & 0x1f)
#define PCI_FUNC(devfn)     ((devfn)&7)

typedef struct PciDevice PciDevice;
typedef struct PciBus PciBus;

typedef enum PciBarKind {
    PCI_BAR_IO,
    PCI_BAR_MEM32,
    PCI_BAR_MEM64,
    PCI_BAR_MEM64_PREFETCH
} PciBarKind;

typedef struct PciBar {
    MemRegion *region; /* NULL: none; size a power of two */
    PciBarKind kind;
    uint64_t size;
    uint64_t mapped_at; /* UINT64_MAX: not mapped */
} PciBar;

/* DeviceClass.ops of a PCI function. */
typedef struct PciDeviceClass {
    uint16_t vendor_id, device_id, subsystem_vendor_id, subsystem_id;
    uint8_t revision;
    uint32_t class_code;   /* 24 bits: class, subclass, interface */
    uint8_t interrupt_pin; /* 1: INTA ... 0: none */
    const char *romfile;   /* an expansion ROM that comes as a package, or NULL */
    bool is_bridge;
    bool is_express;      /* PCI Express capability when on an express bus */
    uint8_t express_type; /* bridges: PCI_EXP_TYPE_ROOT_PORT ... */
    /* Before a read: brings config up to date. Topology and device lock held. May be NULL. */
    void (*config_reading)(PciDevice *pci, uint32_t offset, unsigned size);
    /* After the common work. Topology and device lock held. May be NULL. */
    void (*config_written)(PciDevice *pci, uint32_t offset, unsigned size);
    /* After config_written, and after reset and load, with the topology lock only: the place to
     * change the memory map to what the registers say now. May be NULL. */
    void (*remap)(PciDevice *pci);
} PciDeviceClass;

typedef struct MsixVector {
    MsiRoute *route; /* made when first used */
    bool used;
    bool masked; /* as last told to the owner */
} MsixVector;

struct PciDevice {
    Device dev;
    PciBus *bus;
    int32_t devfn; /* property "addr": -1 any */
    bool multifunction;
    char *romfile; /* property: the expansion ROM; NULL: the class's, "": none */
    uint32_t rombar;
    const char *default_romfile; /* set before realize; NULL: the class's */
    MemRegion rom_region;
    RamBlock *rom; /* NULL: none */
    uint8_t config[PCIE_CONFIG_SIZE];
    uint8_t wmask[PCIE_CONFIG_SIZE];   /* bits the guest can write */
    uint8_t w1cmask[PCIE_CONFIG_SIZE]; /* bits a written 1 clears */
    uint8_t used[PCIE_CONFIG_SIZE];    /* taken by capabilities */
    PciBar bars[PCI_REGION_COUNT];
    uint8_t express_cap, msi_cap, msix_cap; /* offsets, 0: none */
    uint16_t msix_count;
    bool msix_shared; /* in a BAR of the owner's, at these offsets */
    uint32_t msix_table_at, msix_pba_at;
    MemRegion msix_region; /* table and PBA, mapped as (part of) a BAR */
    uint8_t *msix_table;
    uint8_t *msix_pba;
    MsixVector *msix_vectors;
    /* INTx, under the root bus's leaf lock: what the device asks for, and what is driven. */
    uint8_t irq_level;
    bool intx_disabled, irq_driven;
    PciBus *root;
    PciBus *secondary;                  /* bridges: the bus behind */
    uint8_t *saved_config, *saved_msix; /* private: the state's form while it is saved or loaded */
    uint32_t saved_config_len, saved_msix_len;
    /* Called when a vector's mask changed, device lock held: the owner polls or re-signals. May be
     * NULL. */
    void (*msix_mask_changed)(PciDevice *pci, unsigned vector, bool masked);
};

/* The common properties (addr, multifunction ...) and state; put them into the class's groups and
 * first in its state. */
extern const Property pci_device_props[];
extern const StateSection pci_device_state;

/* Called by a class's realize before its own work: identity, header, finds the devfn. Main thread.
 */
bool pci_device_realize(PciDevice *pci, GError **error);
void pci_device_unrealize(PciDevice *pci);
void pci_device_reset(PciDevice *pci);
/*
 * For functions of the chipset: a guest that wakes from sleep (machine_waking()) finds these bytes
 * of configuration space as it left them. SeaBIOS sets them up at power-on only, and knows by a
 * variable in shadow RAM that this was done.
 */
void pci_device_reset_keeping(PciDevice *pci, unsigned first, unsigned count);

void pci_register_bar(PciDevice *pci, unsigned index, PciBarKind kind, MemRegion *region);
/* A packaged ROM gets the function's ids, which firmware compares: for classes that set them after
 * pci_device_realize(). */
void pci_rom_adopt_ids(PciDevice *pci);
/* Appends a capability of `size` bytes; offset 0: first free place. Returns its offset (0 and
 * error: no room). */
uint8_t pci_add_capability(PciDevice *pci, uint8_t id, uint8_t offset, uint8_t size,
                           GError **error);
uint16_t pcie_add_extended_capability(PciDevice *pci, uint16_t id, uint8_t version, uint16_t size);
bool pci_is_express_bus(const PciBus *bus);
bool pci_bus_master(const PciDevice *pci); /* command register; any thread */
bool pci_memory_enabled(const PciDevice *pci);
void pci_set_irq(PciDevice *pci, int level); /* INTx, honours Interrupt Disable; any thread */

/* MSI (PCI 3.0, 6.8.1): realize-time; count is a power of two up to 32. */
bool msi_init(PciDevice *pci, unsigned count, bool per_vector_mask, GError **error);
bool msi_enabled(const PciDevice *pci);
void msi_notify(PciDevice *pci, unsigned vector);

/* MSI-X (6.8.2): table and PBA in BAR `bar` of their own (4 KiB pages), count 1 to 2048. */
bool msix_init(PciDevice *pci, uint16_t count, unsigned bar, GError **error);
/* The same inside a BAR whose handlers belong to the device, at the given offsets; the handlers
 * pass accesses there (4 or 8 bytes) on, with the device lock held. */
bool msix_init_shared(PciDevice *pci, uint16_t count, unsigned bar, uint32_t table, uint32_t pba,
                      GError **error);
uint64_t msix_window_read(PciDevice *pci, uint64_t offset, unsigned size);
void msix_window_write(PciDevice *pci, uint64_t offset, uint64_t value, unsigned size);
void msix_uninit(PciDevice *pci);
bool msix_enabled(const PciDevice *pci); /* any thread */
/* Delivers a vector in use, or keeps it pending while masked. Any thread; no device lock needed. */
void msix_notify(PciDevice *pci, unsigned vector);
/* The route behind a vector, to hand to an I/O thread: signalling its notifier is the whole
 * delivery while the vector is unmasked; NULL when out of range. Device lock held. */
MsiRoute *msix_vector_use(PciDevice *pci, unsigned vector);
void msix_vector_unuse(PciDevice *pci, unsigned vector);

/* "scsi@3", "pci1b36,0010@4,1": the function in an Open Firmware path (IEEE 1275, PCI bus binding);
 * new. */
char *pci_firmware_name(const PciDevice *pci);

/* Guest memory as the function sees it now: an empty space, in which every access fails, while bus
 * mastering is off. Ask at each use. Any thread. */
AddressSpace *pci_dma_space(PciDevice *pci);

/* ---- Buses ---- */
/* INTx pin (0 to 3) of slot on this bus, level; wired by the host bridge or by a bridge's swizzle.
 */
typedef void PciSetIrq(void *opaque, unsigned slot, unsigned pin, int level);
/* A parent that is a bridge makes it the bridge's secondary bus; set_irq is then NULL. */
PciBus *pci_bus_new(const char *name, Machine *machine, Device *parent, bool express,
                    AddressSpace *memory, AddressSpace *io, PciSetIrq *set_irq, void *opaque);
void pci_bus_free(PciBus *bus);
Bus *pci_bus_base(PciBus *bus);
PciBus *pci_bus_root(Machine *machine); /* "pcie.0" or "pci.0"; NULL on a machine without PCI */
PciDevice *pci_find_device(PciBus *root, uint8_t bus,
                           uint8_t devfn); /* by bus numbers as programmed; NULL */
void pci_bus_foreach(PciBus *bus, void (*fn)(PciDevice *pci, void *opaque), void *opaque);
uint8_t pci_bus_number(const PciBus *bus);
void pci_info_dump(Machine *machine, GString *out); /* `info pci` */
const char *pci_class_name(uint16_t code);          /* for people; NULL: none is known */

/* Configuration cycles from the host bridge: size 1, 2, 4; missing functions read ones. Takes the
 * locks. vCPU threads and main. */
uint32_t pci_config_read(PciBus *root, uint8_t bus, uint8_t devfn, uint32_t offset, unsigned size);
void pci_config_write(PciBus *root, uint8_t bus, uint8_t devfn, uint32_t offset, uint32_t value,
                      unsigned size);

/* What firmware does when there is none: numbers the buses, places BARs and bridge windows in the
 * given apertures, sets interrupt lines and enables decoding, deterministically. After each reset
 * of a machine that boots a kernel directly. Main thread, paused. */
typedef struct PciApertures {
    uint64_t io_start, io_last, mem32_start, mem32_last, mem64_start, mem64_last;
    uint8_t (*irq_line)(void *opaque, uint8_t slot, uint8_t pin);
    void *opaque;
} PciApertures;
bool pci_assign_resources(PciBus *root, const PciApertures *apertures, GError **error);

#endif
