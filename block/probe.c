/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guessing an image's format from its first bytes. Only done when the user named none; what a guest
 * can write there must never decide how its image is opened the next time (HARDENING, row 17).
 */
#include "block/internal.h"

typedef struct Signature {
    const char *format;
    unsigned offset;
    const char *bytes;
    unsigned length;
} Signature;

static const Signature signatures[] = {
    { "qcow2", 0, "QFI\xfb", 4 },
    { "qed", 0, "QED\0", 4 },
    { "vmdk", 0, "KDMV", 4 },
    { "vmdk", 0, "COWD", 4 },
    { "vmdk", 0, "# Disk DescriptorFile", 21 },
    { "vdi", 0x40, "\x7f\x10\xda\xbe", 4 },
    { "vhdx", 0, "vhdxfile", 8 },
    { "vpc", 0, "conectix", 8 },
    { "luks", 0, "LUKS\xba\xbe", 6 },
    { "parallels", 0, "WithoutFreeSpace", 16 },
    { "parallels", 0, "WithouFreSpacExt", 16 },
    { "bochs", 0, "Bochs Virtual HD Image", 22 },
    { "cloop", 0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop", 38 },
};

/* A VMDK descriptor may have comments and blank lines before its first word. */
static bool is_vmdk_text(const uint8_t *data, size_t length)
{
    static const char word[] = "# Disk DescriptorFile";
    size_t i = 0;
    while (i < length && data[i]) {
        if (length - i >= sizeof(word) - 1 && !memcmp(data + i, word, sizeof(word) - 1)) {
            return true;
        }
        bool skipped = data[i] == '#' || data[i] == '\n' || data[i] == '\r' || data[i] == ' ';
        if (!skipped && length - i >= 8 && !memcmp(data + i, "version=", 8)) {
            return true;
        }
        if (!skipped) {
            return false;
        }
        if (data[i] == '#') {
            while (i < length && data[i] != '\n') {
                i++;
            }
        }
        i++;
    }
    return false;
}

const char *block_probe_format(const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < G_N_ELEMENTS(signatures); i++) {
        const Signature *s = &signatures[i];
        if (length >= s->offset + s->length && !memcmp(data + s->offset, s->bytes, s->length)) {
            return s->format;
        }
    }
    return is_vmdk_text(data, length) ? "vmdk" : NULL;
}
