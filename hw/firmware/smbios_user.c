/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS: writing structures, and those that the user gives whole: binary files, ports, onboard
 * devices, OEM strings from files. */
#include <string.h>
#include "hw/firmware/smbios_internal.h"
#include "hw/pci/pci.h"
#include "vmm/boot/boot.h"
#include "vmm/util/bytes.h"

#define HEADER_SIZE   4
#define MAX_FILE      (64 * KIB - 1)
#define MAX_OEM_FILE  4096
#define ONBOARD_FIRST 0x2900 /* handles */
#define PORT_FIRST    0x0800
#define DEVICE_ON     0x80
#define NO_PCI_BUS    0xff

/* ---- Structures ---- */

void smbios_put(SmbiosBuilder *b, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    g_byte_array_append(b->out, bytes, size);
}

void smbios_begin(SmbiosBuilder *b, uint8_t type, uint16_t handle)
{
    b->start = b->out->len;
    b->skipped = b->from_file[type];
    b->strings = g_ptr_array_new();
    smbios_put(b, type, 1);
    smbios_put(b, 0, 1); /* length, set by smbios_end() */
    smbios_put(b, handle, 2);
}

void smbios_put_string(SmbiosBuilder *b, const char *text)
{
    if (text && *text) {
        g_ptr_array_add(b->strings, (char *)text);
    }
    smbios_put(b, text && *text ? b->strings->len : 0, 1);
}

void smbios_end(SmbiosBuilder *b)
{
    b->out->data[b->start + 1] = (uint8_t)(b->out->len - b->start);
    for (guint i = 0; i < b->strings->len; i++) {
        const char *text = g_ptr_array_index(b->strings, i);
        g_byte_array_append(b->out, (const guint8 *)text, (guint)strlen(text) + 1);
    }
    smbios_put(b, 0, b->strings->len ? 1 : 2);
    g_ptr_array_unref(b->strings);
    if (b->skipped) {
        g_byte_array_set_size(b->out, b->start);
        return;
    }
    b->largest = MAX(b->largest, b->out->len - b->start);
    b->structures++;
}

/* ---- file= ---- */

/* Whether [data, data + len) is one structure: its formatted part, then strings that end with an
 * empty one at the very end. */
static bool is_structure(const uint8_t *data, size_t len)
{
    if (len < HEADER_SIZE + 2 || data[1] < HEADER_SIZE || data[1] > len - 2 || data[len - 1] != 0 ||
        data[len - 2] != 0) {
        return false;
    }
    for (size_t at = data[1]; at + 2 < len; at++) {
        if (data[at] == 0 && data[at + 1] == 0) {
            return false;
        }
    }
    return true;
}

bool smbios_add_file(SmbiosBuilder *b, Opts *options, GError **error)
{
    static const char *const known[] = { "file", NULL };
    const char *path = opts_get(options, "file");
    size_t len;

    if (!opts_check_unused(options, "-smbios", known, error)) {
        return false;
    }
    g_autofree uint8_t *data = boot_data_read(path, MAX_FILE, &len, error);
    if (!data) {
        g_prefix_error(error, "-smbios file=%s: ", path);
        return false;
    }
    if (!is_structure(data, len) || data[0] >= TYPE_END) {
        return error_set(error,
                         "-smbios file=%s: it is not one SMBIOS structure: a header with its "
                         "length, fields, strings, and two zero bytes at the end",
                         path);
    }
    if (b->options[data[0]]) {
        return error_set(error,
                         "-smbios file=%s: it is of type %u, of which fields are given by type=%u "
                         "too; leave one of them out",
                         path, data[0], data[0]);
    }
    b->from_file[data[0]] = true;
    g_byte_array_append(b->out, data, (guint)len);
    b->largest = MAX(b->largest, (guint)len);
    b->structures++;
    return true;
}

/* ---- type=11,path= ---- */

bool smbios_add_oem_file(SmbiosBuilder *b, const char *path, GError **error)
{
    size_t len;
    g_autofree uint8_t *data = boot_data_read(path, MAX_OEM_FILE, &len, error);

    if (!data) {
        g_prefix_error(error, "-smbios type=11: path=%s: ", path);
        return false;
    }
    if (memchr(data, 0, len)) {
        return error_set(error, "-smbios type=11: path=%s: a zero byte cannot be part of a string",
                         path);
    }
    g_ptr_array_add(b->oem_strings, g_strndup((char *)data, len));
    return true;
}

