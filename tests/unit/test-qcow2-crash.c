/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The power fails: a protocol in memory keeps a log of what a qcow2 image writes and flushes while
 * a disk is worked on. Afterwards the file is put together as it may have been at any moment: with
 * everything a flush had covered, and with any of the sectors written since, or not. Every such
 * file must be an image in which qemu-img finds leaks at most, and that has every sector which the
 * guest's own flushes had covered.
 */
#include <stdlib.h>
#include <unistd.h>
#include "block/image.h"
#include "block/internal.h"
#include "vmm/memory/rcu.h"
#include "vmm/util/bytes.h"

#define SECTOR     512
#define FILE_LIMIT (24 * MIB)
#define MAX_SLOTS  8

/* ---- The logged file ---- */

typedef struct Event {
    bool flush;
    uint64_t offset, bytes;
    uint8_t *data;          /* NULL: zeroes */
    unsigned issued, ended; /* ticks; ended 0: not yet */
} Event;

static GMutex lock; /* guards all below */
static GPtrArray *events;
static unsigned tick;
static uint8_t *content, *initial;
static uint64_t content_length, initial_length;

static Event *log_event(bool flush, uint64_t offset, uint64_t bytes)
{
    Event *e = g_new0(Event, 1);
    e->flush = flush;
    e->offset = offset;
    e->bytes = bytes;
    e->issued = ++tick;
    g_ptr_array_add(events, e);
    return e;
}

static bool logged_open(BlockNode *node, Opts *options, GError **error)
{
    atomic_store(&node->length, content_length);
    node->filename = g_strdup(opts_get(options, "filename"));
    node->limits = (BlockLimits){ .request_alignment = 1,
                                  .logical_block = SECTOR,
                                  .physical_block = SECTOR,
                                  .max_iov = 1024,
                                  .discard_granularity = SECTOR,
                                  .has_write_zeroes = true };
    return true;
}

static void logged_close(BlockNode *node)
{
}

static void apply(uint64_t offset, const uint8_t *data, uint64_t bytes)
{
    g_assert_true(range_inside(offset, bytes, FILE_LIMIT));
    if (data) {
        memcpy(content + offset, data, bytes);
    } else {
        memset(content + offset, 0, bytes);
    }
    content_length = MAX(content_length, offset + bytes);
}

static void logged_ended(void *opaque)
{
    BlockRequest *request = opaque;
    g_mutex_lock(&lock);
    if (request->guard) {
        ((Event *)request->guard)->ended = ++tick;
        request->guard = NULL;
    }
    g_mutex_unlock(&lock);
    block_request_complete(request, 0);
}

static void logged_submit(BlockNode *node, BlockRequest *request)
{
    g_mutex_lock(&lock);
    request->guard = NULL;
    switch (request->kind) {
    case BLOCK_READ: {
        uint64_t there = request->position < FILE_LIMIT
                             ? MIN(request->bytes, FILE_LIMIT - request->position)
                             : 0;
        iov_copy(request->kiov, request->kiov_count, 0, content + request->position, there, true);
        iov_zero_from(request->kiov, request->kiov_count, there);
        break;
    }
    case BLOCK_WRITE: {
        Event *e = log_event(false, request->position, request->bytes);
        e->data = g_malloc(request->bytes);
        iov_copy(request->kiov, request->kiov_count, 0, e->data, request->bytes, false);
        apply(e->offset, e->data, e->bytes);
        request->guard = e;
        break;
    }
    case BLOCK_DISCARD:
    case BLOCK_WRITE_ZEROES:
        request->guard = log_event(false, request->position, request->bytes);
        apply(request->position, NULL, request->bytes);
        break;
    default:
        request->guard = log_event(true, 0, 0);
        break;
    }
    g_mutex_unlock(&lock);
    request->task = (LoopTask)LOOP_TASK_INIT(logged_ended, request);
    event_loop_defer(request->loop, &request->task);
}

static int logged_transfer(BlockNode *node, uint64_t offset, void *data, uint64_t bytes, bool write)
{
    g_mutex_lock(&lock);
    if (write) {
        Event *e = log_event(false, offset, bytes);
        e->data = g_memdup2(data, bytes);
        apply(offset, data, bytes);
        e->ended = ++tick;
    } else {
        uint64_t there = offset < FILE_LIMIT ? MIN(bytes, FILE_LIMIT - offset) : 0;
        memcpy(data, content + offset, there);
        memset((uint8_t *)data + there, 0, bytes - there);
    }
    g_mutex_unlock(&lock);
    return 0;
}

