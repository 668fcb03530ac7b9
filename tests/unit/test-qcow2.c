/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qcow2 driver under random work: several loops write, read, discard and zero at once, on
 * images of every layout; what is read is compared with a model, what is left on disk by qemu-img.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "block/image.h"
#include "block/internal.h"
#include "config.h"
#include "tests/unit/block-load.h"
#include "tests/unit/qemu-img.h"
#include "tests/unit/seeds.h"
#include "vmm/memory/rcu.h"
#include "vmm/object/object.h"
#include "vmm/util/bytes.h"

#define SECTOR 512

typedef struct Layout {
    const char *name;
    const char *options; /* of create */
    const char *open;    /* of -drive */
    uint64_t size;
    bool backing;
} Layout;

#define SECRET "secret,id=s0,data=open-sesame"
#define LUKS   "encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1"

static const Layout layouts[] = {
    { "plain", "", "", 3 * MIB + 512, false },
    { "512", "cluster_size=512", "", 600 * KIB, false },
    { "4k", "cluster_size=4k", "cache=none", 2 * MIB, false },
    { "2m", "cluster_size=2M", "", 9 * MIB, false },
    { "v2", "compat=0.10", "", 3 * MIB, false },
    { "v2-backing", "compat=0.10,cluster_size=4k", "", 1 * MIB, true },
    { "refcount1", "refcount_bits=1,cluster_size=4k", "", 1 * MIB, false },
    { "refcount64", "refcount_bits=64,cluster_size=1k", "", 1 * MIB, false },
    { "backing", "", "", 2 * MIB + 1024, true },
    { "backing-4k", "cluster_size=4k", "cache=none", 1 * MIB, true },
    { "extl2", "extended_l2=on,cluster_size=64k", "", 3 * MIB, false },
    { "extl2-backing", "extended_l2=on,cluster_size=16k", "", 1 * MIB, true },
    { "preallocated", "preallocation=metadata,cluster_size=8k", "", 1 * MIB, false },
    { "unmap", "cluster_size=4k", "discard=unmap,detect-zeroes=unmap", 1 * MIB, false },
    { "writethrough", "cluster_size=8k", "cache=writethrough", 512 * KIB, false },
    { "tiny-cache", "cluster_size=512", "l2-cache-size=1", 1 * MIB, true },
#ifdef HAVE_GCRYPT
    { "luks", LUKS, "encrypt.key-secret=s0", 3 * MIB, false },
    { "luks-backing", LUKS ",cluster_size=4k,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv",
      "encrypt.key-secret=s0,cache=none", 1 * MIB, true },
    { "luks-extl2", LUKS ",extended_l2=on,cluster_size=16k", "encrypt.key-secret=s0,discard=unmap",
      1 * MIB, true },
    { "luks-preallocated", LUKS ",preallocation=metadata,cluster_size=8k", "encrypt.key-secret=s0",
      1 * MIB, false },
    { "aes", "encryption=on,encrypt.key-secret=s0", "encrypt.key-secret=s0,discard=unmap", 2 * MIB,
      true },
#endif
};

typedef struct Bench {
    BlockLoad load;
    const Layout *layout;
    char *folder, *path, *base;
    Drive *drive;
} Bench;

/* ---- Judging ---- */

static bool is_encrypted(const Bench *b)
{
    return strstr(b->layout->open, "key-secret");
}

/* qemu-img needs to be told the key. */
static void judge_encrypted(Bench *b)
{
    g_autofree char *raw = g_build_filename(b->folder, "model", NULL);
    g_assert_true(g_file_set_contents(raw, (char *)b->load.model, (gssize)b->load.size, NULL));
    g_autofree char *image = g_strdup_printf("--object " SECRET
                                             " --image-opts driver=qcow2,encrypt.key-secret=s0,"
                                             "file.filename=%s",
                                             b->path);
    g_assert_cmpint(command_run(NULL, NULL, "qemu-img check %s", image), ==, 0);
    g_assert_cmpint(
        command_run(NULL, NULL, "qemu-img compare %s driver=raw,file.filename=%s", image, raw), ==,
        0);
    unlink(raw);
}

