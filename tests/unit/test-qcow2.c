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
#include "vmm/memory/rcu.h"
#include "vmm/util/bytes.h"

#define MAX_SLOTS 24
#define MAX_LOOPS 3
#define SECTOR    512

typedef struct Layout {
    const char *name;
    const char *options; /* of create */
    const char *open;    /* of -drive */
    uint64_t size;
    bool backing;
} Layout;

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
};

typedef struct Bench Bench;

typedef struct Slot {
    BlockRequest request;
    Bench *bench;
    int loop;
    bool busy, verify_discard;
    struct iovec iov[3];
    uint8_t *data;
    uint64_t offset, bytes;
    LoopTask task;
} Slot;

struct Bench {
    const Layout *layout;
    char *folder, *path, *base;
    Drive *drive;
    BlockBackend *backend;
    EventLoop *loops[MAX_LOOPS];
    uint8_t *model;
    uint64_t size;
    GRand *rand;
    GMutex lock;
    GCond cond;
    int in_flight;
    Slot slots[MAX_SLOTS];
};

/* ---- Judges ---- */

static int run(const char *format, ...) G_GNUC_PRINTF(1, 2);
static int run(const char *format, ...)
{
    va_list args;
    g_autofree char *output = NULL;
    g_autofree char *errors = NULL;
    int status = -1;
    va_start(args, format);
    g_autofree char *command = g_strdup_vprintf(format, args);
    va_end(args);
    g_autoptr(GError) error = NULL;
    g_spawn_command_line_sync(command, &output, &errors, &status, &error);
    g_assert_no_error(error);
    if (status) {
        g_test_message("%s: %d\n%s%s", command, status, output, errors);
    }
    return status;
}

static void judge(Bench *b)
{
    g_autofree char *raw = g_build_filename(b->folder, "model", NULL);
    g_assert_cmpint(run("qemu-img check -f qcow2 %s", b->path), ==, 0);
    g_assert_true(g_file_set_contents(raw, (char *)b->model, (gssize)b->size, NULL));
    g_assert_cmpint(run("qemu-img compare -f qcow2 -F raw %s %s", b->path, raw), ==, 0);
    unlink(raw);
}

/* ---- Opening ---- */

static void fill_random(GRand *rand, uint8_t *data, uint64_t bytes)
{
    uint32_t x = g_rand_int(rand) | 1;
    for (uint64_t i = 0; i < bytes; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (uint8_t)(x >> 24);
    }
}

static void make_base(Bench *b)
{
    /* Shorter than the overlay, with holes. */
    uint64_t bytes = b->size / 2 / SECTOR * SECTOR + SECTOR;
    g_autofree uint8_t *data = g_malloc0(bytes);
    for (uint64_t at = 0; at + 3 * 4096 < bytes; at += 5 * 4096) {
        fill_random(b->rand, data + at, 3 * 4096);
    }
    memcpy(b->model, data, bytes);
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
    b->backend = block_backend_attach("d0", "dev0", false, false, &error);
    g_assert_no_error(error);
    for (int i = 0; i < MAX_LOOPS; i++) {
        g_assert_true(block_backend_add_loop(b->backend, b->loops[i], &error));
        g_assert_no_error(error);
    }
}

static void bench_close(Bench *b)
{
    block_backend_drain(b->backend);
    block_backend_detach(b->backend);
    drives_close();
}

static void bench_start(Bench *b, const Layout *layout, uint32_t seed)
{
    g_autoptr(GError) error = NULL;
    memset(b, 0, sizeof(*b));
    b->layout = layout;
    b->size = layout->size;
    b->rand = g_rand_new_with_seed(seed);
    b->model = g_malloc0(b->size);
    b->folder = g_strdup("test-qcow2-XXXXXX"); /* in the build tree: tmpfs has no O_DIRECT */
    g_assert_nonnull(g_mkdtemp(b->folder));
    b->path = g_build_filename(b->folder, "image.qcow2", NULL);
    g_autoptr(Opts)
        options = opts_parse(*layout->options ? layout->options : "compat=1.1", NULL, &error);
    g_assert_no_error(error);
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, b->size);
    opts_set(options, "size", size);
    if (layout->backing) {
        make_base(b);
        opts_set(options, "backing_file", "base");
        opts_set(options, "backing_fmt", "raw");
    }
    g_assert_true(block_image_create(b->path, "qcow2", options, &error));
    g_assert_no_error(error);
    for (int i = 0; i < MAX_LOOPS; i++) {
        b->loops[i] = event_loop_new("work", LOOP_ENGINE_AUTO, &error);
        g_assert_true(event_loop_start(b->loops[i], &error));
    }
    bench_open(b);
}

