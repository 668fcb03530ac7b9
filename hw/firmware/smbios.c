/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS tables. */
#include "hw/firmware/smbios_internal.h"

#include <stdio.h>
#include <string.h>
#include "vmm/cli/opts.h"
#include "vmm/machine/accel.h"
#include "vmm/util/bytes.h"

#define ENTRY_21_SIZE     31
#define ENTRY_30_SIZE     24
#define ENTRY_30_OFFSET   32
#define TABLES_OFFSET     64
#define MAX_STRING        1024
#define DEFAULT_CPU_MHZ   2000       /* as QEMU says */
#define MEMORY_DEVICE_MAX (16 * GIB) /* size of one DIMM, as QEMU's machines split memory */

/* The string of an option of that type, or the default. */
static void put_option(SmbiosBuilder *b, uint8_t type, const char *key, const char *def)
{
    const char *value = b->options[type] ? opts_get(b->options[type], key) : NULL;
    smbios_put_string(b, value ? value : def);
}

/* ---- Options ---- */

typedef struct TypeOptions {
    uint8_t type;
    const char *const *keys;
} TypeOptions;

static const char *const bios_keys[] = { "type",    "vendor", "version", "date",
                                         "release", "uefi",   NULL };
static const char *const system_keys[] = { "type", "manufacturer", "product", "version", "serial",
                                           "uuid", "sku",          "family",  NULL };
static const char *const baseboard_keys[] = { "type",   "manufacturer", "product",  "version",
                                              "serial", "asset",        "location", NULL };
static const char *const chassis_keys[] = { "type",  "manufacturer", "version", "serial",
                                            "asset", "sku",          NULL };
static const char *const processor_keys[] = { "type",         "sock_pfx",  "manufacturer",
                                              "version",      "serial",    "asset",
                                              "part",         "max-speed", "current-speed",
                                              "processor-id", NULL };
static const char *const oem_keys[] = { "type", "value", "path", NULL };
static const char *const memory_keys[] = { "type",         "loc_pfx", "bank",
                                           "manufacturer", "serial",  "asset",
                                           "part",         "speed",   NULL };

static const TypeOptions type_options[] = {
    { TYPE_BIOS, bios_keys },
    { TYPE_SYSTEM, system_keys },
    { TYPE_BASEBOARD, baseboard_keys },
    { TYPE_CHASSIS, chassis_keys },
    { TYPE_PROCESSOR, processor_keys },
    { TYPE_OEM_STRINGS, oem_keys },
    { TYPE_MEMORY_DEVICE, memory_keys },
};

typedef struct Merge {
    SmbiosBuilder *builder;
    const TypeOptions *type;
    GError **error;
    bool ok;
} Merge;

static void merge_key(const char *key, const char *value, void *opaque)
{
    Merge *merge = opaque;
    SmbiosBuilder *b = merge->builder;
    if (!merge->ok) {
        return;
    }
    if (!g_strv_contains(merge->type->keys, key)) {
        g_autofree char *near = suggest_nearest(key, merge->type->keys);
        merge->ok = error_set(merge->error, "-smbios type=%u: unknown option '%s'%s%s%s",
                              merge->type->type, key, near ? " (did you mean '" : "",
                              near ? near : "", near ? "'?)" : "");
    } else if (strlen(value) > MAX_STRING) {
        merge->ok = error_set(merge->error,
                              "-smbios type=%u: the value of '%s' is longer than %d bytes",
                              merge->type->type, key, MAX_STRING);
    } else if (merge->type->type == TYPE_OEM_STRINGS && g_str_equal(key, "value")) {
        g_ptr_array_add(b->oem_strings, g_strdup(value));
    } else if (merge->type->type == TYPE_OEM_STRINGS && g_str_equal(key, "path")) {
        merge->ok = smbios_add_oem_file(b, value, merge->error);
    } else {
        opts_set(b->options[merge->type->type], key, value);
    }
}

