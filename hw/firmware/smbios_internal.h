/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building SMBIOS structures: between smbios.c and smbios_user.c. */
#ifndef HW_FIRMWARE_SMBIOS_INTERNAL_H
#define HW_FIRMWARE_SMBIOS_INTERNAL_H

#include "hw/firmware/smbios.h"
#include "vmm/cli/opts.h"

/* Structure types. */
enum {
    TYPE_BIOS = 0,
    TYPE_SYSTEM = 1,
    TYPE_BASEBOARD = 2,
    TYPE_CHASSIS = 3,
    TYPE_PROCESSOR = 4,
    TYPE_PORT = 8,
    TYPE_OEM_STRINGS = 11,
    TYPE_MEMORY_ARRAY = 16,
    TYPE_MEMORY_DEVICE = 17,
    TYPE_MEMORY_ARRAY_MAPPED = 19,
    TYPE_BOOT = 32,
    TYPE_ONBOARD = 41,
    TYPE_END = 127,
};

typedef struct SmbiosBuilder {
    GByteArray *out;
    Opts *options[TYPE_END + 1];  /* what -smbios type=N says, merged; owned */
    bool from_file[TYPE_END + 1]; /* the user gave structures of that type whole: none is built */
    GPtrArray *oem_strings;       /* char *, owned */
    GPtrArray *ports, *onboard;   /* Opts * of each option: a structure each */
    unsigned structures;
    guint largest;
    /* the open structure */
    guint start;
    bool skipped;
    GPtrArray *strings;
} SmbiosBuilder;

void smbios_put(SmbiosBuilder *b, uint64_t value, unsigned size);
void smbios_begin(SmbiosBuilder *b, uint8_t type, uint16_t handle);
/* A string field: its number, 0 for none. The text must live until smbios_end(). */
void smbios_put_string(SmbiosBuilder *b, const char *text);
void smbios_end(SmbiosBuilder *b);

/* What the user gives whole. */
bool smbios_add_file(SmbiosBuilder *b, Opts *options, GError **error);
bool smbios_add_oem_file(SmbiosBuilder *b, const char *path, GError **error);
bool smbios_build_ports(SmbiosBuilder *b, GError **error);
bool smbios_build_onboard(SmbiosBuilder *b, const Machine *machine, GError **error);

#endif
