/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images of the read-only formats, made by qemu-img, show the disk that went into them: by blocking
 * reads, by requests of a loop, and in what they say of where the data is. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "block/internal.h"
#include "tests/unit/format-kit.h"
#include "vmm/util/bytes.h"

typedef struct Kind {
    const char *name, *format, *options;
    bool same_map; /* qemu-img map knows it as precisely as we do */
} Kind;

static const Kind kinds[] = {
    { "vmdk-sparse", "vmdk", "-o subformat=monolithicSparse", true },
    { "vmdk-zeroed", "vmdk", "-o subformat=monolithicSparse,zeroed_grain=on", true },
    { "vmdk-stream", "vmdk", "-o subformat=streamOptimized", true },
    { "vmdk-flat", "vmdk", "-o subformat=monolithicFlat", true },
    { "vmdk-split", "vmdk", "-o subformat=twoGbMaxExtentSparse", true },
    { "vmdk-split-flat", "vmdk", "-o subformat=twoGbMaxExtentFlat", true },
    { "vdi-dynamic", "vdi", "", true },
    { "vdi-static", "vdi", "-o static=on", true },
    { "vpc-dynamic", "vpc", "", true },
    { "vpc-dynamic-size", "vpc", "-o subformat=dynamic,force_size=on", true },
    { "vpc-fixed", "vpc", "-o subformat=fixed", true },
    { "vpc-fixed-size", "vpc", "-o subformat=fixed,force_size=on", true },
    { "vhdx-dynamic", "vhdx", "", false },
    { "vhdx-small-blocks", "vhdx", "-o block_size=1M", false },
    { "vhdx-fixed", "vhdx", "-o subformat=fixed", false },
};

/* ---- Requests of a loop ---- */

typedef struct Call {
    BlockRequest request;
    BlockNode *node;
    GMutex lock;
    GCond cond;
    bool done;
    int ret;
} Call;

static void call_done(BlockRequest *request, int ret)
{
    Call *call = request->opaque;
    block_request_release(request);
    g_mutex_lock(&call->lock);
    call->ret = ret;
    call->done = true;
    g_cond_signal(&call->cond);
    g_mutex_unlock(&call->lock);
}

static void call_submit(void *opaque)
{
    Call *call = opaque;
    block_node_submit(call->node, &call->request);
    g_assert_false(call->done);
}

static int run(EventLoop *loop, BlockNode *node, BlockOp op, uint64_t offset, uint64_t bytes,
               const struct iovec *iov, int count)
{
    Call call = { .node = node };
    block_request_init(&call.request, loop, op, offset, bytes, iov, count, 0, call_done, &call);
    event_loop_call(loop, call_submit, &call);
    g_mutex_lock(&call.lock);
    while (!call.done) {
        g_cond_wait(&call.cond, &call.lock);
    }
    g_mutex_unlock(&call.lock);
    return call.ret;
}