static bool merge_options(SmbiosBuilder *b, Opts *options, GError **error)
{
    uint64_t type = 0;
    if (opts_has(options, "file")) {
        return smbios_add_file(b, options, error);
    }
    if (!opts_has(options, "type")) {
        return error_set(error, "-smbios: type=N or file=FILE is missing");
    }
    if (!opts_get_uint(options, "type", TYPE_END, &type, error)) {
        g_prefix_error(error, "-smbios: ");
        return false;
    }
    if (type == TYPE_PORT || type == TYPE_ONBOARD) {
        g_ptr_array_add(type == TYPE_PORT ? b->ports : b->onboard, options);
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(type_options); i++) {
        if (type_options[i].type == type) {
            if (b->from_file[type]) {
                return error_set(error,
                                 "-smbios type=%u: a file= gave that structure whole; leave one of "
                                 "them out",
                                 (unsigned)type);
            }
            Merge merge = { b, &type_options[i], error, true };
            b->options[type] = b->options[type] ? b->options[type] : opts_new();
            opts_foreach_all(options, merge_key, &merge);
            return merge.ok;
        }
    }
    return error_set(error,
                     "-smbios: type=%u: Vireo has fields for types 0, 1, 2, 3, 4, 8, 11, 17 "
                     "and 41",
                     (unsigned)type);
}

/* ---- The structures ---- */

static bool build_bios(SmbiosBuilder *b, GError **error)
{
    Opts *options = b->options[TYPE_BIOS];
    unsigned major = 0, minor = 0;
    const char *release = options ? opts_get(options, "release") : NULL;
    if (release && (sscanf(release, "%u.%u", &major, &minor) != 2 || major > 255 || minor > 255)) {
        return error_set(
            error, "-smbios type=0: Invalid release '%s' (MAJOR.MINOR, at most 255.255)", release);
    }
    bool uefi = false;
    if (options && !opts_get_bool(options, "uefi", &uefi, error)) {
        return false;
    }
    smbios_begin(b, TYPE_BIOS, 0x0000);
    put_option(b, TYPE_BIOS, "vendor", "Vireo");
    put_option(b, TYPE_BIOS, "version", "direct boot");
    smbios_put(b, 0xe800, 2); /* start segment */
    put_option(b, TYPE_BIOS, "date", "04/01/2014");
    smbios_put(b, 0, 1);      /* 64 KiB ROM */
    smbios_put(b, 1 << 3, 8); /* characteristics: not supported */
    smbios_put(b, 0, 1);
    smbios_put(b, 0x14 | (uefi ? 0x8 : 0), 1); /* targeted content, virtual machine, UEFI */
    smbios_put(b, release ? major : 0, 1);
    smbios_put(b, release ? minor : 0, 1);
    smbios_put(b, 0xffff, 2); /* no embedded controller */
    smbios_end(b);
    return true;
}

/* The UUID of -uuid or -smbios type=1,uuid=, first three fields little-endian (7.2.1). */
static bool put_uuid(SmbiosBuilder *b, const MachineConfig *config, GError **error)
{
    static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
    uint8_t uuid[16] = { 0 };
    Opts *options = b->options[TYPE_SYSTEM];
    const char *text = options ? opts_get(options, "uuid") : NULL;
    if (text && !g_uuid_string_is_valid(text)) {
        return error_set(error, "-smbios type=1: Invalid UUID '%s'", text);
    }
    if (text) {
        unsigned byte = 0;
        for (const char *p = text; *p && byte < 16; p++) {
            if (*p != '-') {
                uuid[byte++] =
                    (uint8_t)(g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1]));
                p++;
            }
        }
    } else if (config->has_uuid) {
        memcpy(uuid, config->uuid, sizeof(uuid));
    }
    for (size_t i = 0; i < sizeof(uuid); i++) {
        smbios_put(b, uuid[order[i]], 1);
    }
    return true;
}