static void bench_end(Bench *b)
{
    for (int i = 0; i < MAX_LOOPS; i++) {
        event_loop_free(b->loops[i]);
    }
    unlink(b->path);
    if (b->base) {
        unlink(b->base);
    }
    rmdir(b->folder);
    g_free(b->path);
    g_free(b->base);
    g_free(b->folder);
    g_free(b->model);
    g_rand_free(b->rand);
}

/* ---- Work ---- */

static bool overlaps(const Bench *b, uint64_t offset, uint64_t bytes)
{
    for (int i = 0; i < MAX_SLOTS; i++) {
        const Slot *s = &b->slots[i];
        if (s->busy && offset < s->offset + s->bytes && s->offset < offset + bytes) {
            return true;
        }
    }
    return false;
}

static void slot_free(Slot *slot)
{
    Bench *b = slot->bench;
    g_free(slot->data);
    g_mutex_lock(&b->lock);
    slot->busy = false;
    b->in_flight--;
    g_cond_signal(&b->cond);
    g_mutex_unlock(&b->lock);
}

static void check_read(Slot *slot)
{
    Bench *b = slot->bench;
    const uint8_t *model = b->model + slot->offset;
    for (uint64_t i = 0; i < slot->bytes; i++) {
        if (slot->data[i] != model[i]) {
            g_error("byte %" G_GUINT64_FORMAT " (of a read of %" G_GUINT64_FORMAT
                    " at %" G_GUINT64_FORMAT ") is %02x, not %02x",
                    slot->offset + i, slot->bytes, slot->offset, slot->data[i], model[i]);
        }
    }
}

/* A discard is a hint: each byte is what it was, or 0. */
static void learn_discard(Slot *slot)
{
    uint8_t *model = slot->bench->model + slot->offset;
    for (uint64_t i = 0; i < slot->bytes; i++) {
        g_assert_true(slot->data[i] == model[i] || slot->data[i] == 0);
        model[i] = slot->data[i];
    }
}

static void submit(Slot *slot, BlockOp op, unsigned flags);

static void done(BlockRequest *request, int ret)
{
    Slot *slot = request->opaque;
    g_assert_cmpint(ret, ==, 0);
    if (request->op == BLOCK_DISCARD) {
        slot->verify_discard = true;
        submit(slot, BLOCK_READ, 0);
        return;
    }
    if (request->op == BLOCK_READ && slot->verify_discard) {
        learn_discard(slot);
    } else if (request->op == BLOCK_READ) {
        check_read(slot);
    }
    slot_free(slot);
}

static void submit(Slot *slot, BlockOp op, unsigned flags)
{
    BlockRequest *r = &slot->request;
    uint64_t third = slot->bytes / 3 / SECTOR * SECTOR;
    int n = 0;
    memset(r, 0xa5, sizeof(*r));
    if (third) {
        slot->iov[n++] = (struct iovec){ slot->data, third };
    }
    slot->iov[n++] = (struct iovec){ slot->data + third, slot->bytes - third };
    r->op = op;
    r->flags = flags;
    r->offset = slot->offset;
    r->bytes = op == BLOCK_FLUSH ? 0 : slot->bytes;
    r->iov = slot->iov;
    r->iov_count = n;
    r->done = done;
    r->opaque = slot;
    block_submit(slot->bench->backend, r);
}

static void start_task(void *opaque)
{
    Slot *slot = opaque;
    submit(slot, slot->request.op, slot->request.flags);
}

static BlockOp choose_op(Bench *b)
{
    static const BlockOp ops[] = { BLOCK_READ,    BLOCK_READ,  BLOCK_READ,  BLOCK_WRITE,
                                   BLOCK_WRITE,   BLOCK_WRITE, BLOCK_WRITE, BLOCK_WRITE_ZEROES,
                                   BLOCK_DISCARD, BLOCK_FLUSH };
    return ops[g_rand_int_range(b->rand, 0, G_N_ELEMENTS(ops))];
}