/* Requests of several parts, over the borders of clusters; the first of a page finds no table. */
static void compare_by_requests(BlockNode *node, const uint8_t *data, uint64_t size, bool refuses)
{
    g_autoptr(GError) error = NULL;
    EventLoop *loop = event_loop_new("formats", LOOP_ENGINE_AUTO, &error);
    g_assert_no_error(error);
    g_assert_true(event_loop_start(loop, &error));
    uint64_t length = block_node_length(node), bytes = 1 * MIB + 1536;
    g_autofree uint8_t *buffer = g_malloc(bytes);
    for (uint64_t offset = 0; offset < length; offset += bytes) {
        uint64_t n = MIN(bytes, length - offset), parts[] = { MIN(n, 512), MIN(n, 70000), n };
        struct iovec iov[3];
        for (uint64_t i = 0, at = 0; i < 3; i++) {
            iov[i] = (struct iovec){ buffer + at, parts[i] - at };
            at = parts[i];
        }
        memset(buffer, 0xa5, n);
        g_assert_cmpint(run(loop, node, BLOCK_READ, offset, n, iov, 3), ==, 0);
        uint64_t there = offset < size ? MIN(n, size - offset) : 0;
        g_assert_cmpmem(buffer, there, data + MIN(offset, size), there);
        for (uint64_t k = there; k < n; k++) {
            g_assert_cmpint(buffer[k], ==, 0);
        }
    }
    if (refuses) {
        struct iovec iov = { buffer, 512 };
        g_assert_cmpint(run(loop, node, BLOCK_WRITE, 0, 512, &iov, 1), ==, -EPERM);
        g_assert_cmpint(run(loop, node, BLOCK_WRITE_ZEROES, 0, 512, NULL, 0), ==, -EPERM);
        g_assert_cmpint(run(loop, node, BLOCK_DISCARD, 0, 512, NULL, 0), ==, -EPERM);
    }
    g_assert_cmpint(run(loop, node, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
    event_loop_free(loop);
}

/* ---- Where the data is ---- */

/* What is said to be zero is; what is said to be in a file is there. */
static void check_status(BlockNode *node, const uint8_t *data, uint64_t size)
{
    uint64_t length = block_node_length(node);
    for (uint64_t offset = 0; offset < length;) {
        BlockStatus status;
        g_assert_cmpint(block_status_above(node, NULL, offset, length - offset, &status, NULL), ==,
                        0);
        g_assert_cmpuint(status.bytes, >, 0);
        g_assert_cmpuint(status.bytes, <=, length - offset);
        uint64_t there = offset < size ? MIN(status.bytes, size - offset) : 0;
        struct iovec iov = { (void *)(data + MIN(offset, size)), there };
        if (status.flags & BLOCK_STATUS_ZERO) {
            g_assert_true(iov_is_zero(&iov, 1));
        } else {
            g_assert_true(status.flags & BLOCK_STATUS_DATA);
            g_assert_true(status.flags & BLOCK_STATUS_ALLOCATED);
        }
        if (status.flags & BLOCK_STATUS_OFFSET) {
            g_autofree uint8_t *copy = g_malloc(MAX(there, 1));
            g_assert_cmpint(block_pread(status.file, status.host_offset, copy, there), ==, 0);
            g_assert_cmpmem(copy, there, iov.iov_base, there);
        }
        offset += status.bytes;
    }
}

static bool member(json_object *entry, const char *key)
{
    return json_object_get_boolean(json_object_object_get(entry, key));
}

/* Each range of qemu-img's map, piece by piece. */
static void compare_map(BlockNode *node, const char *name, const char *format)
{
    g_autofree char *text = kit_output("qemu-img map --output=json -f %s %s", format, name);
    json_object *map = json_tokener_parse(text);
    for (size_t i = 0; i < json_object_array_length(map); i++) {
        json_object *entry = json_object_array_get_idx(map, i), *place;
        uint64_t start = json_object_get_uint64(json_object_object_get(entry, "start"));
        uint64_t bytes = json_object_get_uint64(json_object_object_get(entry, "length"));
        for (uint64_t offset = start; offset < start + bytes;) {
            BlockStatus status;
            int depth, ret = block_status_above(node, NULL, offset, start + bytes - offset, &status,
                                                &depth);
            g_assert_cmpint(ret, ==, 0);
            g_assert_cmpint(!!(status.flags & BLOCK_STATUS_ALLOCATED), ==,
                            member(entry, "present"));
            g_assert_cmpint(!!(status.flags & BLOCK_STATUS_ZERO), ==, member(entry, "zero"));
            g_assert_cmpint(!!(status.flags & BLOCK_STATUS_DATA), ==, member(entry, "data"));
            bool has_place = json_object_object_get_ex(entry, "offset", &place);
            g_assert_cmpint(!!(status.flags & BLOCK_STATUS_OFFSET), ==, has_place);
            if (has_place) {
                g_assert_cmpuint(status.host_offset - offset, ==,
                                 json_object_get_uint64(place) - start);
            }
            offset += status.bytes;
        }
    }
    json_object_put(map);
}

/* Length and info as qemu-img says. */
static void compare_info(BlockNode *node, const char *name, const char *format)
{
    g_autofree char *text = kit_output("qemu-img info --output=json -f %s %s", format, name);
    json_object *theirs = json_tokener_parse(text), *value;
    BlockImageInfo info = { 0 };
    block_node_image_ops(node)->info(node, &info);
    value = json_object_object_get(theirs, "virtual-size");
    g_assert_cmpuint(block_node_length(node), ==, json_object_get_uint64(value));
    value = json_object_object_get(theirs, "cluster-size");
    g_assert_cmpuint(info.cluster_size, ==, value ? json_object_get_uint64(value) : 0);
    value = json_object_object_get(theirs, "format-specific");
    g_assert_cmpint(info.specific != NULL, ==, value != NULL);
    if (value) {
        value = json_object_object_get(value, "data");
        if (!json_object_equal(info.specific, value)) {
            g_error("%s, qemu-img: %s", json_object_to_json_string(info.specific),
                    json_object_to_json_string(value));
        }
        json_object_put(info.specific);
    }
    json_object_put(theirs);
}

/* ---- Round trips ---- */

static void check_image(const char *name, const Kind *kind, const uint8_t *data, uint64_t size)
{
    BlockNode *node = kit_open(name, kind->format);
    g_assert_true(block_node_readonly(node));
    compare_info(node, name, kind->format);
    compare_by_requests(node, data, size, true);
    kit_compare(node, data, size);
    check_status(node, data, size);
    if (kind->same_map) {
        compare_map(node, name, kind->format);
    }
    block_node_unref(node);
}

static void image_shows_the_disk_it_was_made_of(gconstpointer opaque)
{
    static const uint64_t sizes[] = { 512, 65536 + 512, 5 * MIB + 1536, 37 * MIB };
    const Kind *kind = opaque;
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *name = g_strdup_printf("%s-%zu.img", kind->name, i);
        g_autofree uint8_t *data = kit_make_raw("disk.raw", sizes[i], (unsigned)i + 1);
        kit_run("qemu-img convert -f raw -O %s %s disk.raw %s", kind->format, kind->options, name);
        check_image(name, kind, data, sizes[i]);
    }
}

/* Two extents: the second begins at 2 GiB. */
static void disk_split_into_several_files_is_whole(void)
{
    static const char *const formats[] = { "twoGbMaxExtentSparse", "twoGbMaxExtentFlat" };
    uint8_t data[4096], border[1024];
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        kit_run("qemu-img create -q -f vmdk -o subformat=%s split.vmdk 5000M", formats[i]);
        kit_run("qemu-io -f vmdk -c 'write -P 17 2147483136 1k' "
                "-c 'write -P 18 4999M 1M' -c 'write -P 19 0 4k' split.vmdk");
        BlockNode *node = kit_open("split.vmdk", NULL);
        compare_info(node, "split.vmdk", "vmdk");
        g_assert_cmpint(block_pread(node, 2 * GIB - 512, border, sizeof(border)), ==, 0);
        for (size_t k = 0; k < sizeof(border); k++) {
            g_assert_cmpint(border[k], ==, 17);
        }
        g_assert_cmpint(block_pread(node, 5000 * MIB - 4096, data, sizeof(data)), ==, 0);
        g_assert_cmpint(data[4095], ==, 18);
        g_assert_cmpint(block_pread(node, 3 * GIB, data, sizeof(data)), ==, 0);
        g_assert_cmpint(data[0] | data[4095], ==, 0);
        g_assert_cmpuint(block_node_allocated(node), >, MIB);
        block_node_unref(node);
    }
}