static bool build_system(SmbiosBuilder *b, const MachineConfig *config, const char *product,
                         const char *version, GError **error)
{
    smbios_begin(b, TYPE_SYSTEM, 0x0100);
    put_option(b, TYPE_SYSTEM, "manufacturer", "QEMU");
    put_option(b, TYPE_SYSTEM, "product", product);
    put_option(b, TYPE_SYSTEM, "version", version);
    put_option(b, TYPE_SYSTEM, "serial", NULL);
    bool ok = put_uuid(b, config, error);
    smbios_put(b, 6, 1); /* woken by the power switch */
    put_option(b, TYPE_SYSTEM, "sku", NULL);
    put_option(b, TYPE_SYSTEM, "family", NULL);
    smbios_end(b);
    return ok;
}

static void build_baseboard(SmbiosBuilder *b)
{
    if (!b->options[TYPE_BASEBOARD]) {
        return;
    }
    smbios_begin(b, TYPE_BASEBOARD, 0x0200);
    put_option(b, TYPE_BASEBOARD, "manufacturer", "QEMU");
    put_option(b, TYPE_BASEBOARD, "product", NULL);
    put_option(b, TYPE_BASEBOARD, "version", NULL);
    put_option(b, TYPE_BASEBOARD, "serial", NULL);
    put_option(b, TYPE_BASEBOARD, "asset", NULL);
    smbios_put(b, 1, 1); /* hosting board */
    put_option(b, TYPE_BASEBOARD, "location", NULL);
    smbios_put(b, 0x0300, 2);
    smbios_put(b, 0x0a, 1); /* motherboard */
    smbios_put(b, 0, 1);
    smbios_end(b);
}

static void build_chassis(SmbiosBuilder *b, const char *version)
{
    smbios_begin(b, TYPE_CHASSIS, 0x0300);
    put_option(b, TYPE_CHASSIS, "manufacturer", "QEMU");
    smbios_put(b, 1, 1); /* type: other */
    put_option(b, TYPE_CHASSIS, "version", version);
    put_option(b, TYPE_CHASSIS, "serial", NULL);
    put_option(b, TYPE_CHASSIS, "asset", NULL);
    smbios_put(b, 3, 1); /* states: safe */
    smbios_put(b, 3, 1);
    smbios_put(b, 3, 1);
    smbios_put(b, 2, 1); /* security: unknown */
    smbios_put(b, 0, 4);
    smbios_put(b, 0, 4); /* height, cords, contained elements */
    put_option(b, TYPE_CHASSIS, "sku", NULL);
    smbios_end(b);
}

typedef struct ProcessorNumbers {
    uint64_t max_speed, current_speed; /* MHz */
    uint64_t id;                       /* CPUID leaf 1: EAX, EDX */
} ProcessorNumbers;

static bool processor_numbers(SmbiosBuilder *b, const Machine *machine, ProcessorNumbers *out,
                              GError **error)
{
    Opts *options = b->options[TYPE_PROCESSOR];
    const AccelOps *accel = machine->accel;
    *out = (ProcessorNumbers){ DEFAULT_CPU_MHZ, DEFAULT_CPU_MHZ,
                               accel && accel->processor_id ? accel->processor_id(machine) : 0 };
    if (options &&
        (!opts_get_uint(options, "max-speed", UINT16_MAX, &out->max_speed, error) ||
         !opts_get_uint(options, "current-speed", UINT16_MAX, &out->current_speed, error) ||
         !opts_get_uint(options, "processor-id", UINT64_MAX, &out->id, error))) {
        g_prefix_error(error, "-smbios type=4: ");
        return false;
    }
    return true;
}

