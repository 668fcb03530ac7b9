/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table loader's script. */
#include "hw/firmware/table_loader.h"

#include <string.h>
#include "hw/firmware/fw_cfg.h"
#include "vmm/util/bytes.h"

#define COMMAND_SIZE 128

enum {
    COMMAND_ALLOCATE = 1,
    COMMAND_ADD_POINTER = 2,
    COMMAND_ADD_CHECKSUM = 3,
    COMMAND_WRITE_POINTER = 4,
};

/* A command of zeroes with its number and first file name; the arguments follow at +60. */
static uint8_t *command(GByteArray *script, uint32_t number, const char *file)
{
    guint start = script->len;
    g_assert(strlen(file) < FW_CFG_NAME_SIZE);
    g_byte_array_set_size(script, start + COMMAND_SIZE);
    uint8_t *entry = script->data + start;
    memset(entry, 0, COMMAND_SIZE);
    store_le32(entry, number);
    memcpy(entry + 4, file, strlen(file));
    return entry + 4 + FW_CFG_NAME_SIZE;
}

void loader_allocate(GByteArray *script, const char *file, uint32_t align, LoaderZone zone)
{
    uint8_t *args = command(script, COMMAND_ALLOCATE, file);
    store_le32(args, align);
    args[4] = zone;
}

static uint8_t *pointer_command(GByteArray *script, uint32_t number, const char *file,
                                const char *source)
{
    uint8_t *args = command(script, number, file);
    g_assert(strlen(source) < FW_CFG_NAME_SIZE);
    memcpy(args, source, strlen(source));
    return args + FW_CFG_NAME_SIZE;
}

void loader_add_pointer(GByteArray *script, const char *file, const char *source, uint32_t offset,
                        uint8_t size)
{
    uint8_t *args = pointer_command(script, COMMAND_ADD_POINTER, file, source);
    store_le32(args, offset);
    args[4] = size;
}

void loader_add_checksum(GByteArray *script, const char *file, uint32_t offset, uint32_t start,
                         uint32_t length)
{
    uint8_t *args = command(script, COMMAND_ADD_CHECKSUM, file);
    store_le32(args, offset);
    store_le32(args + 4, start);
    store_le32(args + 8, length);
}

void loader_write_pointer(GByteArray *script, const char *file, const char *source, uint32_t offset,
                          uint32_t source_offset, uint8_t size)
{
    uint8_t *args = pointer_command(script, COMMAND_WRITE_POINTER, file, source);
    store_le32(args, offset);
    store_le32(args + 4, source_offset);
    args[8] = size;
}
