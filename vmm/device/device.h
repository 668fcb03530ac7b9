/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device model (DESIGN, section 3): a device is one constant DeviceClass and a struct that
 * begins with a Device. hw/devices.c lists all classes.
 *
 * Life: device_new() -> properties -> device_realize() -> running (reset any number of times) ->
 * device_unrealize() -> device_free(). All of it on the main thread. Register handlers run under
 * device->lock (give it to mem_region_init_io), on vCPU threads; timers and file or packet
 * completions on the thread of their loop.
 */
#ifndef VMM_DEVICE_DEVICE_H
#define VMM_DEVICE_DEVICE_H

#include <glib.h>
#include <json-c/json.h>
#include "vmm/device/irq.h"
#include "vmm/device/property.h"
#include "vmm/device/state.h"
#include "vmm/error.h"

typedef struct Device Device;
typedef struct DeviceClass DeviceClass;
typedef struct Bus Bus;
typedef struct Machine Machine;

typedef enum BusType {
    BUS_SYSTEM, /* on the board itself */
    BUS_ISA,
    BUS_PCI,
    BUS_VIRTIO_MMIO, /* a virtio-mmio slot: takes virtio-*-device */
    BUS_VIRTIO_SERIAL,
    BUS_SCSI,   /* hw/scsi/scsi.h */
    BUS_IDE,    /* a channel or AHCI port: hw/ide */
    BUS_NVME,   /* namespaces of a controller */
    BUS_USB,    /* hw/usb/usb.h */
    BUS_FLOPPY, /* a floppy controller's drives */
    BUS_I2C,    /* an SMBus: hw/smbus */
    BUS_COUNT,
} BusType;

typedef enum DeviceCategory {
    DEVICE_CATEGORY_BRIDGE,
    DEVICE_CATEGORY_STORAGE,
    DEVICE_CATEGORY_NETWORK,
    DEVICE_CATEGORY_INPUT,
    DEVICE_CATEGORY_DISPLAY,
    DEVICE_CATEGORY_SOUND,
    DEVICE_CATEGORY_MISC,
    DEVICE_CATEGORY_CPU,
    DEVICE_CATEGORY_COUNT,
} DeviceCategory;

struct DeviceClass {
    const char *name;  /* QEMU's name */
    const char *alias; /* a second name, or NULL */
    const char *desc;
    BusType bus;
    DeviceCategory category;
    size_t size; /* of the struct, which begins with a Device */
    const Property *props;
    const PropertyGroup *groups; /* properties of parts (transport, virtio device), or NULL */
    const StateSection *state;   /* NULL: no state of its own */
    bool internal;               /* made by boards only: not for -device */
    bool hotpluggable;
    BusType child_bus; /* where has_child_bus: the type of the bus that realize makes */
    bool has_child_bus;
    void (*init)(Device *dev); /* after defaults, before properties are set; may be NULL */
    bool (*realize)(Device *dev, GError **error);
    void (*unrealize)(Device *dev);
    void (*reset)(Device *dev); /* to power-on values; vCPUs and I/O of the device are stopped */
    /* Stops and restarts what the device has running on its own (queues, requests): after quiesce
     * returns nothing of the device runs and its state is complete. Called on the main thread
     * around pause, save and reset. May be NULL. */
    void (*quiesce)(Device *dev);
    void (*resume)(Device *dev);
    /* The device's part of its Open Firmware path ("scsi@3", "drive@0/disk@0"), as the boot order
     * names it; new. NULL: what the bus says, or nothing. */
    char *(*firmware_name)(const Device *dev);
    /* Asks the guest to let the device go; it is deleted when the guest did. NULL: its bus asks, or
     * it goes at once. Main thread. */
    bool (*request_unplug)(Device *dev, GError **error);
    const void *ops; /* for the bus: PciDeviceClass, VirtioDeviceClass ... */
};

typedef enum DeviceStage {
    DEVICE_CREATED,
    DEVICE_REALIZED,
    DEVICE_UNREALIZED,
} DeviceStage;

struct Device {
    const DeviceClass *cls;
    char *id;         /* the user's, or NULL */
    Machine *machine; /* from realize on */
    Bus *bus;         /* from realize on */
    GPtrArray *child_buses;
    DeviceStage stage;
    int number;      /* in the path of a device without an id; set by realize */
    bool by_user;    /* made by -device or device_add; set before realize */
    bool hotplugged; /* came while the machine ran; set before realize */
    bool ejected;    /* the guest let go: not to be found any more; topology lock */
    bool broken_reported;
    int64_t leaving_until;  /* the guest was asked to let it go, on the virtual clock; 0: no */
    json_object *set_props; /* names that the user set explicitly */
    GMutex lock;            /* order: machine topology -> this -> back end */
};

/* How a bus whose devices come and go tells the guest; main thread, topology lock held. */
typedef struct BusHotplugOps {
    void (*plugged)(Bus *bus, Device *child); /* it is there, reset */
    /* Asks the guest to let the child go; device_eject() follows, or nothing. May be repeated. */
    bool (*unplug_request)(Bus *bus, Device *child, GError **error);
} BusHotplugOps;

