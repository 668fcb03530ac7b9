/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filters copy-on-read and blkdebug. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "block/internal.h"
#include "vmm/util/bytes.h"

#define SIZE (2 * MIB)

static BlockNode *open_node(const char *text, GError **error)
{
    g_autoptr(Opts) options = opts_parse(text, "driver", error);
    return options ? block_node_open(options, error) : NULL;
}

/* ---- copy-on-read ---- */

typedef struct Overlay {
    char *folder, *base, *top;
    BlockNode *node;
    EventLoop *loop;
} Overlay;

static void overlay_open(Overlay *o)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *data = g_malloc(SIZE);
    memset(data, 0x11, SIZE);
    memset(data + MIB, 0, 65536);
    o->folder = g_dir_make_tmp("vireo-filter-XXXXXX", NULL);
    o->base = g_build_filename(o->folder, "base", NULL);
    o->top = g_build_filename(o->folder, "top", NULL);
    g_assert_true(g_file_set_contents(o->base, data, SIZE, NULL));
    g_autoptr(Opts) create = opts_new();
    opts_set(create, "size", "2M");
    opts_set(create, "backing_file", o->base);
    opts_set(create, "backing_fmt", "raw");
    g_assert_true(block_image_create(o->top, "qcow2", create, &error));
    g_assert_no_error(error);
    g_autofree char *text = g_strdup_printf("copy-on-read,node-name=cor,file.driver=qcow2,"
                                            "file.node-name=top,file.file.driver=file,"
                                            "file.file.filename=%s",
                                            o->top);
    o->node = open_node(text, &error);
    g_assert_no_error(error);
    o->loop = event_loop_new("test", LOOP_ENGINE_AUTO, &error);
    g_assert_true(event_loop_start(o->loop, &error));
}

static void overlay_close(Overlay *o)
{
    event_loop_free(o->loop);
    g_assert_true(block_node_delete("cor", NULL));
    unlink(o->base);
    unlink(o->top);
    rmdir(o->folder);
    g_free(o->folder);
    g_free(o->base);
    g_free(o->top);
}

static bool is_allocated(uint64_t offset)
{
    BlockStatus status;
    g_assert_cmpint(block_status(block_node_find("top"), offset, 512, &status), ==, 0);
    return status.flags & BLOCK_STATUS_ALLOCATED;
}

static void what_is_read_is_in_the_overlay_then(void)
{
    Overlay o;
    g_autofree uint8_t *data = g_malloc(SIZE);
    overlay_open(&o);
    g_assert_false(is_allocated(0));
    g_assert_cmpint(block_pread(o.node, 0, data, 65536), ==, 0);
    g_assert_cmphex(data[65535], ==, 0x11);
    g_assert_true(is_allocated(0));
    g_assert_false(is_allocated(65536));
    g_assert_cmpint(block_pwrite(o.node, 70000, "new", 3), ==, 0);
    g_assert_cmpint(block_pread(o.node, 0, data, SIZE), ==, 0);
    g_assert_cmpmem(data + 70000, 3, "new", 3);
    g_assert_cmphex(data[MIB], ==, 0);
    g_assert_cmphex(data[SIZE - 1], ==, 0x11);
    g_assert_true(is_allocated(SIZE - 512) && is_allocated(MIB));
    /* All of it is there without the base. */
    memset(data, 0, SIZE);
    g_assert_cmpint(block_pread(block_node_find("top"), 0, data, SIZE), ==, 0);
    g_assert_cmphex(data[SIZE / 4], ==, 0x11);
    overlay_close(&o);
}

typedef struct Race {
    Overlay *o;
    LoopTask task;
    BlockRequest requests[64];
    uint8_t data[64][4096];
    struct iovec iov[64];
    _Atomic int left;
} Race;

static void race_done(BlockRequest *request, int ret)
{
    Race *race = request->opaque;
    block_request_release(request);
    g_assert_cmpint(ret, ==, 0);
    race->left--;
}

/* Reads and writes of the same place at once. */
static void race_start(void *opaque)
{
    Race *race = opaque;
    for (int i = 0; i < 64; i++) {
        bool write = i % 4 == 3;
        memset(race->data[i], 0x22, sizeof(race->data[i]));
        race->iov[i] = (struct iovec){ race->data[i], sizeof(race->data[i]) };
        block_request_init(&race->requests[i], race->o->loop, write ? BLOCK_WRITE : BLOCK_READ,
                           (uint64_t)(i % 16 / 4) * 4096, 4096, &race->iov[i], 1, 0, race_done,
                           race);
        block_node_submit(race->o->node, &race->requests[i]);
    }
}