static void two_tebibytes_open_with_little_memory(void)
{
    static const char *const formats[] = { "vmdk", "vdi", "vhdx", "vpc" };
    uint8_t data[4096];
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        const char *options = strcmp(formats[i], "vpc") ? "" : "-o force_size=on";
        kit_run("qemu-img create -q -f %s %s big.img 2040G", formats[i], options);
        kit_run("qemu-io -f %s -c 'write -P 5 2039G 64k' -c 'write -P 6 1T 4k' big.img",
                formats[i]);
        BlockNode *node = kit_open("big.img", formats[i]);
        g_assert_cmpuint(block_node_length(node), ==, 2040 * GIB);
        g_assert_cmpint(block_pread(node, 2039 * GIB + 61440, data, sizeof(data)), ==, 0);
        g_assert_cmpint(data[0] & data[4095], ==, 5);
        g_assert_cmpint(block_pread(node, 1024 * GIB, data, sizeof(data)), ==, 0);
        g_assert_cmpint(data[0] & data[4095], ==, 6);
        g_assert_cmpint(block_pread(node, 700 * GIB, data, sizeof(data)), ==, 0);
        g_assert_cmpint(data[0] | data[4095], ==, 0);
        block_node_unref(node);
    }
}

/* ---- VMDK's other shapes ---- */

