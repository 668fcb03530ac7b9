/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several loops on one disk, other sizes, nodes by name, block devices and the null disk. */
#include <errno.h>
#include <unistd.h>
#include "tests/unit/disk-kit.h"

typedef struct Hammer {
    Disk disk; /* its own loop and counters, a shared back end */
    GThread *thread;
    unsigned part;
} Hammer;

static gpointer hammer_run(gpointer opaque)
{
    Hammer *h = opaque;
    g_autofree uint8_t *out = g_malloc(65536);
    g_autofree uint8_t *in = g_malloc(65536);
    for (int i = 0; i < 200; i++) {
        uint64_t offset = h->part * (1 << 20) + (i * 7 % 15) * 65536;
        disk_fill(out, 65536, i + h->part);
        g_assert_cmpint(io_run(&h->disk, BLOCK_WRITE, offset, 65536, out, 0), ==, 0);
        g_assert_cmpint(io_run(&h->disk, BLOCK_READ, offset, 65536, in, 0), ==, 0);
        g_assert_cmpmem(in, 65536, out, 65536);
    }
    return NULL;
}

static void several_loops_share_one_disk(void)
{
    enum { LOOPS = 3 };
    Disk disk;
    Hammer hammers[LOOPS];
    disk_open(&disk, LOOP_ENGINE_AUTO, disk_make_image(NULL, IMAGE_SIZE), "cache=writeback");
    for (unsigned i = 0; i < LOOPS; i++) {
        memset(&hammers[i], 0, sizeof(hammers[i]));
        hammers[i].part = i;
        hammers[i].disk.backend = disk.backend;
        hammers[i].disk.loop = event_loop_new("hammer", LOOP_ENGINE_AUTO, NULL);
        g_assert_true(event_loop_start(hammers[i].disk.loop, NULL));
        g_assert_true(block_backend_add_loop(disk.backend, hammers[i].disk.loop, NULL));
        hammers[i].thread = g_thread_new("hammer", hammer_run, &hammers[i]);
    }
    for (unsigned i = 0; i < LOOPS; i++) {
        g_thread_join(hammers[i].thread);
    }
    BlockStats stats;
    block_backend_stats(disk.backend, &stats);
    g_assert_cmpint(stats.wr_ops, ==, LOOPS * 200);
    g_assert_cmpint(stats.rd_bytes, ==, LOOPS * 200 * 65536);
    block_backend_drain(disk.backend);
    disk_close(&disk);
    for (unsigned i = 0; i < LOOPS; i++) {
        event_loop_free(hammers[i].disk.loop);
    }
}

static int resizes;

static void on_resized(void *opaque)
{
    resizes++;
}

static void resize_changes_the_file_and_tells_the_device(void)
{
    static const BlockBackendEvents watch = { .resized = on_resized };
    Disk disk;
    g_autoptr(GError) error = NULL;
    uint8_t data[512] = { 5 };
    disk_open(&disk, LOOP_ENGINE_AUTO, disk_make_image(NULL, IMAGE_SIZE), "cache=writeback");
    block_backend_set_events(disk.backend, &watch, NULL);
    resizes = 0;
    g_assert_true(block_resize(disk.drive->node, 2 * IMAGE_SIZE, &error));
    g_assert_cmpint(resizes, ==, 1);
    g_assert_cmpint(block_backend_length(disk.backend), ==, 2 * IMAGE_SIZE);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 2 * IMAGE_SIZE - 512, 512, data, 0), ==, 0);
    g_assert_false(block_resize(disk.drive->node, 1000, &error));
    g_assert_nonnull(error);
    disk_close(&disk);
}

static void nodes_are_opened_referenced_and_deleted(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = disk_make_image(NULL, IMAGE_SIZE);
    g_autofree char *text = g_strdup_printf("driver=file,filename=%s,node-name=f0", path);
    g_autoptr(Opts) file = opts_parse(text, NULL, &error);
    g_autoptr(Opts)
        raw = opts_parse("driver=raw,file=f0,node-name=n0,offset=1M,size=1M", NULL, &error);
    g_assert_nonnull(block_node_open(file, &error));
    g_assert_no_error(error);
    BlockNode *node = block_node_open(raw, &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_node_length(node), ==, 1 << 20);
    g_assert_cmpint(block_pwrite(node, 0, "window", 6), ==, 0);
    g_assert_cmpint(block_pwrite(node, (1 << 20) - 5, "window", 6), ==, -EINVAL);
    char data[6];
    g_assert_cmpint(block_pread(block_node_find("f0"), 1 << 20, data, 6), ==, 0);
    g_assert_cmpmem(data, 6, "window", 6);
    g_assert_false(block_node_delete("f0", &error)); /* n0 stands on it */
    g_clear_error(&error);
    json_object *query = block_query_nodes(false);
    g_assert_cmpint(json_object_array_length(query), ==, 2);
    json_object_put(query);
    g_assert_true(block_node_delete("n0", &error));
    g_assert_true(block_node_delete("f0", &error));
    g_assert_false(block_node_delete("f0", &error));
    unlink(path);
}