static void a_copy_never_lands_on_newer_data(void)
{
    for (int round = 0; round < 20; round++) {
        Overlay o;
        Race *race = g_new0(Race, 1);
        uint8_t data[16384], expected[16384];
        overlay_open(&o);
        race->o = &o;
        race->left = 64;
        event_loop_call(o.loop, race_start, race);
        while (race->left) {
            g_usleep(500);
        }
        memset(expected, 0x22, sizeof(expected));
        g_assert_cmpint(block_pread(o.node, 0, data, sizeof(data)), ==, 0);
        g_assert_cmpmem(data, sizeof(data), expected, sizeof(expected));
        overlay_close(&o);
        g_free(race);
    }
}

static void a_drive_can_copy_on_read(void)
{
    g_autoptr(GError) error = NULL;
    Overlay o;
    overlay_open(&o);
    g_assert_true(block_node_delete("cor", NULL));
    g_autofree char *text =
        g_strdup_printf("file=%s,format=qcow2,if=none,id=d0,copy-on-read=on", o.top);
    g_autoptr(Opts) options = opts_parse(text, NULL, NULL);
    Drive *drive = drive_add(options, "none", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(block_node_driver(drive->node), ==, "copy-on-read");
    drives_close();
    g_autofree char *readonly = g_strconcat(text, ",read-only=on", NULL);
    g_autoptr(Opts) again = opts_parse(readonly, NULL, NULL);
    drive = drive_add(again, "none", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(block_node_driver(drive->node), ==, "qcow2");
    drives_close();
    o.node = open_node("copy-on-read,node-name=cor,file.driver=null-co", &error);
    overlay_close(&o);
}

/* ---- blkdebug ---- */

#define IMAGE "blkdebug,node-name=n0,image.driver=null-co,image.read-zeroes=on,image.size=1M,"

static void faults_come_when_their_event_did(void)
{
    g_autoptr(GError) error = NULL;
    uint8_t data[4096] = { 0 };
    BlockNode *node = open_node(IMAGE "inject-error.0.event=write_aio,inject-error.0.errno=28,"
                                      "inject-error.0.iotype=write,inject-error.0.sector=8",
                                &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_pread(node, 4096, data, 512), ==, 0);
    g_assert_cmpint(block_pwrite(node, 0, data, 4096), ==, 0);
    g_assert_cmpint(block_pwrite(node, 4096, data, 512), ==, -ENOSPC);
    g_assert_cmpint(block_pwrite(node, 512, data, 4096), ==, -ENOSPC);
    g_assert_cmpint(block_pread(node, 4096, data, 512), ==, 0);
    g_assert_true(block_node_delete("n0", NULL));
}

static void a_fault_can_come_once_and_by_state(void)
{
    g_autoptr(GError) error = NULL;
    uint8_t data[512] = { 0 };
    BlockNode *node = open_node(IMAGE "inject-error.0.event=read_aio,inject-error.0.state=2,"
                                      "inject-error.0.once=on,inject-error.0.iotype=read,"
                                      "set-state.0.event=flush_to_disk,set-state.0.new_state=2",
                                &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_pread(node, 0, data, 512), ==, 0);
    g_assert_cmpint(block_flush(node), ==, 0);
    g_assert_cmpint(block_pread(node, 0, data, 512), ==, -EIO);
    g_assert_cmpint(block_pread(node, 0, data, 512), ==, 0);
    g_assert_true(block_node_delete("n0", NULL));
}

static void a_delay_lets_a_request_wait(void)
{
    g_autoptr(GError) error = NULL;
    uint8_t data[512];
    BlockNode *node = open_node(IMAGE "inject-error.0.event=none,inject-error.0.errno=0,"
                                      "inject-error.0.delay-ns=30000000",
                                &error);
    g_assert_no_error(error);
    int64_t start = clock_now(VM_CLOCK_REALTIME);
    g_assert_cmpint(block_pread(node, 0, data, 512), ==, 0);
    g_assert_cmpint(clock_now(VM_CLOCK_REALTIME) - start, >=, 30 * NS_PER_MS);
    g_assert_true(block_node_delete("n0", NULL));
}

static void a_short_write_tears_the_data(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_dir_make_tmp("vireo-filter-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "image", NULL);
    uint8_t data[8192], back[8192];
    memset(data, 7, sizeof(data));
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    g_assert_cmpint(truncate(path, 65536), ==, 0);
    g_autofree char *text =
        g_strdup_printf("blkdebug,node-name=n0,image.driver=file,image.filename=%s,"
                        "inject-error.0.event=none,inject-error.0.iotype=write,"
                        "inject-error.0.short=on",
                        path);
    BlockNode *node = open_node(text, &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_pwrite(node, 0, data, sizeof(data)), ==, -EIO);
    g_assert_cmpint(block_pread(node, 0, back, sizeof(back)), ==, 0);
    g_assert_true(back[4095] == 7 && back[4096] == 0);
    g_assert_true(block_node_delete("n0", NULL));
    unlink(path);
    rmdir(folder);
}

static void bad_rules_are_refused(void)
{
    static const char *const bad[][2] = {
        { "inject-error.0.errno=5", "event" },
        { "inject-error.0.event=l3_update", "l3_update" },
        { "inject-error.0.event=none,inject-error.0.iotype=wipe", "wipe" },
        { "inject-error.0.event=none,inject-error.0.nonsense=1", "nonsense" },
        { "inject-error.1.event=none", "inject-error" },
        { "set-state.0.event=none", "new_state" },
        { "config=/etc/passwd", "config" },
        { "inject-error.0.event=none,inject-error.0.sector=99999999999999999999", "sector" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text = g_strconcat(IMAGE, bad[i][0], NULL);
        g_assert_null(open_node(text, &error));
        g_assert_nonnull(strstr(error->message, bad[i][1]));
    }
}

/* ---- copy-before-write ---- */

#define CHUNK 65536

typedef struct Cbw {
    char *folder, *source, *target;
    BlockNode *node;
} Cbw;

static void cbw_begin(Cbw *c, const char *target, const char *more)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *data = g_malloc(SIZE);
    g_autofree char *none = g_malloc0(SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        data[i] = (char)(1 + i / CHUNK + i % 7);
    }
    c->folder = g_dir_make_tmp("vireo-filter-XXXXXX", NULL);
    c->source = g_build_filename(c->folder, "source", NULL);
    c->target = g_build_filename(c->folder, "target", NULL);
    g_assert_true(g_file_set_contents(c->source, data, SIZE, NULL));
    g_assert_true(g_file_set_contents(c->target, none, SIZE, NULL));
    g_autofree char *text =
        g_strdup_printf("copy-before-write,node-name=cbw,file.driver=file,file.filename=%s,%s%s%s",
                        c->source, target, c->target, more);
    c->node = open_node(text, &error);
    g_assert_no_error(error);
}

static void cbw_end(Cbw *c)
{
    unlink(c->source);
    unlink(c->target);
    rmdir(c->folder);
    g_free(c->folder);
    g_free(c->source);
    g_free(c->target);
}

/* A chunk of the target has what the source had before, or nothing yet: then the source still does.
 * How many it has. */
static unsigned cbw_check(Cbw *c)
{
    g_autofree char *now = NULL;
    g_autofree char *copy = NULL;
    unsigned copied = 0;
    g_assert_true(g_file_get_contents(c->source, &now, NULL, NULL));
    g_assert_true(g_file_get_contents(c->target, &copy, NULL, NULL));
    for (size_t at = 0; at < SIZE; at += CHUNK) {
        const char *before = copy[at] ? copy : now;
        copied += copy[at] != 0;
        for (size_t i = at; i < at + CHUNK; i++) {
            g_assert_cmphex((uint8_t)before[i], ==, (uint8_t)(1 + at / CHUNK + i % 7));
        }
    }
    return copied;
}

#define TARGET "target.driver=file,target.filename="

static void what_a_write_changes_is_copied_before(void)
{
    Cbw c;
    uint8_t byte;
    cbw_begin(&c, TARGET, "");
    g_assert_cmpint(block_pread(c.node, 5 * CHUNK, &byte, 1), ==, 0);
    g_assert_cmpint(block_pwrite(c.node, 70000, "new", 3), ==, 0);
    g_assert_cmpint(block_pwrite(c.node, 70010, "newer", 5), ==, 0);
    g_assert_cmpint(block_pwrite(c.node, 4 * CHUNK - 2, "over", 4), ==, 0);
    g_assert_cmpint(block_pwrite_zeroes(c.node, SIZE - 512, 512, 0), ==, 0);
    g_assert_cmpint(block_discard(c.node, 8 * CHUNK, 2 * CHUNK), ==, 0);
    g_assert_cmpint(block_pread(c.node, 70000, &byte, 1), ==, 0);
    g_assert_cmphex(byte, ==, 'n');
    g_assert_true(block_node_delete("cbw", NULL));
    g_assert_cmpuint(cbw_check(&c), ==, 6);
    cbw_end(&c);
}

static gint seeds = 1;

static void *write_anywhere(void *opaque)
{
    Cbw *c = opaque;
    g_autofree uint8_t *data = g_malloc(2 * CHUNK);
    GRand *random = g_rand_new_with_seed((guint32)g_atomic_int_add(&seeds, 1));
    memset(data, 0xff, 2 * CHUNK);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t bytes = (uint64_t)g_rand_int_range(random, 1, 2 * CHUNK);
        uint64_t offset = (uint64_t)g_rand_int_range(random, 0, (gint32)(SIZE / 2 - bytes));
        g_assert_cmpint(block_pwrite(c->node, offset, data, bytes), ==, 0);
    }
    g_rand_free(random);
    return NULL;
}

static void writes_side_by_side_copy_a_chunk_once(void)
{
    Cbw c;
    GThread *threads[4];
    cbw_begin(&c, TARGET, "");
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = g_thread_new("writer", write_anywhere, &c);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
    }
    g_assert_true(block_node_delete("cbw", NULL));
    g_assert_cmpuint(cbw_check(&c), ==, SIZE / 2 / CHUNK);
    cbw_end(&c);
}

#define FAILING                                                                                    \
    "target.driver=blkdebug,target.inject-error.0.event=none,target.inject-error.0.iotype=write,"  \
    "target.inject-error.0.once=on,target.image.driver=file,target.image.filename="

static void a_failed_copy_fails_the_write_or_ends_the_snapshot(void)
{
    Cbw c;
    g_autofree char *copy = NULL;
    cbw_begin(&c, FAILING, "");
    g_assert_cmpint(block_pwrite(c.node, 0, "x", 1), ==, -EIO);
    g_assert_cmpint(block_pwrite(c.node, 0, "x", 1), ==, 0);
    g_assert_true(block_node_delete("cbw", NULL));
    g_assert_cmpuint(cbw_check(&c), ==, 1);
    cbw_end(&c);
    cbw_begin(&c, FAILING, ",on-cbw-error=break-snapshot");
    g_assert_cmpint(block_pwrite(c.node, 0, "x", 1), ==, 0);
    g_assert_cmpint(block_pwrite(c.node, CHUNK, "x", 1), ==, 0);
    g_assert_true(block_node_delete("cbw", NULL));
    g_assert_true(g_file_get_contents(c.target, &copy, NULL, NULL));
    g_assert_cmphex(copy[CHUNK], ==, 0);
    cbw_end(&c);
}

static void a_target_that_cannot_be_one_is_refused(void)
{
#define OF_1M "copy-before-write,node-name=c,file.driver=null-co,file.size=1M"
    static const char *const bad[] = {
        OF_1M,
        OF_1M ",target=none",
        OF_1M ",target.driver=null-co,target.size=512",
        OF_1M ",target.driver=null-co,target.size=1M,target.read-only=on",
        "copy-before-write,node-name=c,file=n,target=n",
    };
    g_assert_nonnull(open_node("null-co,node-name=n,size=1M", NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(open_node(bad[i], &error));
        g_assert_nonnull(error);
    }
    g_assert_true(block_node_delete("n", NULL));
}

/* What a filter stands on decides, and what lies below that. */
static void status_sees_through_filters(void)
{
    Overlay o;
    BlockStatus status;
    int depth;
    overlay_open(&o);
    g_assert_cmpint(block_pwrite(block_node_find("top"), 0, "x", 1), ==, 0);
    g_assert_cmpint(block_status_above(o.node, NULL, 0, 512, &status, &depth), ==, 0);
    g_assert_true(status.flags & BLOCK_STATUS_DATA);
    g_assert_cmpint(depth, ==, 1);
    g_assert_cmpint(block_status_above(o.node, NULL, 65536, 512, &status, &depth), ==, 0);
    g_assert_true(status.flags & BLOCK_STATUS_DATA);
    g_assert_cmpint(depth, ==, 2);
    overlay_close(&o);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
#define TEST(f) g_test_add_func("/filters/" #f, f)
    TEST(what_is_read_is_in_the_overlay_then);
    TEST(a_copy_never_lands_on_newer_data);
    TEST(a_drive_can_copy_on_read);
    TEST(faults_come_when_their_event_did);
    TEST(a_fault_can_come_once_and_by_state);
    TEST(a_delay_lets_a_request_wait);
    TEST(a_short_write_tears_the_data);
    TEST(bad_rules_are_refused);
    TEST(status_sees_through_filters);
    TEST(what_a_write_changes_is_copied_before);
    TEST(writes_side_by_side_copy_a_chunk_once);
    TEST(a_failed_copy_fails_the_write_or_ends_the_snapshot);
    TEST(a_target_that_cannot_be_one_is_refused);
    int ret = g_test_run();
    block_close_all();
    return ret;
}
