/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The power fails while a guest writes, discards and flushes: at any moment the qcow2 image that is
 * left has leaks at most, and has every sector which the guest's own flushes had covered.
 */
#include <stdlib.h>
#include <unistd.h>
#include "block/image.h"
#include "block/internal.h"
#include "config.h"
#include "tests/unit/crash-model.h"
#include "tests/unit/power-kit.h"
#include "tests/unit/qemu-img.h"
#include "vmm/memory/rcu.h"
#include "vmm/object/object.h"
#include "vmm/util/bytes.h"

#define SECTOR     512
#define MAX_SLOTS  8
#define BACKING    "backing.driver=raw,backing.file.driver=logged,backing.file.filename=base"
#define BASE_VALUE 0xba5eu
#define SECRET     "secret,id=s0,data=open-sesame"
#define KEY        "encrypt.key-secret=s0"

static char *folder;
static GMutex lock; /* guards Guest */

/* ---- The guest ---- */

typedef struct Slot {
    BlockRequest request;
    struct Guest *guest;
    bool busy;
    uint8_t *data;
    struct iovec iov;
    LoopTask task;
    uint64_t first, count; /* sectors */
    uint32_t value;
    unsigned issued;
} Slot;

typedef struct Layout {
    const char *name, *options, *open;
    uint64_t size;
    bool backing;
} Layout;

typedef struct Guest {
    const Layout *layout;
    Power *power;
    char *path, *base; /* where qemu-img looks at them */
    BlockBackend *backend;
    EventLoop *loop;
    GRand *rand;
    CrashModel model;
    GCond cond; /* with lock */
    int in_flight;
    Slot slots[MAX_SLOTS];
} Guest;

static void done(BlockRequest *request, int ret)
{
    Slot *slot = request->opaque;
    Guest *g = slot->guest;
    g_assert_cmpint(ret, ==, 0);
    g_mutex_lock(&lock);
    if (request->op == BLOCK_FLUSH) {
        crash_model_flushed(&g->model, slot->issued, power_tick(g->power));
    } else {
        crash_model_end(&g->model, slot->first, slot->count, power_tick(g->power));
    }
    g_free(slot->data);
    slot->busy = false;
    g->in_flight--;
    g_cond_signal(&g->cond);
    g_mutex_unlock(&lock);
}

static void submit(void *opaque)
{
    Slot *slot = opaque;
    block_submit(slot->guest->backend, &slot->request);
}

static bool overlaps(const Guest *g, uint64_t first, uint64_t count)
{
    for (int i = 0; i < MAX_SLOTS; i++) {
        const Slot *s = &g->slots[i];
        if (s->busy && first < s->first + s->count && s->first < first + count) {
            return true;
        }
    }
    return false;
}

static BlockOp choose_op(Guest *g)
{
    static const BlockOp ops[] = { BLOCK_WRITE,   BLOCK_WRITE,        BLOCK_WRITE, BLOCK_WRITE,
                                   BLOCK_DISCARD, BLOCK_WRITE_ZEROES, BLOCK_FLUSH, BLOCK_WRITE };
    return ops[g_rand_int_range(g->rand, 0, G_N_ELEMENTS(ops))];
}

static void prepare(Guest *g, Slot *slot, BlockOp op, uint64_t first, uint64_t count)
{
    memset(&slot->request, 0, sizeof(slot->request));
    slot->guest = g;
    slot->busy = true;
    slot->first = first;
    slot->count = op == BLOCK_FLUSH ? 0 : count;
    slot->value = op == BLOCK_WRITE ? ++g->model.last_value : 0;
    slot->data = aligned_alloc(4096, ALIGN_UP(count * SECTOR, 4096));
    for (uint64_t i = 0; i < count; i++) {
        crash_fill(slot->data + i * SECTOR, first + i, slot->value);
    }
    slot->iov = (struct iovec){ slot->data, count * SECTOR };
    slot->request = (BlockRequest){ .op = op,
                                    .flags = g_rand_boolean(g->rand) ? BLOCK_REQ_UNMAP : 0,
                                    .offset = first * SECTOR,
                                    .bytes = slot->count * SECTOR,
                                    .iov = &slot->iov,
                                    .iov_count = 1,
                                    .done = done,
                                    .opaque = slot };
    slot->issued = power_tick(g->power);
    crash_model_begin(&g->model, first, slot->count, slot->value, op == BLOCK_DISCARD,
                      slot->issued);
    g->in_flight++;
    slot->task = (LoopTask)LOOP_TASK_INIT(submit, slot);
}