static void build_processor(SmbiosBuilder *b, const SmpConfig *smp, unsigned socket,
                            const char *version, const ProcessorNumbers *numbers)
{
    unsigned cores = MIN(smp->cores * smp->dies, 0xffffU);
    unsigned threads = MIN(cores * smp->threads, 0xffffU);
    Opts *options = b->options[TYPE_PROCESSOR];
    const char *prefix = options ? opts_get(options, "sock_pfx") : NULL;
    g_autofree char *name = g_strdup_printf("%s %u", prefix ? prefix : "CPU", socket);
    smbios_begin(b, TYPE_PROCESSOR, (uint16_t)(0x0400 + socket));
    smbios_put_string(b, name);
    smbios_put(b, 3, 1);    /* central processor */
    smbios_put(b, 0x01, 1); /* family: other */
    put_option(b, TYPE_PROCESSOR, "manufacturer", "QEMU");
    smbios_put(b, numbers->id, 8);
    put_option(b, TYPE_PROCESSOR, "version", version);
    smbios_put(b, 0, 1); /* voltage */
    smbios_put(b, 0, 2); /* external clock: unknown */
    smbios_put(b, numbers->max_speed, 2);
    smbios_put(b, numbers->current_speed, 2);
    smbios_put(b, 0x41, 1);   /* populated, enabled */
    smbios_put(b, 1, 1);      /* upgrade: other */
    smbios_put(b, 0xffff, 2); /* no cache structures */
    smbios_put(b, 0xffff, 2);
    smbios_put(b, 0xffff, 2);
    put_option(b, TYPE_PROCESSOR, "serial", NULL);
    put_option(b, TYPE_PROCESSOR, "asset", NULL);
    put_option(b, TYPE_PROCESSOR, "part", NULL);
    smbios_put(b, MIN(cores, 0xffU), 1);
    smbios_put(b, MIN(cores, 0xffU), 1);
    smbios_put(b, MIN(threads, 0xffU), 1);
    smbios_put(b, 2, 2); /* characteristics: unknown */
    smbios_put(b, 1, 2); /* family 2: other */
    smbios_put(b, cores, 2);
    smbios_put(b, cores, 2);
    smbios_put(b, threads, 2);
    smbios_end(b);
}

static void build_oem_strings(SmbiosBuilder *b)
{
    if (b->oem_strings->len) {
        smbios_begin(b, TYPE_OEM_STRINGS, 0x0e00);
        smbios_put(b, MIN(b->oem_strings->len, 0xffU), 1);
        for (guint i = 0; i < MIN(b->oem_strings->len, 0xffU); i++) {
            g_ptr_array_add(b->strings, g_ptr_array_index(b->oem_strings, i));
        }
        smbios_end(b);
    }
}

/* -smbios type=17,speed=: MT/s, 0 when not said. */
static bool memory_speed(SmbiosBuilder *b, uint64_t *speed, GError **error)
{
    Opts *options = b->options[TYPE_MEMORY_DEVICE];
    if (options && !opts_get_uint(options, "speed", UINT16_MAX, speed, error)) {
        g_prefix_error(error, "-smbios type=17: ");
        return false;
    }
    return true;
}

static void build_memory_device(SmbiosBuilder *b, unsigned index, uint64_t size, uint64_t speed)
{
    Opts *options = b->options[TYPE_MEMORY_DEVICE];
    const char *prefix = options ? opts_get(options, "loc_pfx") : NULL;
    g_autofree char *locator = g_strdup_printf("%s %u", prefix ? prefix : "DIMM", index);
    uint64_t mib = size / MIB;
    smbios_begin(b, TYPE_MEMORY_DEVICE, (uint16_t)(0x1100 + index));
    smbios_put(b, 0x1000, 2);
    smbios_put(b, 0xfffe, 2); /* no error information */
    smbios_put(b, 0xffff, 2); /* widths: unknown */
    smbios_put(b, 0xffff, 2);
    smbios_put(b, mib < 0x7fff ? mib : 0x7fff, 2);
    smbios_put(b, 9, 1); /* DIMM */
    smbios_put(b, 0, 1);
    smbios_put_string(b, locator);
    put_option(b, TYPE_MEMORY_DEVICE, "bank", NULL);
    smbios_put(b, 7, 1); /* RAM */
    smbios_put(b, 2, 2); /* other */
    smbios_put(b, speed, 2);
    put_option(b, TYPE_MEMORY_DEVICE, "manufacturer", "QEMU");
    put_option(b, TYPE_MEMORY_DEVICE, "serial", NULL);
    put_option(b, TYPE_MEMORY_DEVICE, "asset", NULL);
    put_option(b, TYPE_MEMORY_DEVICE, "part", NULL);
    smbios_put(b, 0, 1);
    smbios_put(b, mib < 0x7fff ? 0 : mib, 4);
    smbios_put(b, speed, 2);
    smbios_put(b, 0, 6); /* voltages: unknown */
    smbios_end(b);
}