static uint64_t choose_bytes(Bench *b)
{
    uint64_t most = g_rand_boolean(b->rand) ? 8 * KIB : 200 * KIB;
    uint64_t n = g_rand_int_range(b->rand, 1, (gint32)(MIN(most, b->size) / SECTOR)) * SECTOR;
    return n;
}

static void start_one(Bench *b)
{
    Slot *slot = b->slots;
    BlockOp op = choose_op(b);
    uint64_t bytes = choose_bytes(b);
    uint64_t offset =
        g_rand_int_range(b->rand, 0, (gint32)((b->size - bytes) / SECTOR) + 1) * SECTOR;
    if (g_rand_int_range(b->rand, 0, 4) == 0) { /* whole clusters, often */
        offset = MIN(ALIGN_DOWN(offset, 65536), b->size - bytes);
    }
    while (slot->busy) {
        slot++;
    }
    if (overlaps(b, offset, bytes)) {
        return;
    }
    slot->bench = b;
    slot->busy = true;
    slot->verify_discard = false;
    slot->offset = offset;
    slot->bytes = bytes;
    slot->data = aligned_alloc(4096, ALIGN_UP(bytes, 4096));
    slot->loop = g_rand_int_range(b->rand, 0, MAX_LOOPS);
    slot->request.op = op;
    slot->request.flags = 0;
    if (op == BLOCK_WRITE) {
        if (g_rand_int_range(b->rand, 0, 8) == 0) {
            memset(slot->data, 0, bytes);
        } else {
            fill_random(b->rand, slot->data, bytes);
        }
        memcpy(b->model + offset, slot->data, bytes);
    } else if (op == BLOCK_WRITE_ZEROES) {
        memset(b->model + offset, 0, bytes);
        slot->request.flags = g_rand_boolean(b->rand) ? BLOCK_REQ_UNMAP : 0;
    }
    if (g_rand_int_range(b->rand, 0, 20) == 0 && op != BLOCK_READ) {
        slot->request.flags |= BLOCK_REQ_FUA;
    }
    b->in_flight++;
    slot->task = (LoopTask)LOOP_TASK_INIT(start_task, slot);
    event_loop_post(b->loops[slot->loop], &slot->task);
}

static void wait_for(Bench *b, int most)
{
    while (b->in_flight > most) {
        g_cond_wait(&b->cond, &b->lock);
    }
}

static void work(Bench *b, int count)
{
    g_mutex_lock(&b->lock);
    for (int i = 0; i < count; i++) {
        wait_for(b, MAX_SLOTS - 1);
        start_one(b);
    }
    wait_for(b, 0);
    g_mutex_unlock(&b->lock);
}

static void random_work(const Layout *layout, uint32_t seed, int rounds, int count)
{
    Bench b;
    bench_start(&b, layout, seed);
    for (int i = 0; i < rounds; i++) {
        work(&b, count);
        bench_close(&b);
        judge(&b);
        if (i + 1 < rounds) {
            bench_open(&b);
        }
    }
    bench_end(&b);
}

static void random_work_agrees_with_a_model(gconstpointer data)
{
    const char *seeds = g_getenv("QCOW2_SEEDS"), *first = g_getenv("QCOW2_FIRST");
    uint32_t count = seeds ? (uint32_t)atoi(seeds) : 3, from = first ? (uint32_t)atoi(first) : 1;
    for (uint32_t seed = from; seed < from + count; seed++) {
        g_test_message("seed %u", seed);
        random_work(data, seed, 2, 300);
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
    g_assert_cmpint(run("qemu-img check -f qcow2 %s", path), ==, 0);
    unlink(path);
}

int main(int argc, char **argv)
{
    rcu_thread_register();
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/random/%s", layouts[i].name);
        g_test_add_data_func(path, &layouts[i], random_work_agrees_with_a_model);
    }
    g_test_add_func("/qcow2/any-number-of-loops-may-use-an-image",
                    any_number_of_loops_may_use_an_image);
    return g_test_run();
}