static void stream_with_its_directory_at_the_end_is_read(void)
{
    g_autofree uint8_t *data = kit_make_raw("disk.raw", 3 * MIB, 5);
    kit_run("qemu-img convert -f raw -O vmdk -o subformat=streamOptimized disk.raw stream.vmdk");
    size_t size;
    g_autofree uint8_t *image = kit_read_file("stream.vmdk", &size);
    size_t padded = ALIGN_UP(size, 512);
    g_autofree uint8_t *whole = g_malloc0(padded + 1536);
    memcpy(whole, image, size);
    whole[padded + 12] = 3; /* the footer's marker */
    memcpy(whole + padded + 512, image, 512);
    memset(whole + 56, 0xff, 8); /* the directory is said to be at the end */
    kit_write_file("footer.vmdk", whole, padded + 1536);
    kit_run("qemu-img compare -f vmdk footer.vmdk -F raw disk.raw");
    BlockNode *node = kit_open("footer.vmdk", NULL);
    kit_compare(node, data, 3 * MIB);
    compare_by_requests(node, data, 3 * MIB, true);
    block_node_unref(node);
}

static void cowd_extent_is_read(void)
{
    g_autofree uint8_t *image = g_malloc0(64 * KIB);
    g_autofree uint8_t *data = g_malloc0(1 * MIB);
    static const uint32_t header[] = { 1, 3, 2048, 1, 4, 4096 }; /* of 512-byte grains */
    memcpy(image, "COWD", 4);
    strcpy((char *)image + 512, "CID=00000001\nparentCID=ffffffff\n"); /* qemu-img wants it */
    for (size_t i = 0; i < G_N_ELEMENTS(header); i++) {
        store_le32(image + 4 + i * 4, header[i]);
    }
    store_le32(image + 4 * 512, 40);              /* the directory's first table */
    store_le32(image + 40 * 512 + 5 * 4, 100);    /* its sixth grain */
    store_le32(image + 40 * 512 + 2047 * 4, 101); /* and the disk's last */
    memset(image + 100 * 512, 0x11, 512);
    memset(image + 101 * 512, 0x22, 512);
    memset(data + 5 * 512, 0x11, 512);
    memset(data + 2047 * 512, 0x22, 512);
    kit_write_file("cowd.vmdk", image, 64 * KIB);
    kit_write_file("disk.raw", data, 1 * MIB);
    kit_run("qemu-img compare -f vmdk cowd.vmdk -F raw disk.raw");
    BlockNode *node = kit_open("cowd.vmdk", NULL);
    kit_compare(node, data, 1 * MIB);
    check_status(node, data, 1 * MIB);
    block_node_unref(node);
}

static void text_with_zero_extents_and_offsets_is_read(void)
{
    static const char text[] = "# Disk DescriptorFile\r\nversion=1\r\nCID=12345678\r\n"
                               "parentCID=ffffffff\r\ncreateType = \"custom\"\r\n\r\n"
                               "RW 8 ZERO\r\nRW 16 FLAT \"part one.raw\" 8\r\n"
                               "RDONLY 8 FLAT \"part one.raw\" 0\r\n";
    g_autofree uint8_t *part = kit_make_raw("part one.raw", 24 * 512, 9);
    uint8_t data[32 * 512] = { 0 };
    memcpy(data + 8 * 512, part + 8 * 512, 16 * 512);
    memcpy(data + 24 * 512, part, 8 * 512);
    kit_write_file("custom.vmdk", text, sizeof(text) - 1);
    BlockNode *node = kit_open("custom.vmdk", NULL);
    g_assert_cmpuint(block_node_length(node), ==, sizeof(data));
    kit_compare(node, data, sizeof(data));
    compare_by_requests(node, data, sizeof(data), true);
    check_status(node, data, sizeof(data));
    block_node_unref(node);
}

/* ---- Backing files ---- */

static void write_pattern(uint8_t *data, uint64_t offset, uint64_t bytes, int pattern)
{
    memset(data + offset, pattern, bytes);
}