static void build_memory_range(SmbiosBuilder *b, unsigned index, uint64_t start, uint64_t size)
{
    bool wide = (start + size - 1) / KIB >= UINT32_MAX;
    smbios_begin(b, TYPE_MEMORY_ARRAY_MAPPED, (uint16_t)(0x1300 + index));
    smbios_put(b, wide ? UINT32_MAX : start / KIB, 4);
    smbios_put(b, wide ? UINT32_MAX : (start + size - 1) / KIB, 4);
    smbios_put(b, 0x1000, 2);
    smbios_put(b, 1, 1);
    smbios_put(b, wide ? start : 0, 8);
    smbios_put(b, wide ? start + size - 1 : 0, 8);
    smbios_end(b);
}

static void build_memory(SmbiosBuilder *b, const Machine *machine, uint64_t speed)
{
    uint64_t total = machine->config->ram_size;
    unsigned dimms = (unsigned)MIN(ALIGN_UP(total, MEMORY_DEVICE_MAX) / MEMORY_DEVICE_MAX, 512U);
    uint64_t kib = total / KIB;
    smbios_begin(b, TYPE_MEMORY_ARRAY, 0x1000);
    smbios_put(b, 1, 1); /* location: other */
    smbios_put(b, 3, 1); /* system memory */
    smbios_put(b, 6, 1); /* multi-bit ECC */
    smbios_put(b, kib < 0x80000000U ? kib : 0x80000000U, 4);
    smbios_put(b, 0xfffe, 2);
    smbios_put(b, dimms, 2);
    smbios_put(b, kib < 0x80000000U ? 0 : total, 8);
    smbios_end(b);
    for (unsigned i = 0; i < dimms; i++) {
        uint64_t start = i * MEMORY_DEVICE_MAX;
        uint64_t size = i + 1 < dimms ? MEMORY_DEVICE_MAX : total - start;
        build_memory_device(b, i, size, speed);
    }
    build_memory_range(b, 0, 0, machine->ram_below_4g);
    if (machine->ram_above_4g) {
        build_memory_range(b, 1, 4 * GIB, machine->ram_above_4g);
    }
}

static void build_ending(SmbiosBuilder *b)
{
    smbios_begin(b, TYPE_BOOT, 0x2000);
    smbios_put(b, 0, 6);
    smbios_put(b, 0, 1); /* no errors detected */
    smbios_end(b);
    smbios_begin(b, TYPE_END, 0x7f00);
    smbios_end(b);
}

/* ---- Entry points (5.2) ---- */

static uint8_t negated_sum(const uint8_t *data, size_t len)
{
    uint8_t total = 0;
    for (size_t i = 0; i < len; i++) {
        total = (uint8_t)(total + data[i]);
    }
    return (uint8_t)-total;
}

static void write_entry_21(const SmbiosBuilder *b, uint8_t *p, uint64_t base, uint32_t len)
{
    memset(p, 0, ENTRY_21_SIZE);
    memcpy(p, "_SM_", 4);
    p[5] = ENTRY_21_SIZE;
    p[6] = 2;
    p[7] = 8;
    store_le16(p + 8, (uint16_t)b->largest);
    memcpy(p + 16, "_DMI_", 5);
    store_le16(p + 22, (uint16_t)len);
    store_le32(p + 24, (uint32_t)base);
    store_le16(p + 28, (uint16_t)b->structures);
    p[30] = 0x28;
    p[21] = negated_sum(p + 16, 15);
    p[4] = negated_sum(p, ENTRY_21_SIZE);
}

static void write_entry_30(uint8_t *p, uint64_t base, uint32_t len)
{
    memset(p, 0, ENTRY_30_SIZE);
    memcpy(p, "_SM3_", 5);
    p[6] = ENTRY_30_SIZE;
    p[7] = 3;
    p[10] = 1; /* entry point revision */
    store_le32(p + 12, len);
    store_le64(p + 16, base);
    p[5] = negated_sum(p, ENTRY_30_SIZE);
}

