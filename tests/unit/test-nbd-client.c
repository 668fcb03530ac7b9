/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The nbd driver against the NBD server of this program: data, status, and a server that goes and
 * comes back. */
#include <errno.h>
#include <unistd.h>
#include "block/internal.h"
#include "block/nbd/server.h"
#include "vmm/util/bytes.h"

#define SIZE (4 * MIB)

typedef struct Fixture {
    NbdServer *server;
    CharAddress address;
    BlockNode *disk;
    char *folder, *path, *image;
} Fixture;

static BlockNode *open_node(const char *text, GError **error)
{
    g_autoptr(Opts) options = opts_parse(text, "driver", error);
    return options ? block_node_open(options, error) : NULL;
}

static void start_server(Fixture *f, bool writable)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts) options = opts_new();
    NbdExportOptions o = { .name = "disk", .node = "n0", .writable = writable };
    f->server = nbd_server_new(0, NULL, &error);
    g_assert_no_error(error);
    g_assert_nonnull(nbd_export_add(f->server, &o, &error));
    opts_set(options, "path", f->path);
    g_assert_true(char_address_parse(&f->address, options, &error));
    g_assert_true(nbd_server_listen(f->server, &f->address, &error));
    g_assert_no_error(error);
}

static void stop_server(Fixture *f)
{
    nbd_server_free(f->server);
    f->server = NULL;
    char_address_clear(&f->address);
}

static void set_up(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    f->folder = g_dir_make_tmp("vireo-nbd-XXXXXX", &error);
    g_assert_no_error(error);
    f->path = g_build_filename(f->folder, "s", NULL);
    f->image = g_build_filename(f->folder, "image", NULL);
    g_assert_true(g_file_set_contents(f->image, "", 0, NULL));
    g_assert_cmpint(truncate(f->image, SIZE), ==, 0);
    g_autofree char *text =
        g_strdup_printf("file,node-name=n0,discard=unmap,filename=%s", f->image);
    f->disk = open_node(text, &error);
    g_assert_no_error(error);
    start_server(f, true);
}

static void tear_down(Fixture *f)
{
    if (f->server) {
        stop_server(f);
    }
    g_assert_true(block_node_delete("n0", NULL));
    unlink(f->image);
    rmdir(f->folder);
    g_free(f->folder);
    g_free(f->path);
    g_free(f->image);
}

static BlockNode *open_client(Fixture *f, const char *more, GError **error)
{
    g_autofree char *text =
        g_strdup_printf("nbd,node-name=c0,discard=unmap,export=disk,server.type=unix,"
                        "server.path=%s%s",
                        f->path, more);
    return open_node(text, error);
}

static void close_client(void)
{
    g_assert_true(block_node_delete("c0", NULL));
}

/* ---- Data ---- */