static void work(Guest *g, int count)
{
    g_mutex_lock(&lock);
    for (int i = 0; i < count; i++) {
        uint64_t most = g_rand_boolean(g->rand) ? 16 : 200;
        uint64_t n =
            (uint64_t)g_rand_int_range(g->rand, 1, (gint32)MIN(most, g->model.sectors / 2));
        uint64_t first = (uint64_t)g_rand_int_range(g->rand, 0, (gint32)(g->model.sectors - n) + 1);
        while (g->in_flight == MAX_SLOTS) {
            g_cond_wait(&g->cond, &lock);
        }
        if (overlaps(g, first, n)) {
            continue;
        }
        Slot *slot = g->slots;
        while (slot->busy) {
            slot++;
        }
        prepare(g, slot, choose_op(g), first, n);
        event_loop_post(g->loop, &slot->task);
    }
    while (g->in_flight) {
        g_cond_wait(&g->cond, &lock);
    }
    g_mutex_unlock(&lock);
}

/* ---- Crashes ---- */

static bool is_encrypted(const Guest *g)
{
    return strstr(g->layout->open, KEY);
}

static void check_content(Guest *g, unsigned when)
{
    g_autoptr(GError) error = NULL;
    BlockOpenMode mode = { 0 };
    g_autofree uint8_t *data = g_malloc(g->model.sectors * SECTOR);
    bool encrypted = is_encrypted(g);
    g_autofree char *more = g_strdup_printf("%s%s%s", encrypted ? KEY : "",
                                            encrypted && g->layout->backing ? "," : "",
                                            g->layout->backing ? BACKING : "");
    BlockNode *node = power_open("image", "qcow2", more, &mode, &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_pread(node, 0, data, g->model.sectors * SECTOR), ==, 0);
    block_node_unref(node);
    crash_model_check(&g->model, data, g->model.sectors, when, g->layout->name);
}

/* Vireo's own check looks at every crash, qemu-img at some. */
static void crash_at(Guest *g, unsigned when, bool by_qemu)
{
    Power *cut = power_cut(g->power, when, g->rand);
    power_used = cut;
    BlockCheckResult result = power_check("image", 0);
    if (result.corruptions || result.check_errors) {
        g_error("power lost at %u: %d corruptions", when, (int)result.corruptions);
    }
    if (by_qemu) {
        power_save(cut, "image", g->path);
        if (g->layout->backing) {
            power_save(cut, "base", g->base);
        }
        int code = is_encrypted(g)
                       ? command_run(NULL, NULL,
                                     "qemu-img check --object " SECRET
                                     " --image-opts driver=qcow2," KEY ",file.filename=%s",
                                     g->path)
                       : qemu_img_check(g->path);
        g_assert_true(code == 0 || code == 3);
    }
    check_content(g, when);
    power_used = g->power;
    power_free(cut);
}

/* ---- One life ---- */

static const Layout layouts[] = {
    { "plain", "", "", 2 * MIB, false },
    { "512", "cluster_size=512", "", 256 * KIB, false },
    { "4k-unmap", "cluster_size=4k", "discard=unmap", 512 * KIB, false },
    { "refcount64", "refcount_bits=64,cluster_size=512", "", 256 * KIB, false },
    { "backing", "cluster_size=16k", "", 1 * MIB, true },
    { "extl2-backing", "extended_l2=on,cluster_size=16k", "", 1 * MIB, true },
    { "writethrough", "cluster_size=4k", "cache=writethrough", 256 * KIB, false },
#ifdef HAVE_GCRYPT
    { "luks", "cluster_size=4k,encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1", KEY,
      512 * KIB, false },
    { "aes-backing", "cluster_size=4k,encryption=on,encrypt.key-secret=s0", KEY, 512 * KIB, true },
#endif
};

