/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/device/block-kit.h"

#include <glib/gstdio.h>
#include <linux/virtio_config.h>
#include <stdarg.h>

enum { T_IN = 0, T_OUT = 1 };

bool block_stage_open(BlockStage *s)
{
    g_autofree char *program = g_find_program_in_path("qemu-img");
    *s = (BlockStage){ 0 };
    if (!program) {
        g_test_skip("qemu-img is not installed");
        return false;
    }
    s->folder = g_dir_make_tmp("vireo-block-XXXXXX", NULL);
    g_assert_nonnull(s->folder);
    return true;
}

void block_stage_close(BlockStage *s)
{
    GDir *dir = g_dir_open(s->folder, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(s->folder, name, NULL);
        g_unlink(path);
    }
    g_dir_close(dir);
    g_rmdir(s->folder);
    g_free(s->folder);
}

char *block_path(BlockStage *s, const char *name)
{
    return g_build_filename(s->folder, name, NULL);
}

int block_img(BlockStage *s, char **out, const char *format, ...)
{
    g_autofree char *errors = NULL;
    g_autofree char *output = NULL;
    g_auto(GStrv) argv = NULL;
    GError *error = NULL;
    int status = -1;
    va_list args;
    va_start(args, format);
    g_autofree char *rest = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *line = g_strconcat("qemu-img ", rest, NULL);
    g_assert_true(g_shell_parse_argv(line, NULL, &argv, NULL));
    g_spawn_sync(s->folder, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output, &errors, &status,
                 &error);
    g_assert_no_error(error);
    if (status) {
        g_test_message("%s: %s%s", line, output, errors);
    }
    if (out) {
        *out = g_steal_pointer(&output);
    }
    return status;
}

/* ---- Disks ---- */

void block_disk_open(BlockDisk *d, QTest *qts, unsigned n)
{
    QPci *pci = qpci_find(qts, 0x1af4, 0x1042, n);
    pci = pci ? pci : qpci_find(qts, 0x1af4, 0x1001, n);
    d->qts = qts;
    d->dev = qvirtio_new(pci);
    qvirtio_reset(d->dev);
    qvirtio_negotiate(d->dev, 1ULL << VIRTIO_F_VERSION_1);
    d->vq = qvirtqueue_new(d->dev, 0, 16, 0xffff);
    qvirtio_driver_ok(d->dev);
    d->header = qtest_alloc(qts, 64, 64);
    d->status = qtest_alloc(qts, 64, 64);
    d->data = qtest_alloc(qts, 4096, 4096);
}

void block_disk_close(BlockDisk *d)
{
    qvirtqueue_free(d->vq);
    qvirtio_free(d->dev);
}

static uint8_t request(BlockDisk *d, uint32_t type, uint64_t sector)
{
    QBuffer buffers[3] = { { d->header, 16, false },
                           { d->data, 512, type == T_IN },
                           { d->status, 1, true } };
    qtest_write(d->qts, d->header, type, 4);
    qtest_write(d->qts, d->header + 4, 0, 4);
    qtest_write(d->qts, d->header + 8, sector, 8);
    qvirtqueue_add(d->vq, buffers, 3);
    qvirtqueue_kick(d->vq);
    qvirtqueue_wait(d->vq, NULL);
    return (uint8_t)qtest_read(d->qts, d->status, 1);
}

uint8_t block_disk_write(BlockDisk *d, uint64_t sector, uint64_t value)
{
    qtest_write(d->qts, d->data, value, 8);
    return request(d, T_OUT, sector);
}

uint64_t block_disk_read(BlockDisk *d, uint64_t sector)
{
    g_assert_cmpuint(request(d, T_IN, sector), ==, 0);
    return qtest_read(d->qts, d->data, 8);
}

/* ---- Jobs ---- */

static char *status_of(QTest *qts, const char *id)
{
    char *status = NULL;
    json_object *list = qtest_qmp_ok(qts, "{'execute':'query-jobs'}");
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *job = json_object_array_get_idx(list, i);
        if (!g_strcmp0(json_text(job, "id"), id)) {
            status = g_strdup(json_text(job, "status"));
        }
    }
    json_object_put(list);
    return status;
}

void block_wait_job(QTest *qts, const char *id, const char *status)
{
    for (int i = 0; i < QTEST_TIMEOUT_MS; i++) {
        g_autofree char *now = status_of(qts, id);
        if (!g_strcmp0(now, status)) {
            return;
        }
        g_usleep(1000);
    }
    g_error("job '%s' never came to '%s'", id, status ? status : "its end");
}