static bool build_tables(SmbiosBuilder *b, const Machine *machine, const char *product,
                         const char *version, GError **error)
{
    const SmpConfig *smp = &machine->config->smp;
    unsigned sockets = (smp->cpus + smp->dies * smp->cores * smp->threads - 1) /
                       (smp->dies * smp->cores * smp->threads);
    uint64_t speed = 0;
    ProcessorNumbers numbers;
    if (!memory_speed(b, &speed, error) || !processor_numbers(b, machine, &numbers, error) ||
        !build_system(b, machine->config, product, version, error)) {
        return false;
    }
    build_baseboard(b);
    build_chassis(b, version);
    for (unsigned i = 0; i < sockets; i++) {
        build_processor(b, smp, i, version, &numbers);
    }
    if (!smbios_build_ports(b, error) || !smbios_build_onboard(b, machine, error)) {
        return false;
    }
    build_oem_strings(b);
    build_memory(b, machine, speed);
    build_ending(b);
    return true;
}

static bool builder_init(SmbiosBuilder *b, const Machine *machine, guint room_in_front,
                         GError **error)
{
    bool ok = true;
    *b = (SmbiosBuilder){ .out = g_byte_array_new(),
                          .oem_strings = g_ptr_array_new_with_free_func(g_free),
                          .ports = g_ptr_array_new(),
                          .onboard = g_ptr_array_new() };
    g_byte_array_set_size(b->out, room_in_front);
    if (room_in_front) {
        memset(b->out->data, 0, room_in_front);
    }
    const GPtrArray *given = machine->config->smbios;
    for (guint i = 0; ok && given && i < given->len; i++) {
        ok = merge_options(b, g_ptr_array_index(given, i), error);
    }
    return ok;
}

/* Returns what was built, or NULL. */
static GByteArray *builder_clear(SmbiosBuilder *b, bool ok)
{
    if (!ok) {
        g_clear_pointer(&b->out, g_byte_array_unref);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(b->options); i++) {
        opts_free(b->options[i]);
    }
    g_ptr_array_unref(b->oem_strings);
    g_ptr_array_unref(b->ports);
    g_ptr_array_unref(b->onboard);
    return b->out;
}

GByteArray *smbios_build(const Machine *machine, const char *product, const char *version,
                         uint64_t base, uint64_t room, GError **error)
{
    SmbiosBuilder b;
    bool ok = builder_init(&b, machine, TABLES_OFFSET, error) && build_bios(&b, error) &&
              build_tables(&b, machine, product, version, error);
    if (ok && b.out->len > room) {
        ok = error_set(error,
                       "-smbios: the tables take %u bytes; there is room for %" G_GUINT64_FORMAT,
                       b.out->len, room);
    }
    if (ok) {
        uint32_t len = b.out->len - TABLES_OFFSET;
        write_entry_21(&b, b.out->data, base + TABLES_OFFSET, len);
        write_entry_30(b.out->data + ENTRY_30_OFFSET, base + TABLES_OFFSET, len);
    }
    return builder_clear(&b, ok);
}

GByteArray *smbios_build_files(const Machine *machine, const char *product, const char *version,
                               bool entry64, GByteArray *anchor, GError **error)
{
    SmbiosBuilder b;
    bool ok = builder_init(&b, machine, 0, error) &&
              (!b.options[TYPE_BIOS] || build_bios(&b, error)) &&
              build_tables(&b, machine, product, version, error);
    if (ok && !entry64 && b.out->len > UINT16_MAX) {
        ok = error_set(error,
                       "-smbios: the tables take %u bytes, more than the 65535 of a 32-bit entry "
                       "point; -machine smbios-entry-point-type=64 has room for them",
                       b.out->len);
    }
    if (ok) {
        g_byte_array_set_size(anchor, entry64 ? ENTRY_30_SIZE : ENTRY_21_SIZE);
        if (entry64) {
            write_entry_30(anchor->data, 0, b.out->len);
        } else {
            write_entry_21(&b, anchor->data, 0, b.out->len);
        }
    }
    return builder_clear(&b, ok);
}