static void vmdk_shows_its_parents_below(void)
{
    g_autofree uint8_t *data = kit_make_raw("disk.raw", 2 * MIB, 3);
    kit_run("qemu-img convert -f raw -O vmdk disk.raw base.vmdk");
    kit_run("qemu-img create -q -f vmdk -b base.vmdk -F vmdk mid.vmdk");
    kit_run("qemu-io -f vmdk -c 'write -P 33 100k 10k' -c 'write -P 35 1M 1k' mid.vmdk");
    kit_run("qemu-img create -q -f vmdk -b mid.vmdk -F vmdk top.vmdk");
    kit_run("qemu-io -f vmdk -c 'write -P 34 105k 200k' top.vmdk");
    write_pattern(data, 100 * KIB, 10 * KIB, 33);
    write_pattern(data, MIB, KIB, 35);
    write_pattern(data, 105 * KIB, 200 * KIB, 34);
    BlockNode *node = kit_open("top.vmdk", "vmdk");
    g_assert_cmpstr(block_node_backing_file(node), ==, "mid.vmdk");
    compare_by_requests(node, data, 2 * MIB, true);
    kit_compare(node, data, 2 * MIB);
    check_status(node, data, 2 * MIB);
    compare_map(node, "top.vmdk", "vmdk");
    block_node_unref(node);
    kit_refused("top.vmdk", NULL, "say format=vmdk if you trust it");
}

static void changed_parent_is_noticed(void)
{
    g_free(kit_make_raw("disk.raw", 2 * MIB, 3));
    kit_run("qemu-img convert -f raw -O vmdk disk.raw base.vmdk");
    kit_run("qemu-img create -q -f vmdk -b base.vmdk -F vmdk top.vmdk");
    kit_run("qemu-img convert -f raw -O vmdk disk.raw base.vmdk");
    BlockNode *node = kit_open("top.vmdk", "vmdk");
    uint8_t sector[512];
    g_assert_cmpint(block_pread(node, 0, sector, sizeof(sector)), ==, -EIO);
    block_node_unref(node);
}

static void qcow2_stands_on_any_of_them(void)
{
    static const char *const formats[] = { "vmdk", "vdi", "vhdx", "vpc" };
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        g_autofree uint8_t *data = kit_make_raw("disk.raw", 3 * MIB, (unsigned)i);
        kit_run("qemu-img convert -f raw -O %s %s disk.raw base.img", formats[i],
                strcmp(formats[i], "vpc") ? "" : "-o force_size=on");
        kit_run("qemu-img create -q -f qcow2 -b base.img -F %s top.qcow2 4M", formats[i]);
        kit_run("qemu-io -f qcow2 -c 'write -P 77 1000k 100k' top.qcow2");
        memset(data + 1000 * KIB, 77, 100 * KIB);
        BlockNode *node = kit_open("top.qcow2", "qcow2");
        g_assert_cmpstr(block_node_driver(block_node_backing(node)), ==, formats[i]);
        compare_by_requests(node, data, 3 * MIB, false);
        kit_compare(node, data, 3 * MIB);
        check_status(node, data, 3 * MIB);
        block_node_unref(node);
    }
}

/* ---- Several loops ---- */

typedef struct Reader {
    EventLoop *loop;
    BlockNode *node;
    const uint8_t *data;
    uint64_t seed;
} Reader;

static void *read_randomly(void *opaque)
{
    Reader *reader = opaque;
    g_autofree uint8_t *buffer = g_malloc(200 * 512);
    GRand *random = g_rand_new_with_seed((guint32)reader->seed);
    for (int i = 0; i < 300; i++) {
        uint64_t bytes = (uint64_t)g_rand_int_range(random, 1, 200) * 512;
        uint64_t offset = (uint64_t)g_rand_int_range(random, 0, (8 * MIB - bytes) / 512) * 512;
        struct iovec iov = { buffer, bytes };
        g_assert_cmpint(run(reader->loop, reader->node, BLOCK_READ, offset, bytes, &iov, 1), ==, 0);
        g_assert_cmpmem(buffer, bytes, reader->data + offset, bytes);
    }
    g_rand_free(random);
    return NULL;
}

static void several_loops_read_one_image(void)
{
    static const char *const options[] = { "", "-o subformat=streamOptimized" };
    g_autofree uint8_t *data = kit_make_raw("disk.raw", 8 * MIB, 21);
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        Reader readers[3];
        GThread *threads[3];
        kit_run("qemu-img convert -f raw -O vmdk %s disk.raw shared.vmdk", options[i]);
        BlockNode *node = kit_open("shared.vmdk", "vmdk");
        for (size_t k = 0; k < 3; k++) {
            readers[k] = (Reader){ event_loop_new("r", LOOP_ENGINE_AUTO, NULL), node, data, k };
            g_assert_true(event_loop_start(readers[k].loop, NULL));
            threads[k] = g_thread_new("reader", read_randomly, &readers[k]);
        }
        for (size_t k = 0; k < 3; k++) {
            g_thread_join(threads[k]);
            event_loop_free(readers[k].loop);
        }
        block_node_unref(node);
    }
}

