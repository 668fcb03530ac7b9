/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine is killed while its guest writes to a qcow2 disk and a job works on it. Afterwards
 * nobody holds the image's lock, qemu-img check finds leaks at most, and every write that a flush
 * of the guest's had covered is there.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "tests/device/libqtest.h"
#include "tests/unit/qemu-img.h"

#define BLOCK  4096
#define BLOCKS 2048
#define SLOTS  8
#define F_V1   (1ULL << 32)

enum { T_OUT = 1, T_FLUSH = 4 };

typedef struct Job {
    const char *name;
    const char *start; /* of QMP; NULL: none */
    const char *image; /* that the guest's disk is afterwards */
} Job;

#define ARGS(command, args) "{'execute':'" command "','arguments':{'device':'d'," args "}}"

static const Job jobs[] = {
    { "no-job", NULL, "top" },
    { "stream", ARGS("block-stream", "'job-id':'j'"), "top" },
    { "commit", ARGS("block-commit", "'job-id':'j'"), "top" },
    { "mirror",
      ARGS("drive-mirror", "'job-id':'j','target':'%s/target','sync':'full','format':'qcow2'"),
      "top" },
    { "backup",
      ARGS("drive-backup", "'job-id':'j','target':'%s/target','sync':'full','format':'qcow2'"),
      "top" },
    { "overlay", ARGS("blockdev-snapshot-sync", "'snapshot-file':'%s/over','format':'qcow2'"),
      "over" },
    { "internal-snapshot", ARGS("blockdev-snapshot-internal-sync", "'name':'s'"), "top" },
};

typedef struct Slot {
    uint64_t header, data, status;
    int block; /* -1: a flush; -2: free */
    uint32_t value;
    uint32_t before; /* of a flush: values up to here were written */
} Slot;

typedef struct Guest {
    QTest *qts;
    QVirtio *dev;
    QVirtQueue *vq;
    char *folder;
    GRand *rand;
    Slot slots[SLOTS];
    uint16_t heads[SLOTS];
    GArray *written[BLOCKS]; /* of uint32_t: every value asked for, in order */
    uint32_t safe[BLOCKS];   /* the last one that a flush covered */
    uint32_t next;
} Guest;

/* ---- The guest ---- */

static void guest_start(Guest *g)
{
    g->qts = qtest_start("-drive if=none,id=d,node-name=n,format=qcow2,file='%s/top' "
                         "-device virtio-blk-pci,id=v,drive=d",
                         g->folder);
    g->dev = qvirtio_new(qpci_find(g->qts, 0x1af4, 0x1001, 0));
    qvirtio_reset(g->dev);
    qvirtio_negotiate(g->dev, F_V1 | 1ULL << 9);
    g->vq = qvirtqueue_new(g->dev, 0, 64, 0xffff);
    qvirtio_driver_ok(g->dev);
    for (int i = 0; i < SLOTS; i++) {
        g->slots[i] = (Slot){ qtest_alloc(g->qts, 64, 64),
                              qtest_alloc(g->qts, BLOCK, 4096),
                              qtest_alloc(g->qts, 64, 64),
                              -2,
                              0,
                              0 };
    }
}

static void submit(Guest *g, Slot *slot, uint32_t type, uint64_t sector)
{
    QBuffer buffers[3] = { { slot->header, 16, false } };
    unsigned n = 1;
    qtest_write(g->qts, slot->header, type, 8);
    qtest_write(g->qts, slot->header + 8, sector, 8);
    qtest_write(g->qts, slot->status, 0xee, 1);
    if (type == T_OUT) {
        buffers[n++] = (QBuffer){ slot->data, BLOCK, false };
    }
    buffers[n++] = (QBuffer){ slot->status, 1, true };
    g->heads[slot - g->slots] = qvirtqueue_add(g->vq, buffers, n);
    qvirtqueue_kick(g->vq);
}

/* The slot's request has ended. */
static void end_slot(Guest *g, Slot *slot)
{
    g_assert_cmphex(qtest_read(g->qts, slot->status, 1), ==, 0);
    if (slot->block == -1) {
        for (int i = 0; i < BLOCKS; i++) { /* what had ended before it began */
            GArray *all = g->written[i];
            for (guint k = 0; k < all->len; k++) {
                uint32_t value = g_array_index(all, uint32_t, k);
                g->safe[i] = value <= slot->before ? MAX(g->safe[i], value) : g->safe[i];
            }
        }
    }
    slot->block = -2;
}

static void end_head(Guest *g, uint16_t id)
{
    for (int i = 0; i < SLOTS; i++) {
        if (g->slots[i].block != -2 && g->heads[i] == id) {
            end_slot(g, &g->slots[i]);
            return;
        }
    }
    g_assert_not_reached();
}

static void reap(Guest *g, bool wait)
{
    uint16_t id;
    uint32_t len;
    if (wait) {
        qvirtqueue_wait(g->vq, &id);
        end_head(g, id);
    }
    while (qvirtqueue_used(g->vq, &id, &len)) {
        end_head(g, id);
    }
}

static unsigned in_flight(const Guest *g)
{
    unsigned count = 0;
    for (int i = 0; i < SLOTS; i++) {
        count += g->slots[i].block != -2;
    }
    return count;
}