static void data_goes_both_ways_in_pieces(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    set_up(&f);
    BlockNode *client = open_client(&f, "", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(block_node_length(client), ==, SIZE);
    g_autofree uint8_t *out = g_malloc(SIZE), *in = g_malloc0(SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        out[i] = (uint8_t)(i * 7 + (i >> 12));
    }
    g_assert_cmpint(block_pwrite(client, 0, out, SIZE), ==, 0);
    g_assert_cmpint(block_flush(client), ==, 0);
    g_assert_cmpint(block_pread(f.disk, 0, in, SIZE), ==, 0);
    g_assert_cmpmem(in, SIZE, out, SIZE);
    memset(in, 0, SIZE);
    g_assert_cmpint(block_pread(client, 513, in, 100001), ==, 0);
    g_assert_cmpmem(in, 100001, out + 513, 100001);
    g_assert_cmpint(block_pwrite_zeroes(client, 4096, 8192, 0), ==, 0);
    g_assert_cmpint(block_pread(client, 4096, in, 8192), ==, 0);
    g_assert_true(in[0] == 0 && !memcmp(in, in + 1, 8191));
    g_assert_cmpint(block_pread(client, SIZE, in, 1), ==, -EINVAL);
    close_client();
    tear_down(&f);
}

typedef struct VectorIo {
    BlockRequest request;
    EventLoop *loop;
    BlockNode *node;
    LoopTask task;
    GMutex lock;
    GCond cond;
    bool done;
    int ret;
} VectorIo;

static void vector_done(BlockRequest *request, int ret)
{
    VectorIo *io = request->opaque;
    g_assert_true(event_loop_is_current(io->loop));
    g_mutex_lock(&io->lock);
    io->done = true;
    io->ret = ret;
    g_cond_signal(&io->cond);
    g_mutex_unlock(&io->lock);
}

static void vector_start(void *opaque)
{
    VectorIo *io = opaque;
    block_node_submit(io->node, &io->request);
}

static int vector_run(EventLoop *loop, BlockNode *node, BlockOp op, uint64_t bytes,
                      const struct iovec *iov, int count, unsigned flags)
{
    VectorIo io = { .loop = loop, .node = node };
    block_request_init(&io.request, loop, op, 0, bytes, iov, count, flags, vector_done, &io);
    g_mutex_init(&io.lock);
    g_cond_init(&io.cond);
    event_loop_call(loop, vector_start, &io);
    g_mutex_lock(&io.lock);
    while (!io.done) {
        g_cond_wait(&io.cond, &io.lock);
    }
    g_mutex_unlock(&io.lock);
    return io.ret;
}

static void vectors_are_gathered_and_scattered(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    struct iovec iov[64];
    set_up(&f);
    BlockNode *client = open_client(&f, "", &error);
    g_assert_no_error(error);
    EventLoop *loop = event_loop_new("test", LOOP_ENGINE_AUTO, &error);
    g_assert_true(event_loop_start(loop, &error));
    const size_t part = 49999, whole = G_N_ELEMENTS(iov) * part;
    g_autofree uint8_t *data = g_malloc(whole), *back = g_malloc(whole);
    for (size_t i = 0; i < whole; i++) {
        data[i] = (uint8_t)(i * 13 + (i >> 10));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(iov); i++) {
        iov[i] = (struct iovec){ data + i * part, part };
    }
    g_assert_cmpint(vector_run(loop, client, BLOCK_WRITE, whole, iov, 64, BLOCK_REQ_FUA), ==, 0);
    g_assert_cmpint(block_pread(f.disk, 0, back, whole), ==, 0);
    g_assert_cmpmem(back, whole, data, whole);
    memset(data, 0, whole);
    g_assert_cmpint(vector_run(loop, client, BLOCK_READ, whole, iov, 64, 0), ==, 0);
    g_assert_cmpmem(back, whole, data, whole);
    event_loop_free(loop);
    close_client();
    tear_down(&f);
}

static void status_tells_of_holes(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    BlockStatus status;
    uint8_t data[4096] = { 1 };
    set_up(&f);
    BlockNode *client = open_client(&f, "", &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_pwrite(client, MIB, data, sizeof(data)), ==, 0);
    g_assert_cmpint(block_status(client, 0, SIZE, &status), ==, 0);
    g_assert_cmpuint(status.bytes, ==, MIB);
    g_assert_true(status.flags & BLOCK_STATUS_ZERO);
    g_assert_false(status.flags & BLOCK_STATUS_DATA);
    g_assert_cmpint(block_status(client, MIB, SIZE - MIB, &status), ==, 0);
    g_assert_cmpuint(status.bytes, ==, 4096);
    g_assert_true(status.flags & BLOCK_STATUS_DATA);
    g_assert_cmpint(block_discard(client, MIB, 4096), ==, 0);
    g_assert_cmpint(block_status(client, 0, SIZE, &status), ==, 0);
    g_assert_cmpuint(status.bytes, ==, SIZE);
    close_client();
    tear_down(&f);
}

/* ---- What is refused ---- */

static void what_the_server_refuses_is_said(void)
{
    Fixture f;
    GError *error = NULL;
    set_up(&f);
    g_assert_null(open_client(&f, ",export=other", &error));
    g_assert_nonnull(strstr(error->message, "other"));
    g_clear_error(&error);
    stop_server(&f);
    start_server(&f, false);
    g_assert_null(open_client(&f, "", &error));
    g_assert_nonnull(strstr(error->message, "read-only=on"));
    g_clear_error(&error);
    BlockNode *client = open_client(&f, ",auto-read-only=on", &error);
    g_assert_no_error(error);
    g_assert_true(block_node_readonly(client));
    close_client();
    stop_server(&f);
    g_assert_null(open_client(&f, "", &error));
    g_assert_nonnull(strstr(error->message, f.path));
    g_clear_error(&error);
    tear_down(&f);
}

static void names_are_parsed_and_bad_ones_refused(void)
{
    static const struct {
        const char *name, *key, *value;
    } good[] = {
        { "nbd:localhost:10809", "server.port", "10809" },
        { "nbd:[::1]:80:exportname=a:b", "export", "a:b" },
        { "nbd:[::1]:80", "server.host", "::1" },
        { "nbd:unix:/tmp/x:exportname=e", "server.path", "/tmp/x" },
        { "nbd://host/exp", "export", "exp" },
        { "nbd://host", "server.port", "10809" },
        { "nbd://[fe80::1]:5/", "server.host", "fe80::1" },
        { "nbd+unix:///a%20b?socket=/tmp/s", "export", "a b" },
        { "nbd+unix://?socket=/tmp/s", "server.path", "/tmp/s" },
    };
    static const char *const bad[] = { "nbd:",       "nbd:host",      "nbd:host:",   "nbd://",
                                       "nbds://x",   "nbd+unix:///x", "nbd://h?x=y", "nbd:[::1",
                                       "nbd:[::1]x", "nbd://h:99999/" };
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Opts) options = opts_new();
        g_assert_true(block_nbd_parse_filename(options, good[i].name, &error));
        g_assert_cmpstr(opts_get(options, good[i].key), ==, good[i].value);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Opts) options = opts_new();
        g_assert_false(block_nbd_parse_filename(options, bad[i], &error));
        g_assert_nonnull(error);
    }
}

