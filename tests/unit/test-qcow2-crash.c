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
#include "tests/unit/crash-guest.h"
#include "tests/unit/qemu-img.h"
#include "tests/unit/seeds.h"
#include "vmm/memory/rcu.h"
#include "vmm/object/object.h"
#include "vmm/util/bytes.h"

#define SECTOR     512
#define BACKING    "backing.driver=raw,backing.file.driver=logged,backing.file.filename=base"
#define BASE_VALUE 0xba5eu
#define SECRET     "secret,id=s0,data=open-sesame"
#define KEY        "encrypt.key-secret=s0"

static char *folder;

typedef struct Layout {
    const char *name, *options, *open;
    uint64_t size;
    bool backing;
} Layout;

typedef struct Life {
    CrashGuest guest;
    const Layout *layout;
    char *path, *base; /* where qemu-img looks at them */
} Life;

/* ---- Crashes ---- */

static bool is_encrypted(const Life *l)
{
    return strstr(l->layout->open, KEY);
}

static void check_content(Life *l, unsigned when)
{
    g_autoptr(GError) error = NULL;
    BlockOpenMode mode = { 0 };
    g_autofree uint8_t *data = g_malloc(l->guest.model.sectors * SECTOR);
    bool encrypted = is_encrypted(l);
    g_autofree char *more = g_strdup_printf("%s%s%s", encrypted ? KEY : "",
                                            encrypted && l->layout->backing ? "," : "",
                                            l->layout->backing ? BACKING : "");
    BlockNode *node = power_open("image", "qcow2", more, &mode, &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_pread(node, 0, data, l->guest.model.sectors * SECTOR), ==, 0);
    block_node_unref(node);
    crash_model_check(&l->guest.model, data, l->guest.model.sectors, when, l->layout->name);
}

/* Vireo's own check looks at every crash, qemu-img at some. */
static void crash_at(Life *l, unsigned when, bool by_qemu)
{
    Power *cut = power_cut(l->guest.power, when, l->guest.rand);
    power_used = cut;
    BlockCheckResult result = power_check("image", 0);
    if (result.corruptions || result.check_errors) {
        g_error("power lost at %u: %d corruptions", when, (int)result.corruptions);
    }
    if (by_qemu) {
        power_save(cut, "image", l->path);
        if (l->layout->backing) {
            power_save(cut, "base", l->base);
        }
        int code = is_encrypted(l)
                       ? command_run(NULL, NULL,
                                     "qemu-img check --object " SECRET
                                     " --image-opts driver=qcow2," KEY ",file.filename=%s",
                                     l->path)
                       : qemu_img_check(l->path);
        g_assert_true(code == 0 || code == 3);
    }
    check_content(l, when);
    power_used = l->guest.power;
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

static void make_base(Life *l)
{
    uint64_t sectors = l->guest.model.sectors / 2 + 3;
    g_autofree uint8_t *data = g_malloc0(sectors * SECTOR);
    for (uint64_t i = 0; i < sectors; i++) {
        if (i / 24 % 3) {
            crash_fill(data + i * SECTOR, i, BASE_VALUE);
            crash_model_learn(&l->guest.model, i, BASE_VALUE);
        }
    }
    power_add_file(l->guest.power, "base", data, sectors * SECTOR);
}

static void make_image(Life *l)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf(
        "size=%" G_GUINT64_FORMAT "%s%s%s", l->layout->size, *l->layout->options ? "," : "",
        l->layout->options, l->layout->backing ? ",backing_file=base,backing_fmt=raw" : "");
    g_autoptr(Opts) options = opts_parse(text, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(block_image_create(l->path, "qcow2", options, &error));
    g_assert_no_error(error);
    char *data;
    gsize length;
    g_assert_true(g_file_get_contents(l->path, &data, &length, NULL));
    power_add_file(l->guest.power, "image", data, length);
    g_free(data);
}

static void life_start(Life *l, const Layout *layout, uint32_t seed)
{
    g_autoptr(GError) error = NULL;
    l->layout = layout;
    crash_guest_init(&l->guest, layout->size / SECTOR, seed);
    l->path = g_build_filename(folder, "image.qcow2", NULL);
    l->base = g_build_filename(folder, "base", NULL);
    if (layout->backing) {
        make_base(l);
    }
    make_image(l);
    g_autofree char *text =
        g_strdup_printf("file.driver=logged,file.filename=image,format=qcow2,if=none,id=d0%s%s%s%s",
                        *layout->open ? "," : "", layout->open, layout->backing ? "," : "",
                        layout->backing ? BACKING : "");
    g_autoptr(Opts) drive = opts_parse(text, NULL, &error);
    drive_add(drive, NULL, &error);
    g_assert_no_error(error);
    crash_guest_attach(&l->guest);
}

static void life_end(Life *l)
{
    unlink(l->path);
    unlink(l->base);
    g_free(l->path);
    g_free(l->base);
    crash_guest_clear(&l->guest);
}

static void a_lost_power_loses_nothing_flushed(gconstpointer data)
{
    Seeds seeds = seeds_of_environment(4);
    for (uint32_t seed = seeds.from; seed < seeds.end; seed++) {
        Life l;
        g_test_message("seed %u", seed);
        life_start(&l, data, seed);
        crash_guest_work(&l.guest, 150);
        crash_guest_detach(&l.guest);
        unsigned end = power_time(l.guest.power);
        for (int i = 0; i < 60; i++) {
            crash_at(&l, (unsigned)g_rand_int_range(l.guest.rand, 0, (gint32)end + 1), i < 3);
        }
        crash_at(&l, end, true);
        life_end(&l);
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