static int logged_flush(BlockNode *node)
{
    g_mutex_lock(&lock);
    Event *e = log_event(true, 0, 0);
    e->ended = ++tick;
    g_mutex_unlock(&lock);
    return 0;
}

static const char *const logged_options[] = { "filename", NULL };
static const BlockDriver logged_driver = {
    .name = "logged",
    .desc = "A file in memory that remembers",
    .options = logged_options,
    .open = logged_open,
    .close = logged_close,
    .submit = logged_submit,
    .transfer = logged_transfer,
    .flush = logged_flush,
};

/* ---- The guest's view: versions of each sector ---- */

typedef struct Version {
    uint32_t value; /* 0: zeroes */
    bool hint;      /* a discard: it may have left what was there */
    unsigned issued, ended;
} Version;

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
    char *folder, *base;
    BlockBackend *backend;
    EventLoop *loop;
    GRand *rand;
    uint64_t sectors;
    GArray **versions; /* of Version, a sector each */
    GArray *flushes;   /* of Version: ended ones */
    uint32_t next_value;
    GCond cond; /* with lock */
    int in_flight;
    Slot slots[MAX_SLOTS];
} Guest;

#define BASE_VALUE 0xba5eu

static void fill_sector(uint8_t *data, uint64_t sector, uint32_t value)
{
    for (int i = 0; i < SECTOR; i += 8) {
        store_be64(data + i, value ? (uint64_t)value << 32 | sector : 0);
    }
}

/* Which version it is; UINT32_MAX: none that ever was. */
static uint32_t sector_value(const uint8_t *data, uint64_t sector)
{
    uint64_t first = load_be64(data);
    for (int i = 8; i < SECTOR; i += 8) {
        if (load_be64(data + i) != first) {
            return UINT32_MAX;
        }
    }
    return !first ? 0 : (uint32_t)first == sector ? (uint32_t)(first >> 32) : UINT32_MAX;
}

static void add_version(Guest *g, const Slot *slot, unsigned ended)
{
    for (uint64_t i = 0; i < slot->count; i++) {
        GArray *all = g->versions[slot->first + i];
        if (!ended) {
            Version v = { .value = slot->value,
                          .hint = slot->request.op == BLOCK_DISCARD,
                          .issued = slot->issued };
            g_array_append_val(all, v);
        } else {
            g_array_index(all, Version, all->len - 1).ended = ended;
        }
    }
}

