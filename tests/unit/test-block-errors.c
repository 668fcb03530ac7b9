/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that fail: policies, what is kept while the machine stands still, short writes. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include "tests/unit/disk-kit.h"

static _Atomic int stops, events;
static char *last_event;

static void hook_emit(const char *event, json_object *data)
{
    g_assert_cmpstr(event, ==, "BLOCK_IO_ERROR");
    g_free(last_event);
    last_event = g_strdup(json_object_to_json_string_ext(data, JSON_C_TO_STRING_PLAIN));
    json_object_put(data);
    atomic_fetch_add(&events, 1);
}

static void hook_stop(void)
{
    atomic_fetch_add(&stops, 1);
}

static const BlockErrorHooks hooks = { .emit = hook_emit, .stop = hook_stop };

/* A disk that fails `failing` requests with `error` and holds the rest, if asked to. */
static _Atomic int failing, fail_with, driver_calls;

static bool flaky_open(BlockNode *node, Opts *options, GError **error)
{
    atomic_store(&node->length, IMAGE_SIZE);
    node->limits.request_alignment = 1;
    return true;
}

static void flaky_close(BlockNode *node)
{
}

static void flaky_submit(BlockNode *node, BlockRequest *request)
{
    atomic_fetch_add(&driver_calls, 1);
    bool fail = atomic_load(&failing) > 0;
    atomic_fetch_sub(&failing, fail);
    block_request_complete_later(request, fail ? -atomic_load(&fail_with) : 0);
}

static int flaky_flush(BlockNode *node)
{
    return 0;
}

static const BlockDriver flaky_driver = {
    .name = "flaky",
    .open = flaky_open,
    .close = flaky_close,
    .submit = flaky_submit,
    .flush = flaky_flush,
};

static void flaky_disk(Disk *disk, const char *options)
{
    g_autoptr(GError) error = NULL;
    memset(disk, 0, sizeof(*disk));
    block_test_driver = &flaky_driver;
    block_set_error_hooks(&hooks);
    atomic_store(&stops, 0);
    atomic_store(&events, 0);
    atomic_store(&driver_calls, 0);
    disk->loop = event_loop_new("disk", LOOP_ENGINE_AUTO, &error);
    g_assert_true(event_loop_start(disk->loop, &error));
    disk->path = disk_make_image(NULL, 512);
    g_autofree char *text = g_strdup_printf("format=flaky,if=none,id=d0%s", options);
    g_autoptr(Opts) opts = opts_parse(text, NULL, &error);
    disk->drive = drive_add(opts, "virtio", &error);
    g_assert_no_error(error);
    disk->backend = block_backend_attach("d0", "dev0", false, false, &error);
    g_assert_no_error(error);
    g_assert_true(block_backend_add_loop(disk->backend, disk->loop, &error));
}

static void errors_are_reported_by_default_but_a_full_disk_stops(void)
{
    Disk disk;
    uint8_t data[512] = { 0 };
    flaky_disk(&disk, "");
    atomic_store(&fail_with, EIO);
    atomic_store(&failing, 2);
    g_assert_cmpint(io_run(&disk, BLOCK_READ, 0, 512, data, 0), ==, -EIO);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 0, 512, data, 0), ==, -EIO);
    g_assert_cmpint(atomic_load(&stops), ==, 0);
    g_assert_cmpint(atomic_load(&events), ==, 2);
    g_assert_nonnull(strstr(last_event, "\"operation\":\"write\""));
    g_assert_nonnull(strstr(last_event, "\"action\":\"report\""));
    g_assert_nonnull(strstr(last_event, "\"nospace\":false"));
    atomic_store(&fail_with, ENOSPC);
    atomic_store(&failing, 1);
    Io io;
    struct iovec iov = { data, 512 };
    io_start(&disk, &io, BLOCK_WRITE, 0, 512, &iov, 1, 0);
    block_backend_drain(disk.backend); /* what is kept is not in flight */
    g_assert_cmpint(io.calls, ==, 0);
    g_assert_cmpint(atomic_load(&stops), ==, 1);
    g_assert_nonnull(strstr(last_event, "\"action\":\"stop\""));
    g_assert_nonnull(strstr(last_event, "\"nospace\":true"));
    json_object *query = block_query();
    g_assert_nonnull(strstr(json_object_to_json_string_ext(query, JSON_C_TO_STRING_PLAIN),
                            "\"io-status\":\"nospace\""));
    json_object_put(query);
    block_resume_stopped();
    disk_wait(&disk);
    g_assert_cmpint(io.ret, ==, 0);
    g_assert_cmpint(io.calls, ==, 1);
    disk_close(&disk);
}