/* Vireo's own check, and its reading with nothing in memory. */
static void judge_own(Bench *b)
{
    g_autoptr(GError) error = NULL;
    BlockOpenMode mode = { .for_check = true };
    BlockCheckResult result = { 0 };
    g_autofree uint8_t *data = g_malloc(b->load.size);
    g_autoptr(Opts) options = opts_new();
    if (is_encrypted(b)) {
        opts_set(options, "encrypt.key-secret", "s0");
    }
    BlockNode *node = block_image_open(b->path, "qcow2", options, &mode, &error);
    g_assert_no_error(error);
    g_assert_true(block_node_image_ops(node)->check(node, 0, &result, &error));
    g_assert_cmpuint(result.corruptions + result.leaks + result.check_errors, ==, 0);
    g_assert_cmpint(block_pread(node, 0, data, b->load.size), ==, 0);
    g_assert_true(!memcmp(data, b->load.model, b->load.size));
    block_node_unref(node);
}

/* qemu-img takes longer than all the work: it sees one seed in eight, and the last of each run. */
static void judge(Bench *b, bool by_qemu)
{
    judge_own(b);
    if (by_qemu && is_encrypted(b)) {
        judge_encrypted(b);
    } else if (by_qemu) {
        qemu_img_judge(b->path, b->load.model, b->load.size);
    }
}

/* ---- Opening ---- */

static void make_base(Bench *b)
{
    /* Shorter than the overlay, with holes. */
    uint64_t bytes = b->load.size / 2 / SECTOR * SECTOR + SECTOR;
    g_autofree uint8_t *data = g_malloc0(bytes);
    for (uint64_t at = 0; at + 3 * 4096 < bytes; at += 5 * 4096) {
        load_fill(b->load.rand, data + at, 3 * 4096);
    }
    memcpy(b->load.model, data, bytes);
    b->base = g_build_filename(b->folder, "base", NULL);
    g_assert_true(g_file_set_contents(b->base, (char *)data, (gssize)bytes, NULL));
}

static void bench_open(Bench *b)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf("file=%s,format=qcow2,if=none,id=d0%s%s", b->path,
                                            *b->layout->open ? "," : "", b->layout->open);
    g_autoptr(Opts) options = opts_parse(text, NULL, &error);
    g_assert_no_error(error);
    b->drive = drive_add(options, NULL, &error);
    g_assert_no_error(error);
    BlockBackend *backend = block_backend_attach("d0", "dev0", false, false, &error);
    g_assert_no_error(error);
    load_attach(&b->load, backend);
}

static void bench_close(Bench *b)
{
    block_backend_drain(b->load.backend);
    block_backend_detach(b->load.backend);
    drives_close();
}

static void bench_start(Bench *b, const Layout *layout, uint32_t seed)
{
    g_autoptr(GError) error = NULL;
    memset(b, 0, sizeof(*b));
    b->layout = layout;
    load_init(&b->load, layout->size, seed);
    b->folder = g_strdup("test-qcow2-XXXXXX"); /* in the build tree: tmpfs has no O_DIRECT */
    g_assert_nonnull(g_mkdtemp(b->folder));
    b->path = g_build_filename(b->folder, "image.qcow2", NULL);
    g_autoptr(Opts)
        options = opts_parse(*layout->options ? layout->options : "compat=1.1", NULL, &error);
    g_assert_no_error(error);
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, b->load.size);
    opts_set(options, "size", size);
    if (layout->backing) {
        make_base(b);
        opts_set(options, "backing_file", "base");
        opts_set(options, "backing_fmt", "raw");
    }
    g_assert_true(block_image_create(b->path, "qcow2", options, &error));
    g_assert_no_error(error);
    bench_open(b);
}

static void bench_end(Bench *b)
{
    load_free(&b->load);
    unlink(b->path);
    if (b->base) {
        unlink(b->base);
    }
    rmdir(b->folder);
    g_free(b->path);
    g_free(b->base);
    g_free(b->folder);
}

