/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile qcow2 image, opened and used: 16 bytes say what is done with it, the rest is the file.
 * Whatever it holds: an error, or a disk that can be closed again.
 */
#include <stdlib.h>
#include <unistd.h>
#include "block/image.h"
#include "block/internal.h"
#include "vmm/memory/rcu.h"
#include "vmm/util/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COMMANDS 16
#define MOST     (256 * KIB)

static char directory[] = "/tmp/vireo-fuzz-XXXXXX";

static void clean_up(void)
{
    unlink("q.img");
    unlink("base");
    rmdir(directory);
}

static void prepare(void)
{
    if (!mkdtemp(directory) || chdir(directory) != 0) {
        abort();
    }
    g_autofree char *base = g_malloc0(8192);
    memset(base, 0x55, 4096);
    if (!g_file_set_contents("base", base, 8192, NULL)) {
        abort();
    }
    atexit(clean_up);
    rcu_thread_register();
    event_loop_main();
}

/* Where a command's byte says, near the start, the middle or the end. */
static uint64_t pick_offset(uint64_t length, uint8_t byte)
{
    uint64_t at = byte & 0x80   ? length - MIN(length, (uint64_t)(byte & 0x3f) * 512)
                  : byte & 0x40 ? length / 2 + (byte & 0x3f) * 512
                                : (uint64_t)byte * 512;
    return MIN(at, length);
}

static void use(BlockNode *node, const uint8_t *commands)
{
    static uint8_t buffer[MOST / 4];
    uint64_t length = block_node_length(node);
    for (int i = 0; i + 1 < COMMANDS; i += 2) {
        BlockStatus status;
        uint64_t offset = pick_offset(length, commands[i]);
        uint64_t bytes = MIN((uint64_t)(1 + (commands[i + 1] >> 3)) * 1536, length - offset);
        switch (commands[i + 1] & 7) {
        case 0:
            block_pwrite(node, offset, buffer, bytes);
            break;
        case 1:
            block_pwrite_zeroes(node, offset, bytes, BLOCK_REQ_UNMAP);
            break;
        case 2:
            block_discard(node, offset, bytes);
            break;
        case 3:
            block_flush(node);
            break;
        case 4:
            block_status(node, offset, bytes, &status);
            break;
        case 5:
            block_pwrite_compressed(node, offset, buffer, bytes);
            break;
        default:
            block_pread(node, offset, buffer, bytes);
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool prepared;
    if (!prepared) {
        prepare();
        prepared = true;
    }
    if (size < COMMANDS || size > MOST ||
        memchr(data + COMMANDS, '/', MIN(size - COMMANDS, 2048))) {
        return 0; /* no way out of the directory */
    }
    if (!g_file_set_contents("q.img", (const char *)data + COMMANDS, (gssize)(size - COMMANDS),
                             NULL)) {
        abort();
    }
    BlockOpenMode mode = { .writable = !(data[0] & 1), .discard = true };
    BlockNode *node = block_image_open("q.img", "qcow2", NULL, &mode, NULL);
    if (node) {
        BlockImageInfo info = { 0 };
        block_node_image_ops(node)->info(node, &info);
        json_object_put(info.specific);
        use(node, data);
        block_node_unref(node);
    }
    return 0;
}
