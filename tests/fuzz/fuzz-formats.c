/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Read-only image formats: any file opens or is refused, and can then be read, asked and closed.
 * The first byte chooses the driver; its high bits: the file goes on with a hole, checksums are
 * mended, so that what they cover is reached.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "block/internal.h"
#include "vmm/util/bytes.h"

#define IMAGE_MAX (256 * KIB)
#define READ_MAX  (128 * KIB)

enum { FLAG_LONG = 0x40, FLAG_MEND = 0x80 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *folder, *path;
static EventLoop *loop;

static void stop(void)
{
    event_loop_free(loop);
    block_close_all();
    g_unlink(path);
    g_rmdir(folder);
}

static void start(void)
{
    folder = g_dir_make_tmp("fuzz-formats-XXXXXX", NULL);
    path = g_build_filename(folder, "image", NULL);
    event_loop_main();
    loop = event_loop_new("fuzz", LOOP_ENGINE_AUTO, NULL);
    if (!folder || !loop || !event_loop_start(loop, NULL)) {
        abort();
    }
    atexit(stop);
}

/* ---- The file ---- */

static uint32_t crc32c(const uint8_t *data, size_t bytes)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
        }
    }
    return ~crc;
}

static void mend_vpc(uint8_t *footer)
{
    uint32_t sum = 0;
    store_be32(footer + 64, 0);
    for (int i = 0; i < 512; i++) {
        sum += footer[i];
    }
    store_be32(footer + 64, ~sum);
}

/* A vhdx image begins with half a megabyte of fixed places: the input holds what stands there. */
static size_t spread_vhdx(uint8_t *image, const uint8_t *data, size_t size, bool mend)
{
    static const struct {
        size_t place, bytes, covered;
    } parts[] = { { 0, 8, 0 },
                  { 64 * KIB, 88, 4096 },
                  { 192 * KIB, 80, 64 * KIB },
                  { 256 * KIB, 512, 0 },  /* the metadata table */
                  { 320 * KIB, 64, 0 },   /* its items */
                  { 328 * KIB, 1024, 0 }, /* the log or the BAT */
                  { 336 * KIB, 64 * KIB, 0 } };
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        size_t n = MIN(size, parts[i].bytes);
        memcpy(image + parts[i].place, data, n);
        data += n;
        size -= n;
        if (mend && parts[i].covered) {
            store_le32(image + parts[i].place + 4, 0);
            store_le32(image + parts[i].place + 4,
                       crc32c(image + parts[i].place, parts[i].covered));
        }
    }
    return 512 * KIB;
}

static void write_image(const char *driver, unsigned flags, const uint8_t *data, size_t size)
{
    bool mend = flags & FLAG_MEND;
    g_autofree uint8_t *image = g_malloc0(512 * KIB);
    size = MIN(size, IMAGE_MAX);
    if (!strcmp(driver, "vhdx")) {
        size = spread_vhdx(image, data, size, mend);
    } else if (size) {
        memcpy(image, data, size);
    }
    if (mend && size >= 512 && !strcmp(driver, "vpc")) {
        mend_vpc(memcmp(image, "conectix", 8) ? image + size - 512 : image);
    }
    int fd = g_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, image, size) != (ssize_t)size ||
        (flags & FLAG_LONG && ftruncate(fd, (off_t)(8 * GIB)) < 0)) {
        abort();
    }
    close(fd);
}

/* ---- What is done with it ---- */

typedef struct Call {
    BlockRequest request;
    BlockNode *node;
    GMutex lock;
    GCond cond;
    bool done;
} Call;

static void call_done(BlockRequest *request, int ret)
{
    Call *call = request->opaque;
    block_request_release(request);
    g_mutex_lock(&call->lock);
    call->done = true;
    g_cond_signal(&call->cond);
    g_mutex_unlock(&call->lock);
}

static void call_submit(void *opaque)
{
    Call *call = opaque;
    block_node_submit(call->node, &call->request);
}

static void read_on_loop(BlockNode *node, uint64_t offset, uint64_t bytes, uint8_t *data)
{
    Call call = { .node = node };
    struct iovec iov[2] = { { data, bytes / 3 }, { data + bytes / 3, bytes - bytes / 3 } };
    block_request_init(&call.request, loop, BLOCK_READ, offset, bytes, iov, 2, 0, call_done, &call);
    event_loop_call(loop, call_submit, &call);
    g_mutex_lock(&call.lock);
    while (!call.done) {
        g_cond_wait(&call.cond, &call.lock);
    }
    g_mutex_unlock(&call.lock);
}

static void use(BlockNode *node)
{
    uint64_t length = block_node_length(node);
    g_autofree uint8_t *data = g_malloc(READ_MAX);
    BlockImageInfo info = { 0 };
    block_node_image_ops(node)->info(node, &info);
    json_object_put(info.specific);
    const uint64_t places[] = { 0, 4096, length / 2, length - MIN(length, 512),
                                length - MIN(length, READ_MAX) };
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        if (places[i] >= length) {
            continue;
        }
        BlockStatus status;
        uint64_t bytes = MIN(READ_MAX, length - places[i]);
        if (block_status(node, places[i], length - places[i], &status) == 0 &&
            (!status.bytes || status.bytes > length - places[i])) {
            abort();
        }
        block_pread(node, places[i], data, bytes);
        read_on_loop(node, places[i], bytes, data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const drivers[] = { "vmdk", "vdi", "vpc", "vhdx" };
    if (!size) {
        return 0;
    }
    if (!folder) {
        start();
    }
    const char *driver = drivers[data[0] % G_N_ELEMENTS(drivers)];
    write_image(driver, data[0], data + 1, size - 1);
    g_autoptr(Opts) options = opts_new();
    g_autoptr(GError) error = NULL;
    opts_set(options, "file.driver", "file");
    opts_set(options, "file.filename", path);
    /* Guessed: its text names no file but those of this folder, which has one. */
    NodeDefaults defaults = { .readonly = true, .guessed = true, .no_backing = true };
    BlockNode *node = node_open(options, driver, &defaults, &error);
    if (!node != !!error) {
        abort();
    }
    if (node) {
        use(node);
        block_node_unref(node);
    }
    return 0;
}
