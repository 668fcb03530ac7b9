/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's file system is full while a guest's writes make new clusters of a qcow2 image: the
 * machine stops, goes on when there is room, and nothing is lost.
 */
#include <stdlib.h>
#include <string.h>
#include <glib/gstdio.h>
#include "tests/device/disk-load.h"
#include "tests/unit/qemu-img.h"
#include "tests/unit/seeds.h"
#include "tests/unit/small-disk.h"

#define HOST_BYTES  (12u << 20)
#define DISK_BYTES  (4u << 20)
#define FIRST_BYTES (100u << 10) /* free at first, and more each time */

typedef struct Layout {
    const char *name, *options;
    bool overlay;
} Layout;

static const Layout layouts[] = {
    { "64k", "cluster_size=64k", false },
    { "4k", "cluster_size=4k", false },
    { "512", "cluster_size=512,refcount_bits=64", false },
    { "subclusters", "cluster_size=64k,extended_l2=on", false },
    { "overlay", "cluster_size=16k", true },
};

typedef struct Full {
    DiskLoad load;
    char *folder;
    unsigned stops;
} Full;

/* The machine has stopped: the event says why; a little room is made, and it goes on. */
static void make_room(DiskLoad *d, void *opaque)
{
    Full *f = opaque;
    json_object *info = qtest_qmp_ok(d->qts, "{'execute':'query-status'}");
    bool stopped = !strcmp(json_text(info, "status"), "io-error");
    json_object_put(info);
    if (!stopped) {
        g_usleep(200);
        return;
    }
    json_object *event = qtest_event(d->qts, "BLOCK_IO_ERROR");
    g_assert_true(json_object_get_boolean(json_at(event, "data.nospace")));
    g_assert_cmpstr(json_text(event, "data.action"), ==, "stop");
    json_object_put(event);
    f->stops++;
    if (f->stops % 3) { /* sometimes nothing has changed */
        small_disk_leave(f->folder, small_disk_free(f->folder) + FIRST_BYTES);
    }
    json_object_put(qtest_qmp_ok(d->qts, "{'execute':'cont'}"));
}

static void make_images(const Full *f, const Layout *layout)
{
    if (layout->overlay) {
        g_free(command_output(f->folder,
                              "qemu-img create -q -f qcow2 base %u && qemu-img create -q -f qcow2 "
                              "-b base -F qcow2 -o %s disk",
                              DISK_BYTES, layout->options));
    } else {
        g_free(command_output(f->folder, "qemu-img create -q -f qcow2 -o %s disk %u",
                              layout->options, DISK_BYTES));
    }
}

static void start(Full *f, GRand *rand)
{
    QTest *qts =
        qtest_start("-drive if=none,id=d,format=qcow2,discard=unmap,werror=enospc,file=%s/disk "
                    "-object iothread,id=a -object iothread,id=b "
                    "-device '{\"driver\":\"virtio-blk-pci\",\"drive\":\"d\",\"num-queues\":4,"
                    "\"iothread-vq-mapping\":[{\"iothread\":\"a\"},{\"iothread\":\"b\"}]}'",
                    f->folder);
    disk_load_open(&f->load, qts, DISK_BYTES, DISK_BYTES, rand);
    f->load.idle = make_room;
    f->load.opaque = f;
}

static void judge(const Full *f)
{
    g_autofree char *image = g_build_filename(f->folder, "disk", NULL);
    g_autofree char *model = g_build_filename(f->folder, "model", NULL);
    int code = qemu_img_check(image);
    g_assert_true(code == 0 || code == 3);
    g_assert_true(g_file_set_contents(model, (const char *)f->load.model, DISK_BYTES, NULL));
    g_free(command_output(f->folder, "qemu-img compare -q -f qcow2 -F raw disk model"));
}

static void one_life(const Layout *layout, uint32_t seed)
{
    Full f = { .folder = g_dir_make_tmp("vireo-full-XXXXXX", NULL) };
    GRand *rand = g_rand_new_with_seed(seed);
    g_test_message("seed %u", seed);
    if (!qemu_is_here() || !small_disk_mount(f.folder, HOST_BYTES)) {
        g_test_skip("no qemu-img, or no file system can be mounted here");
    } else {
        make_images(&f, layout);
        start(&f, rand);
        small_disk_leave(f.folder, FIRST_BYTES);
        disk_load_work(&f.load, 300);
        disk_load_check(&f.load);
        g_assert_cmpuint(f.stops, >, 0);
        qtest_stop(f.load.qts);
        small_disk_leave(f.folder, HOST_BYTES);
        judge(&f);
        disk_load_close(&f.load);
        small_disk_unmount(f.folder);
    }
    g_rmdir(f.folder);
    g_free(f.folder);
    g_rand_free(rand);
}

static void a_full_file_system_stops_the_machine_and_loses_nothing(gconstpointer data)
{
    Seeds seeds = seeds_of_environment(1);
    for (uint32_t seed = seeds.from; seed < seeds.end; seed++) {
        one_life(data, seed);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_autofree char *path = g_strdup_printf("/disk-full/qcow2/%s", layouts[i].name);
        g_test_add_data_func(path, &layouts[i],
                             a_full_file_system_stops_the_machine_and_loses_nothing);
    }
    return g_test_run();
}