struct Bus {
    BusType type;
    char *name;     /* unique: "pcie.0", "isa.0", "ID.0" ... */
    Device *parent; /* NULL: the machine's */
    Machine *machine;
    GPtrArray *children; /* Device * in order of realization */
    /* Finds an address for the child (e.g. a free devfn) or says why not; before the child's own
     * realize. May be NULL. */
    bool (*plug)(Bus *bus, Device *child, GError **error);
    void (*unplug)(Bus *bus, Device *child);
    /* firmware_name of children whose class has none; may be NULL. */
    char *(*firmware_name)(const Bus *bus, const Device *child);
    void *owner;  /* the bus's implementation: PciBus ... */
    bool hotplug; /* takes devices while the machine runs (vmm/device/hotplug.h) */
    const BusHotplugOps *hotplug_ops; /* NULL: a device comes and goes at once */
    void *hotplug_opaque;
    unsigned max_children; /* 0: no limit; a full bus is not found by its type */
};

/* ---- Classes ---- */
void device_classes_register(
    const DeviceClass *const *classes);                 /* NULL-terminated; main, once a table */
const DeviceClass *device_class_find(const char *name); /* by name or alias; NULL */
void device_class_foreach(void (*fn)(const DeviceClass *cls, void *opaque), void *opaque);
char *device_class_suggest(const char *name); /* the nearest name, or NULL */
const Property *device_class_find_prop(const DeviceClass *cls, const char *name, size_t *base);
/* Calls fn for each property, the class's own, then the groups'. */
void device_class_foreach_prop(const DeviceClass *cls,
                               void (*fn)(const Property *prop, size_t base, void *opaque),
                               void *opaque);
/* Lines of such help: "  NAME=<TYPE>   - DESC (default: PRESET)"; desc and preset may be NULL. New.
 */
char *help_option_line(const char *name, const char *type, const char *desc, const char *preset);
char *property_help_line(const Property *prop);
/* "TITLE options:" and the lines (new strings) in order. */
void help_options(const char *title, GPtrArray *lines, GString *out);
void device_help_list(GString *out);                          /* `-device help` */
void device_help_class(const DeviceClass *cls, GString *out); /* `-device NAME,help` */

/* -global: the value of a property in every device of the class that is made from now on; tried
 * now, so that what is wrong is said now. Main thread. */
bool device_global_add(const DeviceClass *cls, const char *property, const char *value,
                       GError **error);
void device_globals_apply(Device *dev); /* private to vmm/device */

/* What an older version of a machine had otherwise: a property's value in every device of a class
 * that is made from now on, before any -global. Rows of CPU models ("x86_64-cpu",
 * "qemu64-x86_64-cpu") are the CPU model's. */
typedef struct CompatProp {
    const char *driver; /* a class's name; NULL ends the table */
    const char *property, *value;
} CompatProp;
/* tables: from the newest version's on, so that the older one's word is the last; NULL-terminated,
 * constant; NULL: none. Main thread. */
void device_compat_set(const CompatProp *const *tables);

/* ---- Devices ---- */
Device *device_new(const DeviceClass *cls, const char *id);
/* Properties before realize (and live ones after); the string form is the command line's. */
bool device_set_prop(Device *dev, const char *name, const char *value, GError **error);
bool device_set_prop_json(Device *dev, const char *name, json_object *value, GError **error);
json_object *device_get_prop(Device *dev, const char *name, GError **error);
bool device_prop_is_set(Device *dev, const char *name); /* by the user */
/* On the bus (NULL: found by type; the machine's first that takes it). On failure the device is
 * still the caller's to free. */
bool device_realize(Device *dev, Machine *machine, Bus *bus, GError **error);
void device_unrealize(Device *dev); /* children first */
void device_free(Device *dev);      /* unrealized, or never realized; waits for dispatchers */
void device_reset(Device *dev);     /* itself, then what hangs on its buses */
/* All devices, parents first: cls->quiesce, cls->resume. Main thread. */
void devices_quiesce(Machine *machine);
void devices_resume(Machine *machine);
void device_number(Device *dev); /* private to vmm/device */
char *
device_path(const Device *dev); /* "/machine/peripheral/ID", "/machine/peripheral-anon/device[N]" of
                                   the user's, "/machine/unattached/device[N]" of the board's; or as
                                   the board's class names it */
Device *device_find(Machine *machine, const char *id_or_path); /* NULL */
void device_foreach(Machine *machine, void (*fn)(Device *dev, void *opaque),
                    void *opaque);                     /* parents first */
void device_tree_dump(Machine *machine, GString *out); /* `info qtree` */

/* A guest's fault: one line in the log the first time, then quiet. The device marks itself broken
 * besides. Any thread. */
void device_guest_error(Device *dev, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* ---- Buses ---- */
Bus *bus_new(BusType type, const char *name, Machine *machine, Device *parent);
void bus_free(Bus *bus);
Bus *bus_find(Machine *machine, const char *name);
Bus *bus_find_for(Machine *machine, BusType type); /* the first that is not full; NULL */
const char *bus_type_name(BusType type);           /* "PCI", "ISA", "System" ... */

/* ---- All devices' state in one stream; main thread, machine paused and devices quiesced ---- */
void devices_save(Machine *machine, GByteArray *out);
bool devices_load(Machine *machine, const uint8_t *data, size_t len, GError **error);

#endif