static void write_block(Guest *g, Slot *slot)
{
    uint8_t data[BLOCK];
    int block = g_rand_int_range(g->rand, 0, BLOCKS);
    for (int i = 0; i < SLOTS; i++) {
        if (g->slots[i].block == block) {
            return;
        }
    }
    slot->block = block;
    slot->value = ++g->next;
    for (int i = 0; i < BLOCK; i += 4) {
        memcpy(data + i, &slot->value, 4);
    }
    g_array_append_val(g->written[block], slot->value);
    qtest_memwrite(g->qts, slot->data, data, BLOCK);
    submit(g, slot, T_OUT, (uint64_t)block * (BLOCK / 512));
}

static void work(Guest *g, int count)
{
    for (int i = 0; i < count; i++) {
        reap(g, false);
        while (in_flight(g) == SLOTS) {
            reap(g, true);
        }
        Slot *slot = g->slots;
        while (slot->block != -2) {
            slot++;
        }
        while (i % 16 == 0 && in_flight(g)) { /* no descriptor comes round before it is free */
            reap(g, true);
        }
        if (i % 16 == 0) {
            slot = g->slots;
            slot->block = -1;
            slot->before = g->next;
            submit(g, slot, T_FLUSH, 0);
        } else {
            write_block(g, slot);
        }
    }
}

/* ---- Judging ---- */

static void judge_content(Guest *g, const char *image)
{
    g_autofree char *path = g_build_filename(g->folder, "raw", NULL);
    g_autofree char *data = NULL;
    gsize length;
    g_free(command_output(g->folder, "qemu-img convert -f qcow2 -O raw %s raw", image));
    g_assert_true(g_file_get_contents(path, &data, &length, NULL));
    g_assert_cmpuint(length, ==, BLOCKS * BLOCK);
    for (int i = 0; i < BLOCKS; i++) {
        uint32_t value;
        memcpy(&value, data + (gsize)i * BLOCK, 4);
        bool known = value == g->safe[i];
        for (guint k = 0; k < g->written[i]->len; k++) {
            uint32_t other = g_array_index(g->written[i], uint32_t, k);
            known |= other == value && other >= g->safe[i];
        }
        if (!known || memcmp(data + (gsize)i * BLOCK, data + (gsize)i * BLOCK + 4, BLOCK - 4)) {
            g_error("block %d is %u; %u was flushed", i, value, g->safe[i]);
        }
    }
}

static void judge_image(Guest *g, const char *image)
{
    g_autofree char *path = g_build_filename(g->folder, image, NULL);
    image_wait_unlocked(path);
    int code = qemu_img_check(path);
    if (code == 2) { /* an internal snapshot was just made: marked, and mended by who opens it */
        g_autofree char *info =
            command_output(g->folder, "qemu-img info --output=json -f qcow2 %s", image);
        g_assert_nonnull(strstr(info, "\"dirty-flag\": true"));
    } else {
        g_assert_true(code == 0 || code == 3);
    }
    g_assert_cmpint(command_run(g->folder, NULL, "qemu-img check -q -r all -f qcow2 %s", image), ==,
                    0);
}

/* ---- A life ---- */

static void make_images(Guest *g)
{
    g->folder = g_dir_make_tmp("vireo-kill-XXXXXX", NULL);
    g_free(command_output(g->folder,
                          "qemu-img create -q -f qcow2 -o cluster_size=4k base 8M && "
                          "qemu-img create -q -f qcow2 -o cluster_size=8k -b base -F qcow2 top && "
                          "qemu-img create -q -f qcow2 target 8M && "
                          "qemu-io -f qcow2 -c 'write -z 0 3M' base"));
}

static void one_life(const Job *job, uint32_t seed)
{
    Guest g = { .rand = g_rand_new_with_seed(seed) };
    for (int i = 0; i < BLOCKS; i++) {
        g.written[i] = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    }
    make_images(&g);
    guest_start(&g);
    work(&g, 40);
    if (job->start) {
        g_auto(GStrv) parts = g_strsplit(job->start, "%s", 2);
        g_autofree char *line = g_strjoinv(g.folder, parts);
        json_object_put(qtest_qmp_ok(g.qts, "%s", line));
    }
    work(&g, g_rand_int_range(g.rand, 1, 120));
    kill(g.qts->pid, SIGKILL);
    g_assert_cmpint(qtest_wait_exit(g.qts), ==, 128 + SIGKILL);
    judge_image(&g, "base");
    judge_image(&g, job->image);
    judge_content(&g, job->image);
    qvirtqueue_free(g.vq);
    qvirtio_free(g.dev);
    qtest_free(g.qts);
    command_run(NULL, NULL, "rm -rf '%s'", g.folder);
    for (int i = 0; i < BLOCKS; i++) {
        g_array_unref(g.written[i]);
    }
    g_free(g.folder);
    g_rand_free(g.rand);
}

static void a_killed_machine_loses_nothing_flushed(gconstpointer data)
{
    const char *many = g_getenv("VIREO_KILLS");
    int kills = many ? atoi(many) : 3;
    if (!qemu_is_here()) {
        g_test_skip("there is no qemu-img");
        return;
    }
    for (int i = 0; i < kills; i++) {
        one_life(data, (uint32_t)g_test_rand_int());
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(jobs); i++) {
        g_autofree char *path = g_strdup_printf("/killed/%s", jobs[i].name);
        g_test_add_data_func(path, &jobs[i], a_killed_machine_loses_nothing_flushed);
    }
    return g_test_run();
}