/* ---- A server that goes ---- */

static void without_a_delay_requests_fail_until_the_server_is_back(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    uint8_t data[512] = { 7 };
    set_up(&f);
    BlockNode *client = open_client(&f, "", &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_pwrite(client, 0, data, sizeof(data)), ==, 0);
    stop_server(&f);
    g_assert_cmpint(block_pread(client, 0, data, sizeof(data)), ==, -EIO);
    g_assert_cmpint(block_pwrite(client, 0, data, sizeof(data)), ==, -EIO);
    start_server(&f, true);
    while (block_pread(client, 0, data, sizeof(data)) == -EIO) {
        g_usleep(10000);
    }
    g_assert_cmpuint(data[0], ==, 7);
    close_client();
    tear_down(&f);
}

static void *write_in_thread(void *opaque)
{
    uint8_t data[4096];
    memset(data, 0x42, sizeof(data));
    return GINT_TO_POINTER(block_pwrite(opaque, 8192, data, sizeof(data)));
}

static void with_a_delay_requests_wait_for_the_server(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    uint8_t data[4096];
    set_up(&f);
    BlockNode *client = open_client(&f, ",reconnect-delay=100", &error);
    g_assert_no_error(error);
    stop_server(&f);
    GThread *threads[8];
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = g_thread_new("write", write_in_thread, client);
    }
    start_server(&f, true);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(threads[i])), ==, 0);
    }
    g_assert_cmpint(block_pread(f.disk, 8192, data, sizeof(data)), ==, 0);
    g_assert_cmphex(data[4095], ==, 0x42);
    close_client();
    tear_down(&f);
}

static void the_delay_ends(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    uint8_t data[512];
    set_up(&f);
    BlockNode *client = open_client(&f, ",reconnect-delay=1", &error);
    g_assert_no_error(error);
    stop_server(&f);
    g_assert_cmpint(block_pread(client, 0, data, sizeof(data)), ==, -EIO);
    g_assert_cmpint(block_pread(client, 0, data, sizeof(data)), ==, -EIO);
    close_client();
    tear_down(&f);
}

static void an_export_of_another_size_is_not_taken_for_the_old_one(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    uint8_t data[512];
    set_up(&f);
    BlockNode *client = open_client(&f, ",reconnect-delay=2", &error);
    g_assert_no_error(error);
    stop_server(&f);
    g_assert_true(block_resize(f.disk, SIZE / 2, &error));
    start_server(&f, true);
    g_assert_cmpint(block_pread(client, 0, data, sizeof(data)), ==, -EIO);
    close_client();
    tear_down(&f);
}

static void opening_tries_for_as_long_as_it_was_told(void)
{
    Fixture f;
    set_up(&f);
    stop_server(&f);
    g_autoptr(GError) error = NULL;
    g_autofree char *text =
        g_strdup_printf("nbd,node-name=c0,open-timeout=1,server.type=unix,server.path=%s", f.path);
    int64_t before = clock_now(VM_CLOCK_REALTIME);
    g_assert_null(open_node(text, &error));
    g_assert_cmpint(clock_now(VM_CLOCK_REALTIME) - before, >=, NS_PER_SEC);
    tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
#define TEST(f) g_test_add_func("/nbd-client/" #f, f)
    TEST(data_goes_both_ways_in_pieces);
    TEST(vectors_are_gathered_and_scattered);
    TEST(status_tells_of_holes);
    TEST(what_the_server_refuses_is_said);
    TEST(names_are_parsed_and_bad_ones_refused);
    TEST(without_a_delay_requests_fail_until_the_server_is_back);
    TEST(with_a_delay_requests_wait_for_the_server);
    TEST(the_delay_ends);
    TEST(an_export_of_another_size_is_not_taken_for_the_old_one);
    TEST(opening_tries_for_as_long_as_it_was_told);
    int ret = g_test_run();
    block_close_all();
    return ret;
}