static void done(BlockRequest *request, int ret)
{
    Slot *slot = request->opaque;
    Guest *g = slot->guest;
    g_assert_cmpint(ret, ==, 0);
    g_mutex_lock(&lock);
    if (request->op == BLOCK_FLUSH) {
        Version v = { .issued = slot->issued, .ended = ++tick };
        g_array_append_val(g->flushes, v);
    } else {
        add_version(g, slot, ++tick);
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
    slot->value = op == BLOCK_WRITE ? ++g->next_value : 0;
    slot->data = aligned_alloc(4096, ALIGN_UP(count * SECTOR, 4096));
    for (uint64_t i = 0; i < count; i++) {
        fill_sector(slot->data + i * SECTOR, first + i, slot->value);
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
    slot->issued = ++tick;
    add_version(g, slot, 0);
    g->in_flight++;
    slot->task = (LoopTask)LOOP_TASK_INIT(submit, slot);
}

static void work(Guest *g, int count)
{
    g_mutex_lock(&lock);
    for (int i = 0; i < count; i++) {
        uint64_t most = g_rand_boolean(g->rand) ? 16 : 200;
        uint64_t n = (uint64_t)g_rand_int_range(g->rand, 1, (gint32)MIN(most, g->sectors / 2));
        uint64_t first = (uint64_t)g_rand_int_range(g->rand, 0, (gint32)(g->sectors - n) + 1);
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

/* The moment until which a flush that had ended by `when` covers. */
static unsigned covered_until(unsigned when)
{
    unsigned until = 0;
    for (guint i = 0; i < events->len; i++) {
        const Event *e = events->pdata[i];
        if (e->flush && e->ended && e->ended <= when) {
            until = MAX(until, e->issued);
        }
    }
    return until;
}

static void put(GByteArray *image, uint64_t offset, const uint8_t *data, uint64_t bytes)
{
    if (image->len < offset + bytes) {
        guint old = image->len;
        g_byte_array_set_size(image, (guint)(offset + bytes));
        memset(image->data + old, 0, image->len - old);
    }
    if (data) {
        memcpy(image->data + offset, data, bytes);
    } else {
        memset(image->data + offset, 0, bytes);
    }
}

static GByteArray *image_at(Guest *g, unsigned when)
{
    unsigned until = covered_until(when);
    int chance = g_rand_int_range(g->rand, 0, 4); /* of what nothing covers: none ... most */
    GByteArray *image = g_byte_array_new();
    put(image, 0, initial, initial_length);
    for (guint i = 0; i < events->len; i++) {
        const Event *e = events->pdata[i];
        if (e->flush || e->issued > when) {
            continue;
        }
        bool sure = e->ended && e->ended <= until;
        for (uint64_t at = 0; at < e->bytes;) {
            uint64_t n = MIN(e->bytes - at, SECTOR - ((e->offset + at) & (SECTOR - 1)));
            if (sure || g_rand_int_range(g->rand, 0, 4) < chance) {
                put(image, e->offset + at, e->data ? e->data + at : NULL, n);
            }
            at += n;
        }
    }
    return image;
}

static bool is_allowed(Guest *g, uint64_t sector, uint32_t value, unsigned flushed, unsigned when)
{
    const GArray *all = g->versions[sector];
    bool allowed = false;
    for (guint i = 0; i < all->len; i++) {
        const Version *v = &g_array_index(all, Version, i);
        if (v->issued > when) {
            break;
        }
        if (v->ended && v->ended <= flushed && !v->hint) {
            allowed = false; /* what was there before is no longer a choice */
        }
        allowed |= v->value == value;
    }
    return allowed;
}

static void check_content(Guest *g, const char *path, unsigned when)
{
    g_autoptr(GError) error = NULL;
    BlockOpenMode mode = { 0 };
    g_autofree uint8_t *data = g_malloc(g->sectors * SECTOR);
    unsigned flushed = 0;
    BlockNode *node = block_image_open(path, "qcow2", NULL, &mode, &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_pread(node, 0, data, g->sectors * SECTOR), ==, 0);
    block_node_unref(node);
    for (guint i = 0; i < g->flushes->len; i++) {
        const Version *f = &g_array_index(g->flushes, Version, i);
        flushed = f->ended <= when ? MAX(flushed, f->issued) : flushed;
    }
    for (uint64_t i = 0; i < g->sectors; i++) {
        uint32_t value = sector_value(data + i * SECTOR, i);
        if (!is_allowed(g, i, value, flushed, when)) {
            g_error("power lost at %u, flushed until %u: sector %" G_GUINT64_FORMAT
                    " has version %u",
                    when, flushed, i, value);
        }
    }
}

static void crash_at(Guest *g, unsigned when)
{
    g_autofree char *path = g_build_filename(g->folder, "crashed.qcow2", NULL);
    g_autofree char *command = g_strdup_printf("qemu-img check -q -f qcow2 %s", path);
    g_autofree char *output = NULL;
    g_autofree char *errors = NULL;
    int status = 0;
    GByteArray *image = image_at(g, when);
    g_assert_true(g_file_set_contents(path, (char *)image->data, image->len, NULL));
    g_byte_array_unref(image);
    g_assert_true(g_spawn_command_line_sync(command, &output, &errors, &status, NULL));
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code != 0 && code != 3) {
        g_error("power lost at %u: qemu-img check says %d: %s%s", when, code, output, errors);
    }
    check_content(g, path, when);
    unlink(path);
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
};

static void make_base(Guest *g)
{
    uint64_t sectors = g->sectors / 2 + 3;
    g_autofree uint8_t *data = g_malloc0(sectors * SECTOR);
    for (uint64_t i = 0; i < sectors; i++) {
        if (i / 24 % 3) {
            Version v = { .value = BASE_VALUE };
            fill_sector(data + i * SECTOR, i, BASE_VALUE);
            g_array_append_val(g->versions[i], v);
        }
    }
    g->base = g_build_filename(g->folder, "base", NULL);
    g_assert_true(g_file_set_contents(g->base, (char *)data, (gssize)(sectors * SECTOR), NULL));
}

static void load_initial(const char *path)
{
    char *data;
    gsize length;
    g_assert_true(g_file_get_contents(path, &data, &length, NULL));
    initial = (uint8_t *)data;
    initial_length = content_length = length;
    content = g_malloc0(FILE_LIMIT);
    memcpy(content, data, length);
}

static void guest_start(Guest *g, const Layout *layout, uint32_t seed)
{
    g_autoptr(GError) error = NULL;
    memset(g, 0, sizeof(*g));
    g->layout = layout;
    g->rand = g_rand_new_with_seed(seed);
    g->sectors = layout->size / SECTOR;
    g->flushes = g_array_new(FALSE, FALSE, sizeof(Version));
    g->versions = g_new(GArray *, g->sectors);
    for (uint64_t i = 0; i < g->sectors; i++) {
        Version v = { 0 };
        g->versions[i] = g_array_new(FALSE, FALSE, sizeof(Version));
        g_array_append_val(g->versions[i], v);
    }
    events = g_ptr_array_new();
    tick = 0;
    g->folder = g_strdup("test-qcow2-crash-XXXXXX");
    g_assert_nonnull(g_mkdtemp(g->folder));
    g_autofree char *path = g_build_filename(g->folder, "image.qcow2", NULL);
    g_autoptr(Opts)
        options = opts_parse(*layout->options ? layout->options : "compat=1.1", NULL, &error);
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, layout->size);
    opts_set(options, "size", size);
    if (layout->backing) {
        make_base(g);
        opts_set(options, "backing_file", "base");
        opts_set(options, "backing_fmt", "raw");
    }
    g_assert_true(block_image_create(path, "qcow2", options, &error));
    g_assert_no_error(error);
    load_initial(path);
    g->loop = event_loop_new("work", LOOP_ENGINE_AUTO, &error);
    g_assert_true(event_loop_start(g->loop, &error));
    g_autofree char *text =
        g_strdup_printf("file.driver=logged,file.filename=%s,format=qcow2,if=none,id=d0%s%s", path,
                        *layout->open ? "," : "", layout->open);
    g_autoptr(Opts) drive = opts_parse(text, NULL, &error);
    drive_add(drive, NULL, &error);
    g_assert_no_error(error);
    g->backend = block_backend_attach("d0", "dev0", false, false, &error);
    g_assert_no_error(error);
    g_assert_true(block_backend_add_loop(g->backend, g->loop, &error));
    unlink(path);
}

static void event_free(void *opaque)
{
    Event *e = opaque;
    g_free(e->data);
    g_free(e);
}

static void guest_end(Guest *g)
{
    event_loop_free(g->loop);
    if (g->base) {
        unlink(g->base);
    }
    rmdir(g->folder);
    for (uint64_t i = 0; i < g->sectors; i++) {
        g_array_unref(g->versions[i]);
    }
    g_ptr_array_set_free_func(events, event_free);
    g_ptr_array_unref(events);
    g_array_unref(g->flushes);
    g_free(g->versions);
    g_free(g->folder);
    g_free(g->base);
    g_free(content);
    g_free(initial);
    g_rand_free(g->rand);
}

static void a_lost_power_loses_nothing_flushed(gconstpointer data)
{
    const char *seeds = g_getenv("QCOW2_SEEDS"), *first = g_getenv("QCOW2_FIRST");
    uint32_t count = seeds ? (uint32_t)atoi(seeds) : 2, from = first ? (uint32_t)atoi(first) : 1;
    for (uint32_t seed = from; seed < from + count; seed++) {
        Guest g;
        g_test_message("seed %u", seed);
        guest_start(&g, data, seed);
        work(&g, 150);
        block_backend_drain(g.backend);
        block_backend_detach(g.backend);
        drives_close();
        for (int i = 0; i < 25; i++) {
            crash_at(&g, (unsigned)g_rand_int_range(g.rand, 0, (gint32)tick + 1));
        }
        crash_at(&g, tick);
        guest_end(&g);
    }
}

int main(int argc, char **argv)
{
    rcu_thread_register();
    block_test_driver = &logged_driver;
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/crash/%s", layouts[i].name);
        g_test_add_data_func(path, &layouts[i], a_lost_power_loses_nothing_flushed);
    }
    return g_test_run();
}