static char *loop_device_make(const char *path)
{
    g_autofree char *command = g_strdup_printf("losetup -f --show %s", path);
    char *out = NULL;
    int status = 1;
    if (geteuid() != 0 || !g_spawn_command_line_sync(command, &out, NULL, &status, NULL) ||
        status != 0) {
        g_free(out);
        return NULL;
    }
    return g_strchomp(out);
}

static void block_device_takes_the_same_requests(void)
{
    static const char *const options[] = { "discard=unmap", "discard=unmap,cache=none" };
    g_autofree char *image = disk_make_image(NULL, IMAGE_SIZE);
    g_autofree char *device = loop_device_make(image);
    if (!device) {
        g_test_skip("no loop devices here, or not root");
        unlink(image);
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        Disk disk;
        g_autofree uint8_t *data = g_malloc(1 << 20);
        disk_fill(data, 1 << 20, 8);
        g_assert_true(disk_open(&disk, LOOP_ENGINE_AUTO, g_strdup(device), options[i]));
        g_assert_cmpstr(block_node_driver(disk.drive->node->file), ==, "host_device");
        g_assert_cmpint(block_backend_length(disk.backend), ==, IMAGE_SIZE);
        g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 0, 1 << 20, data, BLOCK_REQ_FUA), ==, 0);
        g_assert_cmpint(io_run(&disk, BLOCK_WRITE_ZEROES, 4096, 8192, NULL, 0), ==, 0);
        g_assert_cmpint(io_run(&disk, BLOCK_WRITE_ZEROES, 65536, 4096, NULL, BLOCK_REQ_UNMAP), ==,
                        0);
        g_assert_cmpint(io_run(&disk, BLOCK_DISCARD, 1 << 19, 1 << 18, NULL, 0), ==, 0);
        g_assert_cmpint(io_run(&disk, BLOCK_DISCARD, 1000, 300, NULL, 0), ==, 0); /* no sector */
        g_assert_cmpint(io_run(&disk, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
        memset(data + 4096, 0, 8192);
        memset(data + 65536, 0, 4096);
        memset(data + (1 << 19), 0, 1 << 18); /* a loop device's discard is a hole */
        g_autofree uint8_t *back = g_malloc(1 << 20);
        g_assert_cmpint(io_run(&disk, BLOCK_READ, 0, 1 << 20, back, 0), ==, 0);
        g_assert_cmpmem(back, 1 << 20, data, 1 << 20);
        g_free(disk.path);
        disk.path = g_strdup("nothing"); /* not the device's file */
        disk_close(&disk);
    }
    g_autofree char *command = g_strdup_printf("losetup -d %s", device);
    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
    unlink(image);
}

static void null_disk_completes_requests(void)
{
    static const char *const options[] = { "", ",latency-ns=100000" };
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        Disk disk;
        g_autoptr(GError) error = NULL;
        uint8_t data[512] = { 1 };
        memset(&disk, 0, sizeof(disk));
        disk.path = disk_make_image(NULL, 512);
        disk.loop = event_loop_new("disk", LOOP_ENGINE_AUTO, &error);
        g_assert_true(event_loop_start(disk.loop, &error));
        g_autofree char *text =
            g_strdup_printf("format=null-co,if=none,id=d0,read-zeroes=on,size=8M%s", options[i]);
        g_autoptr(Opts) opts = opts_parse(text, NULL, &error);
        disk.drive = drive_add(opts, "virtio", &error);
        g_assert_no_error(error);
        disk.backend = block_backend_attach("d0", "dev0", false, false, &error);
        g_assert_true(block_backend_add_loop(disk.backend, disk.loop, &error));
        g_assert_cmpint(io_run(&disk, BLOCK_READ, 0, 512, data, 0), ==, 0);
        g_assert_cmpint(data[0], ==, 0);
        g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 8 << 20, 512, data, 0), ==, -EINVAL);
        disk_close(&disk);
    }
}

#define ADD_ONE(name) g_test_add_func("/block/" #name, name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
    ADD_ONE(several_loops_share_one_disk);
    ADD_ONE(resize_changes_the_file_and_tells_the_device);
    ADD_ONE(nodes_are_opened_referenced_and_deleted);
    ADD_ONE(block_device_takes_the_same_requests);
    ADD_ONE(null_disk_completes_requests);
    return g_test_run();
}
