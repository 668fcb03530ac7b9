/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS headers: any file opens or is refused; what opens can be described, read, written, and given
 * another key slot. The first byte's lowest bit mends what costs time by design: numbers of
 * iterations and stripes. A header that asks for more of these is opened without unlocking it.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "block/crypto/luks.h"
#include "config.h"
#include "vmm/object/object.h"
#include "vmm/util/bytes.h"

#define FILE_BYTES     (64 * KIB)
#define MAX_ITERATIONS 1000
#define MAX_STRIPES    40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *folder, *path;

static void stop(void)
{
    block_close_all();
    objects_delete_all();
    g_unlink(path);
    g_rmdir(folder);
}

static void start(void)
{
    folder = g_dir_make_tmp("fuzz-luks-XXXXXX", NULL);
    path = g_build_filename(folder, "image", NULL);
    event_loop_main();
    if (!folder || !object_create_from_text("secret,id=s,data=password", NULL)) {
        abort();
    }
    atexit(stop);
}

/* The fields of section "PHDR layout" whose work is theirs to say. */
static void mend(uint8_t *header)
{
    store_be32(header + 164, load_be32(header + 164) % MAX_ITERATIONS);
    for (unsigned slot = 0; slot < LUKS_SLOTS; slot++) {
        uint8_t *p = header + 208 + slot * 48;
        store_be32(p + 4, load_be32(p + 4) % MAX_ITERATIONS);
        store_be32(p + 44, load_be32(p + 44) % MAX_STRIPES);
    }
}

static bool is_cheap(const uint8_t *header)
{
    LuksHeader h;
    if (!luks_parse(&h, header, FILE_BYTES, NULL)) {
        return true;
    }
    uint64_t work = h.digest_iterations;
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        work += h.slots[i].active ? h.slots[i].iterations + h.slots[i].stripes : 0;
    }
    return work <= 20 * MAX_ITERATIONS;
}

static void write_file(const uint8_t *image)
{
    int fd = g_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, image, FILE_BYTES) != FILE_BYTES) {
        abort();
    }
    close(fd);
}

static void use(BlockNode *node, bool unlocked)
{
    uint8_t data[3000] = { 1 };
    uint64_t length = block_node_length(node), bytes = MIN(length, sizeof(data));
    const BlockImageOps *ops = block_node_image_ops(node);
    BlockImageInfo info = { 0 };
    ops->info(node, &info);
    json_object_put(info.specific);
    block_pread(node, 0, data, bytes);
    block_pwrite(node, length - bytes, data, bytes);
    if (unlocked) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Opts) options = opts_parse("state=active,new-secret=s,iter-time=1", NULL, NULL);
        ops->amend(node, options, NULL, NULL, &error);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t image[FILE_BYTES];
    if (!size) {
        return 0;
    }
    if (!folder) {
        start();
    }
    memset(image, 0, sizeof(image));
    memcpy(image, data + 1, MIN(size - 1, FILE_BYTES));
    if (data[0] & 1) {
        mend(image);
    }
    write_file(image);
    bool unlock = is_cheap(image);
    g_autoptr(Opts) options = opts_new();
    g_autoptr(GError) error = NULL;
    opts_set(options, "file.driver", "file");
    opts_set(options, "file.filename", path);
    if (unlock) {
        opts_set(options, "key-secret", "s");
    }
    NodeDefaults defaults = { .no_io = !unlock };
    BlockNode *node = node_open(options, "luks", &defaults, &error);
    if (!node != !!error) {
        abort();
    }
    if (node) {
        use(node, unlock);
        block_node_unref(node);
    }
    return 0;
}