static void ignored_error_is_success(void)
{
    Disk disk;
    uint8_t data[512] = { 0 };
    flaky_disk(&disk, ",werror=ignore,rerror=ignore");
    atomic_store(&fail_with, EIO);
    atomic_store(&failing, 2);
    g_assert_cmpint(io_run(&disk, BLOCK_READ, 0, 512, data, 0), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
    g_assert_cmpint(atomic_load(&failing), ==, 0);
    g_assert_cmpint(atomic_load(&stops), ==, 0);
    disk_close(&disk);
}

static void stopped_requests_are_kept_resumed_and_can_fail_again(void)
{
    enum { COUNT = 20 };
    Disk disk;
    uint8_t data[512] = { 0 };
    struct iovec iov = { data, 512 };
    Io ios[COUNT];
    flaky_disk(&disk, ",werror=stop,rerror=stop");
    atomic_store(&fail_with, EIO);
    atomic_store(&failing, COUNT + 5);
    for (int i = 0; i < COUNT; i++) {
        io_start(&disk, &ios[i], i % 2 ? BLOCK_READ : BLOCK_WRITE, i * 512, 512, &iov, 1, 0);
    }
    block_backend_drain(disk.backend);
    g_assert_cmpint(disk.pending, ==, COUNT);
    g_assert_cmpint(atomic_load(&stops), ==, COUNT);
    block_resume_stopped();
    block_backend_drain(disk.backend);
    g_assert_cmpint(disk.pending, ==, 5);
    block_resume_stopped();
    disk_wait(&disk);
    for (int i = 0; i < COUNT; i++) {
        g_assert_cmpint(ios[i].calls, ==, 1);
        g_assert_cmpint(ios[i].ret, ==, 0);
    }
    g_assert_cmpint(atomic_load(&driver_calls), ==, COUNT + COUNT + 5);
    disk_close(&disk);
}

static void kept_requests_are_cancelled_on_reset_and_detach(void)
{
    Disk disk;
    uint8_t data[512] = { 0 };
    struct iovec iov = { data, 512 };
    Io first, second;
    flaky_disk(&disk, ",werror=stop");
    atomic_store(&fail_with, EIO);
    atomic_store(&failing, 2);
    io_start(&disk, &first, BLOCK_WRITE, 0, 512, &iov, 1, 0);
    block_backend_drain(disk.backend);
    block_backend_cancel_kept(disk.backend);
    g_assert_cmpint(first.calls, ==, 1);
    g_assert_cmpint(first.ret, ==, -ECANCELED);
    io_start(&disk, &second, BLOCK_WRITE, 0, 512, &iov, 1, 0);
    disk_close(&disk);
    g_assert_cmpint(second.calls, ==, 1);
    g_assert_cmpint(second.ret, ==, -ECANCELED);
}

static void a_write_cut_short_goes_on_and_its_error_is_seen(void)
{
    /* RLIMIT_FSIZE cuts the write at the limit, then fails the rest with EFBIG. */
    Disk disk;
    struct rlimit old, cut;
    g_autofree uint8_t *data = g_malloc(1 << 20);
    disk_fill(data, 1 << 20, 4);
    disk_open(&disk, LOOP_ENGINE_AUTO, disk_make_image(NULL, IMAGE_SIZE), "aio=threads");
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old), ==, 0);
    cut = old;
    cut.rlim_cur = 3000000;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &cut), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 2 << 20, 1 << 20, data, 0), ==, -EFBIG);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old), ==, 0);
    size_t size;
    g_autofree uint8_t *file = disk_read_image(&disk, &size);
    g_assert_cmpmem(file + (2 << 20), 3000000 - (2 << 20), data, 3000000 - (2 << 20));
    disk_close(&disk);
}

#define ADD_ONE(name) g_test_add_func("/block/" #name, name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
    ADD_ONE(errors_are_reported_by_default_but_a_full_disk_stops);
    ADD_ONE(ignored_error_is_success);
    ADD_ONE(stopped_requests_are_kept_resumed_and_can_fail_again);
    ADD_ONE(kept_requests_are_cancelled_on_reset_and_detach);
    ADD_ONE(a_write_cut_short_goes_on_and_its_error_is_seen);
    return g_test_run();
}