/* ---- Work ---- */

static void random_work(const Layout *layout, uint32_t seed, int rounds, int count, bool by_qemu)
{
    Bench b;
    bench_start(&b, layout, seed);
    for (int i = 0; i < rounds; i++) {
        load_work(&b.load, count);
        bench_close(&b);
        judge(&b, by_qemu);
        if (i + 1 < rounds) {
            bench_open(&b);
        }
    }
    bench_end(&b);
}

static void random_work_agrees_with_a_model(gconstpointer data)
{
    Seeds seeds = seeds_of_environment(12);
    for (uint32_t seed = seeds.from; seed < seeds.end; seed++) {
        g_test_message("seed %u", seed);
        random_work(data, seed, 2, 300, seed % 8 == 0 || seed + 1 == seeds.end);
    }
}

/* ---- Loops without number ---- */

#define CROWD 40

typedef struct Reader {
    BlockRequest request;
    BlockBackend *backend;
    struct iovec iov;
    uint8_t data[SECTOR];
} Reader;

static void reader_done(BlockRequest *request, int ret)
{
    g_assert_cmpint(ret, ==, 0);
}

static void reader_submit(void *opaque)
{
    Reader *r = opaque;
    block_submit(r->backend, &r->request);
}

static void crowd(const char *node_name)
{
    g_autoptr(GError) error = NULL;
    EventLoop *loops[CROWD];
    g_autofree Reader *readers = g_new0(Reader, CROWD);
    BlockBackend *backend = block_backend_attach(node_name, "dev", false, false, &error);
    g_assert_no_error(error);
    for (int i = 0; i < CROWD; i++) {
        Reader *r = &readers[i];
        loops[i] = event_loop_new("crowd", LOOP_ENGINE_EPOLL, &error);
        g_assert_true(event_loop_start(loops[i], &error));
        g_assert_true(block_backend_add_loop(backend, loops[i], &error));
        r->backend = backend;
        r->iov = (struct iovec){ r->data, SECTOR };
        r->request = (BlockRequest){ .op = i & 1 ? BLOCK_WRITE : BLOCK_READ,
                                     .offset = (uint64_t)i * 65536,
                                     .bytes = SECTOR,
                                     .iov = &r->iov,
                                     .iov_count = 1,
                                     .done = reader_done };
        event_loop_call(loops[i], reader_submit, r);
    }
    block_backend_drain(backend);
    block_backend_detach(backend);
    for (int i = 0; i < CROWD; i++) {
        event_loop_free(loops[i]);
    }
}

/* Disks come and go with I/O threads of their own; an image below several of them stays. */
static void any_number_of_loops_may_use_an_image(void)
{
    g_autoptr(GError) error = NULL;
    BlockOpenMode mode = { .writable = true };
    g_autoptr(Opts) options = opts_new();
    g_autofree char *path = g_strdup("test-qcow2-crowd-XXXXXX");
    close(g_mkstemp(path));
    opts_set(options, "size", "4M");
    g_assert_true(block_image_create(path, "qcow2", options, &error));
    BlockNode *node = block_image_open(path, "qcow2", NULL, &mode, &error);
    g_assert_no_error(error);
    for (int i = 0; i < 3; i++) {
        crowd(block_node_name(node));
    }
    block_node_unref(node);
    g_assert_cmpint(qemu_img_check(path), ==, 0);
    unlink(path);
}

int main(int argc, char **argv)
{
    rcu_thread_register();
    g_test_init(&argc, &argv, NULL);
    block_allow_legacy_encryption(true);
    g_assert_true(object_create_from_text(SECRET, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/random/%s", layouts[i].name);
        g_test_add_data_func(path, &layouts[i], random_work_agrees_with_a_model);
    }
    g_test_add_func("/qcow2/any-number-of-loops-may-use-an-image",
                    any_number_of_loops_may_use_an_image);
    return g_test_run();
}