static void make_base(Guest *g)
{
    uint64_t sectors = g->model.sectors / 2 + 3;
    g_autofree uint8_t *data = g_malloc0(sectors * SECTOR);
    for (uint64_t i = 0; i < sectors; i++) {
        if (i / 24 % 3) {
            crash_fill(data + i * SECTOR, i, BASE_VALUE);
            crash_model_learn(&g->model, i, BASE_VALUE);
        }
    }
    power_add_file(g->power, "base", data, sectors * SECTOR);
}

static void make_image(Guest *g)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf(
        "size=%" G_GUINT64_FORMAT "%s%s%s", g->layout->size, *g->layout->options ? "," : "",
        g->layout->options, g->layout->backing ? ",backing_file=base,backing_fmt=raw" : "");
    g_autoptr(Opts) options = opts_parse(text, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(block_image_create(g->path, "qcow2", options, &error));
    g_assert_no_error(error);
    char *data;
    gsize length;
    g_assert_true(g_file_get_contents(g->path, &data, &length, NULL));
    power_add_file(g->power, "image", data, length);
    g_free(data);
}

static void guest_start(Guest *g, const Layout *layout, uint32_t seed)
{
    g_autoptr(GError) error = NULL;
    memset(g, 0, sizeof(*g));
    g->layout = layout;
    g->rand = g_rand_new_with_seed(seed);
    g->power = power_used = power_new();
    g->path = g_build_filename(folder, "image.qcow2", NULL);
    g->base = g_build_filename(folder, "base", NULL);
    crash_model_init(&g->model, layout->size / SECTOR);
    if (layout->backing) {
        make_base(g);
    }
    make_image(g);
    g->loop = event_loop_new("work", LOOP_ENGINE_AUTO, &error);
    g_assert_true(event_loop_start(g->loop, &error));
    g_autofree char *text =
        g_strdup_printf("file.driver=logged,file.filename=image,format=qcow2,if=none,id=d0%s%s%s%s",
                        *layout->open ? "," : "", layout->open, layout->backing ? "," : "",
                        layout->backing ? BACKING : "");
    g_autoptr(Opts) drive = opts_parse(text, NULL, &error);
    drive_add(drive, NULL, &error);
    g_assert_no_error(error);
    g->backend = block_backend_attach("d0", "dev0", false, false, &error);
    g_assert_no_error(error);
    g_assert_true(block_backend_add_loop(g->backend, g->loop, &error));
}

static void guest_end(Guest *g)
{
    event_loop_free(g->loop);
    unlink(g->path);
    unlink(g->base);
    crash_model_clear(&g->model);
    power_free(g->power);
    g_free(g->path);
    g_free(g->base);
    g_rand_free(g->rand);
}

static void a_lost_power_loses_nothing_flushed(gconstpointer data)
{
    const char *seeds = g_getenv("QCOW2_SEEDS"), *first = g_getenv("QCOW2_FIRST");
    uint32_t count = seeds ? (uint32_t)atoi(seeds) : 4, from = first ? (uint32_t)atoi(first) : 1;
    for (uint32_t seed = from; seed < from + count; seed++) {
        Guest g;
        g_test_message("seed %u", seed);
        guest_start(&g, data, seed);
        work(&g, 150);
        block_backend_drain(g.backend);
        block_backend_detach(g.backend);
        drives_close();
        unsigned end = power_time(g.power);
        for (int i = 0; i < 60; i++) {
            crash_at(&g, (unsigned)g_rand_int_range(g.rand, 0, (gint32)end + 1), i < 3);
        }
        crash_at(&g, end, true);
        guest_end(&g);
    }
}

int main(int argc, char **argv)
{
    rcu_thread_register();
    block_allow_legacy_encryption(true);
    g_assert_true(object_create_from_text(SECRET, NULL));
    block_test_driver = &power_driver;
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("test-qcow2-crash-XXXXXX", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/crash/%s", layouts[i].name);
        g_test_add_data_func(path, &layouts[i], a_lost_power_loses_nothing_flushed);
    }
    int ret = g_test_run();
    rmdir(folder);
    g_free(folder);
    return ret;
}