/* ---- Modes ---- */

static void opening_for_writing_is_refused_or_becomes_read_only(void)
{
    static const char *const formats[] = { "vmdk", "vdi", "vhdx", "vpc" };
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        g_autoptr(GError) error = NULL;
        BlockOpenMode mode = { .writable = true };
        kit_run("qemu-img create -q -f %s disk.img 1M", formats[i]);
        g_assert_null(block_image_open("disk.img", formats[i], NULL, &mode, &error));
        g_assert_nonnull(strstr(error->message, "use read-only=on"));
        g_assert_nonnull(strstr(error->message, "disk.img"));
        g_clear_error(&error);
        g_autoptr(Opts) opts = opts_parse("file=disk.img,if=none,id=d", NULL, &error);
        opts_set(opts, "format", formats[i]);
        Drive *drive = drive_add(opts, "virtio", &error);
        g_assert_no_error(error);
        g_assert_true(drive->readonly);
        g_assert_cmpint(block_pwrite(drive->node, 0, "x", 1), ==, -EROFS);
        drives_close();
    }
}

static void extents_are_locked_like_the_image(void)
{
    g_autoptr(GError) error = NULL;
    kit_run("qemu-img create -q -f vmdk -o subformat=monolithicFlat lock.vmdk 1M");
    BlockNode *node = kit_open("lock.vmdk", "vmdk");
    BlockBackend *reader = block_backend_attach(block_node_name(node), "r", true, false, &error);
    g_assert_no_error(error);
    g_autoptr(Opts) opts = opts_parse("file=lock-flat.vmdk,format=raw,if=none,id=w", NULL, &error);
    g_assert_nonnull(drive_add(opts, "virtio", &error));
    g_assert_null(block_backend_attach("w", "w", false, false, &error));
    g_assert_nonnull(error);
    block_backend_detach(reader);
    drives_close();
    block_node_unref(node);
}

static void vpc_size_follows_the_users_word(void)
{
    g_autoptr(GError) error = NULL;
    BlockOpenMode mode = { 0 };
    kit_run("qemu-img create -q -f vpc -o force_size=on size.vpc 5000k");
    BlockNode *node = kit_open("size.vpc", "vpc");
    g_assert_cmpuint(block_node_length(node), ==, 5000 * KIB);
    block_node_unref(node);
    g_autoptr(Opts) opts = opts_new();
    opts_set(opts, "force_size_calc", "chs");
    node = block_image_open("size.vpc", "vpc", opts, &mode, &error);
    g_assert_no_error(error);
    g_autofree char *text = kit_output("qemu-img info --output=json --image-opts "
                                       "driver=vpc,force_size_calc=chs,file.filename=size.vpc");
    json_object *theirs = json_tokener_parse(text);
    g_assert_cmpuint(block_node_length(node), ==,
                     json_object_get_uint64(json_object_object_get(theirs, "virtual-size")));
    json_object_put(theirs);
    block_node_unref(node);
}

#define ADD(test) g_test_add_func("/formats/" #test, test)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
    kit_start();
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *path =
            g_strdup_printf("/formats/%s/image_shows_the_disk_it_was_made_of", kinds[i].name);
        g_test_add_data_func(path, &kinds[i], image_shows_the_disk_it_was_made_of);
    }
    ADD(disk_split_into_several_files_is_whole);
    ADD(two_tebibytes_open_with_little_memory);
    ADD(stream_with_its_directory_at_the_end_is_read);
    ADD(cowd_extent_is_read);
    ADD(text_with_zero_extents_and_offsets_is_read);
    ADD(vmdk_shows_its_parents_below);
    ADD(changed_parent_is_noticed);
    ADD(qcow2_stands_on_any_of_them);
    ADD(several_loops_read_one_image);
    ADD(opening_for_writing_is_refused_or_becomes_read_only);
    ADD(extents_are_locked_like_the_image);
    ADD(vpc_size_follows_the_users_word);
    int ret = g_test_run();
    kit_stop();
    return ret;
}