/* ---- type=8 ---- */

bool smbios_build_ports(SmbiosBuilder *b, GError **error)
{
    static const char *const known[] = {
        "type", "internal_reference", "external_reference", "connector_type", "port_type", NULL
    };
    for (guint i = 0; i < b->ports->len; i++) {
        Opts *options = g_ptr_array_index(b->ports, i);
        uint64_t connector = 0, port = 0;
        opts_get(options, "type");
        const char *internal = opts_get(options, "internal_reference");
        const char *external = opts_get(options, "external_reference");
        if (!opts_get_uint(options, "connector_type", UINT8_MAX, &connector, error) ||
            !opts_get_uint(options, "port_type", UINT8_MAX, &port, error) ||
            !opts_check_unused(options, "-smbios type=8", known, error)) {
            return false;
        }
        smbios_begin(b, TYPE_PORT, (uint16_t)(PORT_FIRST + i));
        smbios_put_string(b, internal);
        smbios_put(b, 0, 1); /* internal connector: none */
        smbios_put_string(b, external);
        smbios_put(b, connector, 1);
        smbios_put(b, port, 1);
        smbios_end(b);
    }
    return true;
}

/* ---- type=41 ---- */

static bool find_pci(const Machine *machine, const char *id, uint8_t *bus, uint8_t *devfn,
                     GError **error)
{
    Device *dev = device_find((Machine *)machine, id);

    if (!dev || dev->cls->bus != BUS_PCI) {
        return error_set(error, "-smbios type=41: pcidev=%s: %s", id,
                         dev ? "the device is not on a PCI bus" : "there is no such device");
    }
    const PciDevice *pci = (const PciDevice *)dev;
    if (pci->bus != pci->root) {
        return error_set(error,
                         "-smbios type=41: pcidev=%s: it is behind a bridge, whose bus number "
                         "firmware chooses; only devices of the root bus can be named",
                         id);
    }
    *bus = 0;
    *devfn = (uint8_t)pci->devfn;
    return true;
}

static bool build_onboard(SmbiosBuilder *b, const Machine *machine, Opts *options, guint index,
                          GError **error)
{
    static const char *const known[] = {
        "type", "designation", "kind", "instance", "pcidev", NULL
    };
    static const char *const kinds[] = { "invalid", "other",    "unknown",   "video",
                                         "scsi",    "ethernet", "tokenring", "sound",
                                         "pata",    "sata",     "sas",       NULL };
    uint64_t instance = 1;
    int kind = 0;
    uint8_t bus = NO_PCI_BUS, devfn = 0xff;
    opts_get(options, "type");
    const char *designation = opts_get(options, "designation"), *id = opts_get(options, "pcidev");

    if (!opts_get_enum(options, "kind", kinds, &kind, error) ||
        !opts_get_uint(options, "instance", UINT8_MAX, &instance, error) ||
        !opts_check_unused(options, "-smbios type=41", known, error) ||
        (id && !find_pci(machine, id, &bus, &devfn, error))) {
        return false;
    }
    if (!designation || kind == 0) {
        return error_set(error, "-smbios type=41: %s= is missing",
                         designation ? "kind" : "designation");
    }
    smbios_begin(b, TYPE_ONBOARD, (uint16_t)(ONBOARD_FIRST + index));
    smbios_put_string(b, designation);
    smbios_put(b, (unsigned)kind | DEVICE_ON, 1);
    smbios_put(b, instance, 1);
    smbios_put(b, 0, 2); /* segment */
    smbios_put(b, bus, 1);
    smbios_put(b, devfn, 1);
    smbios_end(b);
    return true;
}

bool smbios_build_onboard(SmbiosBuilder *b, const Machine *machine, GError **error)
{
    for (guint i = 0; i < b->onboard->len; i++) {
        if (!build_onboard(b, machine, g_ptr_array_index(b->onboard, i), i, error)) {
            return false;
        }
    }
    return true;
}
