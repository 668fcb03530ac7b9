/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block nodes and back ends on files: requests on every engine, alignment, zeroes, discard, errors.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "block/block.h"
#include "block/internal.h"

#define IMAGE_SIZE (4 * 1024 * 1024)

typedef struct Config {
    const char *name;
    LoopEngine loop;
    const char *options; /* of -drive */
} Config;

static const Config configs[] = {
    { "io_uring", LOOP_ENGINE_IO_URING, "aio=io_uring" },
    { "io_uring-direct", LOOP_ENGINE_IO_URING, "aio=io_uring,cache=none" },
    { "native", LOOP_ENGINE_IO_URING, "aio=native,cache=none" },
    { "native-epoll", LOOP_ENGINE_EPOLL, "aio=native,cache=none" },
    { "threads", LOOP_ENGINE_IO_URING, "aio=threads" },
    { "threads-epoll", LOOP_ENGINE_EPOLL, "aio=threads" },
    { "threads-direct", LOOP_ENGINE_EPOLL, "aio=threads,cache=none" },
    { "default-epoll", LOOP_ENGINE_EPOLL, "cache=directsync" },
};

typedef struct Disk {
    EventLoop *loop;
    char *path;
    Drive *drive;
    BlockBackend *backend;
    GMutex lock;
    GCond cond;
    int pending;
} Disk;

static bool uring_works(void)
{
    EventLoop *loop = event_loop_new("probe", LOOP_ENGINE_IO_URING, NULL);
    if (loop) {
        event_loop_free(loop);
    }
    return loop != NULL;
}

/* In the build tree, not /tmp: tmpfs has no O_DIRECT. */
static char *make_image(const void *data, size_t size)
{
    char *path = g_strdup("test-block-XXXXXX");
    int fd = g_mkstemp(path);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    if (data) {
        g_assert_cmpint(pwrite(fd, data, size, 0), ==, size);
    }
    close(fd);
    return path;
}

static bool disk_open(Disk *disk, LoopEngine engine, char *path, const char *options)
{
    g_autoptr(GError) error = NULL;
    memset(disk, 0, sizeof(*disk));
    if (engine == LOOP_ENGINE_IO_URING && !uring_works()) {
        g_test_skip("no io_uring here");
        unlink(path);
        g_free(path);
        return false;
    }
    disk->loop = event_loop_new("disk", engine, &error);
    g_assert_no_error(error);
    g_assert_true(event_loop_start(disk->loop, &error));
    disk->path = path;
    g_autofree char *text = g_strdup_printf("file=%s,if=none,id=d0,%s%s", path,
                                            strstr(options, "format=") ? "" : "format=raw,",
                                            options);
    g_autoptr(Opts) opts = opts_parse(text, NULL, &error);
    g_assert_no_error(error);
    disk->drive = drive_add(opts, "virtio", &error);
    g_assert_no_error(error);
    disk->backend = block_backend_attach("d0", "dev0", false, false, &error);
    g_assert_no_error(error);
    g_assert_true(block_backend_add_loop(disk->backend, disk->loop, &error));
    g_assert_no_error(error);
    return true;
}

static void disk_close(Disk *disk)
{
    block_backend_detach(disk->backend);
    drives_close();
    event_loop_free(disk->loop);
    unlink(disk->path);
    g_free(disk->path);
}

/* ---- One request, waited for ---- */
typedef struct Io {
    BlockRequest request;
    Disk *disk;
    int ret, calls;
    bool inside; /* done was called inside block_submit() */
} Io;

static void io_done(BlockRequest *request, int ret)
{
    Io *io = request->opaque;
    g_mutex_lock(&io->disk->lock);
    io->ret = ret;
    io->calls++;
    g_assert_false(io->inside);
    g_assert_true(event_loop_is_current(io->disk->loop));
    io->disk->pending--;
    g_cond_broadcast(&io->disk->cond);
    g_mutex_unlock(&io->disk->lock);
}

static void io_submit_here(void *opaque)
{
    Io *io = opaque;
    io->inside = true;
    block_submit(io->disk->backend, &io->request);
    io->inside = false;
}

static void io_start(Disk *disk, Io *io, BlockOp op, uint64_t offset, uint64_t bytes,
                     const struct iovec *iov, int count, unsigned flags)
{
    memset(io, 0xa5, sizeof(*io)); /* as a recycled request is */
    io->disk = disk;
    io->calls = 0;
    io->ret = 1;
    io->request.op = op;
    io->request.flags = flags;
    io->request.offset = offset;
    io->request.bytes = bytes;
    io->request.iov = iov;
    io->request.iov_count = count;
    io->request.done = io_done;
    io->request.opaque = io;
    g_mutex_lock(&disk->lock);
    disk->pending++;
    g_mutex_unlock(&disk->lock);
    event_loop_call(disk->loop, io_submit_here, io);
}

static void disk_wait(Disk *disk)
{
    g_mutex_lock(&disk->lock);
    while (disk->pending) {
        g_cond_wait(&disk->cond, &disk->lock);
    }
    g_mutex_unlock(&disk->lock);
}

static int io_run(Disk *disk, BlockOp op, uint64_t offset, uint64_t bytes, void *data,
                  unsigned flags)
{
    Io io;
    struct iovec iov = { data, bytes };
    io_start(disk, &io, op, offset, bytes, data ? &iov : NULL, data ? 1 : 0, flags);
    disk_wait(disk);
    g_assert_cmpint(io.calls, ==, 1);
    return io.ret;
}

static void fill(uint8_t *data, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)((i >> 9) * 31 + i * 7 + seed);
    }
}

static uint8_t *image_read(Disk *disk, size_t *size)
{
    char *data;
    g_assert_true(g_file_get_contents(disk->path, &data, size, NULL));
    return (uint8_t *)data;
}

/* ---- Every engine ---- */

static void data_written_is_read_back_and_in_the_file(gconstpointer opaque)
{
    const Config *config = opaque;
    Disk disk;
    if (!disk_open(&disk, config->loop, make_image(NULL, IMAGE_SIZE), config->options)) {
        return;
    }
    uint8_t *out = aligned_alloc(4096, 1 << 20), *in = aligned_alloc(4096, 1 << 20);
    fill(out, 1 << 20, 1);
    memset(in, 0, 1 << 20);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 65536, 1 << 20, out, 0), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 0, 4096, out, BLOCK_REQ_FUA), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_READ, 65536, 1 << 20, in, 0), ==, 0);
    g_assert_cmpmem(in, 1 << 20, out, 1 << 20);
    size_t size;
    g_autofree uint8_t *file = image_read(&disk, &size);
    g_assert_cmpint(size, ==, IMAGE_SIZE);
    g_assert_cmpmem(file + 65536, 1 << 20, out, 1 << 20);
    g_assert_cmpmem(file, 4096, out, 4096);
    BlockStats stats;
    block_backend_stats(disk.backend, &stats);
    g_assert_cmpint(stats.wr_ops, ==, 2);
    g_assert_cmpint(stats.wr_bytes, ==, (1 << 20) + 4096);
    g_assert_cmpint(stats.rd_bytes, ==, 1 << 20);
    g_assert_cmpint(stats.flush_ops, ==, 1);
    g_assert_cmpint(stats.wr_highest_offset, ==, 65536 + (1 << 20));
    free(out);
    free(in);
    disk_close(&disk);
}

static void misaligned_requests_keep_their_neighbours(gconstpointer opaque)
{
    const Config *config = opaque;
    Disk disk;
    g_autofree uint8_t *model = g_malloc(IMAGE_SIZE);
    fill(model, IMAGE_SIZE, 9);
    if (!disk_open(&disk, config->loop, make_image(model, IMAGE_SIZE), config->options)) {
        return;
    }
    g_autofree uint8_t *raw = g_malloc(1 << 20);
    GRand *rand = g_rand_new_with_seed(42);
    for (int i = 0; i < 60; i++) {
        uint32_t bytes = 1 + g_rand_int_range(rand, 0, i % 3 ? 9000 : 400000);
        uint32_t offset = g_rand_int_range(rand, 0, IMAGE_SIZE - bytes);
        uint8_t *data = raw + g_rand_int_range(rand, 0, 600);
        if (i % 2) {
            fill(data, bytes, i);
            memcpy(model + offset, data, bytes);
            g_assert_cmpint(io_run(&disk, BLOCK_WRITE, offset, bytes, data, 0), ==, 0);
        } else {
            memset(data, 0xee, bytes);
            g_assert_cmpint(io_run(&disk, BLOCK_READ, offset, bytes, data, 0), ==, 0);
            g_assert_cmpmem(data, bytes, model + offset, bytes);
        }
    }
    g_rand_free(rand);
    size_t size;
    g_autofree uint8_t *file = image_read(&disk, &size);
    g_assert_cmpmem(file, size, model, IMAGE_SIZE);
    disk_close(&disk);
}

static void many_vectored_requests_at_once(gconstpointer opaque)
{
    enum { COUNT = 1500, PARTS = 3 };
    const Config *config = opaque;
    Disk disk;
    g_autofree uint8_t *model = g_malloc(IMAGE_SIZE);
    fill(model, IMAGE_SIZE, 3);
    if (!disk_open(&disk, config->loop, make_image(model, IMAGE_SIZE), config->options)) {
        return;
    }
    g_autofree Io *ios = g_new(Io, COUNT);
    g_autofree struct iovec *iov = g_new(struct iovec, COUNT * PARTS);
    uint8_t *data = aligned_alloc(4096, COUNT * 2048);
    for (int i = 0; i < COUNT; i++) {
        iov[i * PARTS] = (struct iovec){ data + i * 2048, 512 };
        iov[i * PARTS + 1] = (struct iovec){ data + i * 2048 + 1024, 1024 };
        iov[i * PARTS + 2] = (struct iovec){ data + i * 2048 + 512, 512 };
        io_start(&disk, &ios[i], BLOCK_READ, (i * 37 % 2048) * 2048, 2048, &iov[i * PARTS], PARTS,
                 0);
    }
    disk_wait(&disk);
    for (int i = 0; i < COUNT; i++) {
        const uint8_t *want = model + (i * 37 % 2048) * 2048;
        g_assert_cmpint(ios[i].ret, ==, 0);
        g_assert_cmpint(ios[i].calls, ==, 1);
        g_assert_cmpmem(data + i * 2048, 512, want, 512);
        g_assert_cmpmem(data + i * 2048 + 1024, 1024, want + 512, 1024);
        g_assert_cmpmem(data + i * 2048 + 512, 512, want + 1536, 512);
    }
    free(data);
    disk_close(&disk);
}

static void vector_longer_than_the_kernel_takes(gconstpointer opaque)
{
    enum { PARTS = 1500 };
    const Config *config = opaque;
    Disk disk;
    g_autofree uint8_t *model = g_malloc(IMAGE_SIZE);
    fill(model, IMAGE_SIZE, 5);
    if (!disk_open(&disk, config->loop, make_image(model, IMAGE_SIZE), config->options)) {
        return;
    }
    Io io;
    g_autofree struct iovec *iov = g_new(struct iovec, PARTS);
    uint8_t *data = aligned_alloc(4096, PARTS * 1024);
    for (int i = 0; i < PARTS; i++) {
        iov[i] = (struct iovec){ data + i * 1024, 512 };
    }
    io_start(&disk, &io, BLOCK_READ, 8192, PARTS * 512, iov, PARTS, 0);
    disk_wait(&disk);
    g_assert_cmpint(io.ret, ==, 0);
    for (int i = 0; i < PARTS; i++) {
        g_assert_cmpmem(data + i * 1024, 512, model + 8192 + i * 512, 512);
    }
    free(data);
    disk_close(&disk);
}

static void write_zeroes_and_discard(gconstpointer opaque)
{
    const Config *config = opaque;
    Disk disk;
    g_autofree uint8_t *model = g_malloc(IMAGE_SIZE);
    fill(model, IMAGE_SIZE, 7);
    g_autofree char *options = g_strconcat(config->options, ",discard=unmap", NULL);
    if (!disk_open(&disk, config->loop, make_image(model, IMAGE_SIZE), options)) {
        return;
    }
    struct stat before, after;
    g_assert_cmpint(stat(disk.path, &before), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE_ZEROES, 5000, 70000, NULL, 0), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE_ZEROES, 1 << 20, 65536, NULL, BLOCK_REQ_UNMAP), ==,
                    0);
    g_assert_cmpint(io_run(&disk, BLOCK_DISCARD, 2 << 20, 1 << 20, NULL, 0), ==, 0);
    memset(model + 5000, 0, 70000);
    memset(model + (1 << 20), 0, 65536);
    memset(model + (2 << 20), 0, 1 << 20);
    size_t size;
    g_autofree uint8_t *file = image_read(&disk, &size);
    g_assert_cmpmem(file, size, model, IMAGE_SIZE);
    g_assert_cmpint(stat(disk.path, &after), ==, 0);
    int fd = open(disk.path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(lseek(fd, 2 << 20, SEEK_HOLE), ==, 2 << 20);
    g_assert_cmpint(lseek(fd, 2 << 20, SEEK_DATA), ==, 3 << 20);
    close(fd);
    g_assert_cmpint(after.st_blocks, <=,
                    before.st_blocks - (1 << 20) / 512); /* give or take the map */
    disk_close(&disk);
}

/* ---- Options that change what requests do ---- */

static void discard_ignore_keeps_the_data(void)
{
    Disk disk;
    g_autofree uint8_t *model = g_malloc(IMAGE_SIZE);
    fill(model, IMAGE_SIZE, 7);
    disk_open(&disk, LOOP_ENGINE_AUTO, make_image(model, IMAGE_SIZE), "discard=ignore");
    g_assert_cmpint(io_run(&disk, BLOCK_DISCARD, 0, IMAGE_SIZE, NULL, 0), ==, 0);
    size_t size;
    g_autofree uint8_t *file = image_read(&disk, &size);
    g_assert_cmpmem(file, size, model, IMAGE_SIZE);
    disk_close(&disk);
}

static void detect_zeroes_unmap_punches_a_hole(void)
{
    Disk disk;
    g_autofree uint8_t *model = g_malloc(IMAGE_SIZE);
    fill(model, IMAGE_SIZE, 7);
    disk_open(&disk, LOOP_ENGINE_AUTO, make_image(model, IMAGE_SIZE),
              "discard=unmap,detect-zeroes=unmap");
    g_autofree uint8_t *zeroes = g_malloc0(1 << 20);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 1 << 20, 1 << 20, zeroes, 0), ==, 0);
    int fd = open(disk.path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(lseek(fd, 1 << 20, SEEK_HOLE), ==, 1 << 20);
    close(fd);
    zeroes[77777] = 1; /* not quite zero: it is data */
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 1 << 20, 1 << 20, zeroes, 0), ==, 0);
    memcpy(model + (1 << 20), zeroes, 1 << 20);
    size_t size;
    g_autofree uint8_t *file = image_read(&disk, &size);
    g_assert_cmpmem(file, size, model, IMAGE_SIZE);
    disk_close(&disk);
}

static void bad_ranges_are_refused(void)
{
    Disk disk;
    uint8_t data[4096] = { 0 };
    disk_open(&disk, LOOP_ENGINE_AUTO, make_image(NULL, IMAGE_SIZE), "werror=stop,rerror=stop");
    g_assert_cmpint(io_run(&disk, BLOCK_READ, IMAGE_SIZE, 512, data, 0), ==, -EINVAL);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, IMAGE_SIZE - 512, 4096, data, 0), ==, -EINVAL);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, UINT64_MAX - 511, 512, data, 0), ==, -EINVAL);
    g_assert_cmpint(io_run(&disk, BLOCK_DISCARD, 512, UINT64_MAX - 100, NULL, 0), ==, -EINVAL);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE_ZEROES, 0, IMAGE_SIZE + 1, NULL, 0), ==, -EINVAL);
    g_assert_cmpint(io_run(&disk, BLOCK_READ, 0, 0, NULL, 0), ==, 0);
    disk_close(&disk);
}

static void read_only_disk_refuses_writes(void)
{
    Disk disk;
    uint8_t data[512] = { 1 };
    disk_open(&disk, LOOP_ENGINE_AUTO, make_image(NULL, IMAGE_SIZE), "readonly=on");
    g_assert_true(block_backend_readonly(disk.backend));
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 0, 512, data, 0), ==, -EPERM);
    g_assert_cmpint(io_run(&disk, BLOCK_DISCARD, 0, 512, NULL, 0), ==, -EPERM);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE_ZEROES, 0, 512, NULL, 0), ==, -EPERM);
    g_assert_cmpint(io_run(&disk, BLOCK_READ, 0, 512, data, 0), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
    disk_close(&disk);
}

static void what_lies_behind_the_end_of_the_file_reads_as_zeroes(void)
{
    static const char *const options[] = { "cache=none", "cache=writeback", "aio=threads" };
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        Disk disk;
        g_autofree uint8_t *model = g_malloc0(8192);
        fill(model, 5000, 2);
        disk_open(&disk, LOOP_ENGINE_AUTO, make_image(model, 5000), options[i]);
        g_assert_cmpint(block_backend_length(disk.backend), ==, 5120);
        uint8_t *data = aligned_alloc(4096, 8192);
        memset(data, 0xff, 8192);
        g_assert_cmpint(io_run(&disk, BLOCK_READ, 0, 5120, data, 0), ==, 0);
        g_assert_cmpmem(data, 5120, model, 5120);
        /* truncated behind our back */
        g_assert_cmpint(truncate(disk.path, 512), ==, 0);
        memset(model + 512, 0, 5120 - 512);
        g_assert_cmpint(io_run(&disk, BLOCK_READ, 0, 5120, data, 0), ==, 0);
        g_assert_cmpmem(data, 5120, model, 5120);
        free(data);
        disk_close(&disk);
    }
}

static void guessed_raw_image_cannot_become_another_format(void)
{
    Disk disk;
    uint8_t data[8192] = { 'Q', 'F', 'I', 0xfb };
    struct iovec split[2] = { { data, 3 }, { data + 3, sizeof(data) - 3 } };
    disk_open(&disk, LOOP_ENGINE_AUTO, make_image(NULL, IMAGE_SIZE), "file.locking=off");
    disk.drive->node->probed = true;
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 0, 8192, data, 0), ==, -EPERM);
    Io io;
    io_start(&disk, &io, BLOCK_WRITE, 0, sizeof(data), split, 2, 0);
    disk_wait(&disk);
    g_assert_cmpint(io.ret, ==, -EPERM);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 512, 4096, data, 0), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 2, 512, data, 0), ==, -EPERM);
    data[0] = 'X'; /* a boot sector like any other */
    data[5000] = 9;
    io_start(&disk, &io, BLOCK_WRITE, 0, sizeof(data), split, 2, 0);
    disk_wait(&disk);
    g_assert_cmpint(io.ret, ==, 0);
    size_t size;
    g_autofree uint8_t *file = image_read(&disk, &size);
    g_assert_cmpmem(file, sizeof(data), data, sizeof(data));
    disk_close(&disk);
}

/* ---- Errors ---- */

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
    disk->path = make_image(NULL, 512);
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
    fill(data, 1 << 20, 4);
    disk_open(&disk, LOOP_ENGINE_AUTO, make_image(NULL, IMAGE_SIZE), "aio=threads");
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old), ==, 0);
    cut = old;
    cut.rlim_cur = 3000000;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &cut), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 2 << 20, 1 << 20, data, 0), ==, -EFBIG);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old), ==, 0);
    size_t size;
    g_autofree uint8_t *file = image_read(&disk, &size);
    g_assert_cmpmem(file + (2 << 20), 3000000 - (2 << 20), data, 3000000 - (2 << 20));
    disk_close(&disk);
}

/* ---- Several loops, resize, nodes ---- */

typedef struct Hammer {
    Disk disk; /* its own loop and counters, a shared back end */
    GThread *thread;
    unsigned part;
} Hammer;

static gpointer hammer_run(gpointer opaque)
{
    Hammer *h = opaque;
    g_autofree uint8_t *out = g_malloc(65536);
    g_autofree uint8_t *in = g_malloc(65536);
    for (int i = 0; i < 200; i++) {
        uint64_t offset = h->part * (1 << 20) + (i * 7 % 15) * 65536;
        fill(out, 65536, i + h->part);
        g_assert_cmpint(io_run(&h->disk, BLOCK_WRITE, offset, 65536, out, 0), ==, 0);
        g_assert_cmpint(io_run(&h->disk, BLOCK_READ, offset, 65536, in, 0), ==, 0);
        g_assert_cmpmem(in, 65536, out, 65536);
    }
    return NULL;
}

static void several_loops_share_one_disk(void)
{
    enum { LOOPS = 3 };
    Disk disk;
    Hammer hammers[LOOPS];
    disk_open(&disk, LOOP_ENGINE_AUTO, make_image(NULL, IMAGE_SIZE), "cache=writeback");
    for (unsigned i = 0; i < LOOPS; i++) {
        memset(&hammers[i], 0, sizeof(hammers[i]));
        hammers[i].part = i;
        hammers[i].disk.backend = disk.backend;
        hammers[i].disk.loop = event_loop_new("hammer", LOOP_ENGINE_AUTO, NULL);
        g_assert_true(event_loop_start(hammers[i].disk.loop, NULL));
        g_assert_true(block_backend_add_loop(disk.backend, hammers[i].disk.loop, NULL));
        hammers[i].thread = g_thread_new("hammer", hammer_run, &hammers[i]);
    }
    for (unsigned i = 0; i < LOOPS; i++) {
        g_thread_join(hammers[i].thread);
    }
    BlockStats stats;
    block_backend_stats(disk.backend, &stats);
    g_assert_cmpint(stats.wr_ops, ==, LOOPS * 200);
    g_assert_cmpint(stats.rd_bytes, ==, LOOPS * 200 * 65536);
    block_backend_drain(disk.backend);
    disk_close(&disk);
    for (unsigned i = 0; i < LOOPS; i++) {
        event_loop_free(hammers[i].disk.loop);
    }
}

static int resizes;

static void on_resized(void *opaque)
{
    resizes++;
}

static void resize_changes_the_file_and_tells_the_device(void)
{
    static const BlockBackendEvents watch = { .resized = on_resized };
    Disk disk;
    g_autoptr(GError) error = NULL;
    uint8_t data[512] = { 5 };
    disk_open(&disk, LOOP_ENGINE_AUTO, make_image(NULL, IMAGE_SIZE), "cache=writeback");
    block_backend_set_events(disk.backend, &watch, NULL);
    resizes = 0;
    g_assert_true(block_resize(disk.drive->node, 2 * IMAGE_SIZE, &error));
    g_assert_cmpint(resizes, ==, 1);
    g_assert_cmpint(block_backend_length(disk.backend), ==, 2 * IMAGE_SIZE);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 2 * IMAGE_SIZE - 512, 512, data, 0), ==, 0);
    g_assert_false(block_resize(disk.drive->node, 1000, &error));
    g_assert_nonnull(error);
    disk_close(&disk);
}

static void nodes_are_opened_referenced_and_deleted(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = make_image(NULL, IMAGE_SIZE);
    g_autofree char *text = g_strdup_printf("driver=file,filename=%s,node-name=f0", path);
    g_autoptr(Opts) file = opts_parse(text, NULL, &error);
    g_autoptr(Opts)
        raw = opts_parse("driver=raw,file=f0,node-name=n0,offset=1M,size=1M", NULL, &error);
    g_assert_nonnull(block_node_open(file, &error));
    g_assert_no_error(error);
    BlockNode *node = block_node_open(raw, &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_node_length(node), ==, 1 << 20);
    g_assert_cmpint(block_pwrite(node, 0, "window", 6), ==, 0);
    g_assert_cmpint(block_pwrite(node, (1 << 20) - 5, "window", 6), ==, -EINVAL);
    char data[6];
    g_assert_cmpint(block_pread(block_node_find("f0"), 1 << 20, data, 6), ==, 0);
    g_assert_cmpmem(data, 6, "window", 6);
    g_assert_false(block_node_delete("f0", &error)); /* n0 stands on it */
    g_clear_error(&error);
    json_object *query = block_query_nodes(false);
    g_assert_cmpint(json_object_array_length(query), ==, 2);
    json_object_put(query);
    g_assert_true(block_node_delete("n0", &error));
    g_assert_true(block_node_delete("f0", &error));
    g_assert_false(block_node_delete("f0", &error));
    unlink(path);
}

static char *loop_device_make(const char *path)
{
    g_autofree char *command = g_strdup_printf("losetup -f --show %s", path);
    char *out = NULL;
    int status = 1;
    if (geteuid() != 0 || !g_spawn_command_line_sync(command, &out, NULL, &status, NULL) ||
        status != 0) {
        g_free(out);
        return NULL;
    }
    return g_strchomp(out);
}

static void block_device_takes_the_same_requests(void)
{
    static const char *const options[] = { "discard=unmap", "discard=unmap,cache=none" };
    g_autofree char *image = make_image(NULL, IMAGE_SIZE);
    g_autofree char *device = loop_device_make(image);
    if (!device) {
        g_test_skip("no loop devices here, or not root");
        unlink(image);
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        Disk disk;
        g_autofree uint8_t *data = g_malloc(1 << 20);
        fill(data, 1 << 20, 8);
        g_assert_true(disk_open(&disk, LOOP_ENGINE_AUTO, g_strdup(device), options[i]));
        g_assert_cmpstr(block_node_driver(disk.drive->node->file), ==, "host_device");
        g_assert_cmpint(block_backend_length(disk.backend), ==, IMAGE_SIZE);
        g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 0, 1 << 20, data, BLOCK_REQ_FUA), ==, 0);
        g_assert_cmpint(io_run(&disk, BLOCK_WRITE_ZEROES, 4096, 8192, NULL, 0), ==, 0);
        g_assert_cmpint(io_run(&disk, BLOCK_WRITE_ZEROES, 65536, 4096, NULL, BLOCK_REQ_UNMAP), ==,
                        0);
        g_assert_cmpint(io_run(&disk, BLOCK_DISCARD, 1 << 19, 1 << 18, NULL, 0), ==, 0);
        g_assert_cmpint(io_run(&disk, BLOCK_DISCARD, 1000, 300, NULL, 0), ==, 0); /* no sector */
        g_assert_cmpint(io_run(&disk, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
        memset(data + 4096, 0, 8192);
        memset(data + 65536, 0, 4096);
        memset(data + (1 << 19), 0, 1 << 18); /* a loop device's discard is a hole */
        g_autofree uint8_t *back = g_malloc(1 << 20);
        g_assert_cmpint(io_run(&disk, BLOCK_READ, 0, 1 << 20, back, 0), ==, 0);
        g_assert_cmpmem(back, 1 << 20, data, 1 << 20);
        g_free(disk.path);
        disk.path = g_strdup("nothing"); /* not the device's file */
        disk_close(&disk);
    }
    g_autofree char *command = g_strdup_printf("losetup -d %s", device);
    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
    unlink(image);
}

static void null_disk_completes_requests(void)
{
    static const char *const options[] = { "", ",latency-ns=100000" };
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        Disk disk;
        g_autoptr(GError) error = NULL;
        uint8_t data[512] = { 1 };
        memset(&disk, 0, sizeof(disk));
        disk.path = make_image(NULL, 512);
        disk.loop = event_loop_new("disk", LOOP_ENGINE_AUTO, &error);
        g_assert_true(event_loop_start(disk.loop, &error));
        g_autofree char *text =
            g_strdup_printf("format=null-co,if=none,id=d0,read-zeroes=on,size=8M%s", options[i]);
        g_autoptr(Opts) opts = opts_parse(text, NULL, &error);
        disk.drive = drive_add(opts, "virtio", &error);
        g_assert_no_error(error);
        disk.backend = block_backend_attach("d0", "dev0", false, false, &error);
        g_assert_true(block_backend_add_loop(disk.backend, disk.loop, &error));
        g_assert_cmpint(io_run(&disk, BLOCK_READ, 0, 512, data, 0), ==, 0);
        g_assert_cmpint(data[0], ==, 0);
        g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 8 << 20, 512, data, 0), ==, -EINVAL);
        disk_close(&disk);
    }
}

#define ADD(test)                                                                                  \
    do {                                                                                           \
        for (size_t c = 0; c < G_N_ELEMENTS(configs); c++) {                                       \
            g_autofree char *path = g_strdup_printf("/block/%s/" #test, configs[c].name);          \
            g_test_add_data_func(path, &configs[c], test);                                         \
        }                                                                                          \
    } while (0)
#define ADD_ONE(name) g_test_add_func("/block/" #name, name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
    ADD(data_written_is_read_back_and_in_the_file);
    ADD(misaligned_requests_keep_their_neighbours);
    ADD(many_vectored_requests_at_once);
    ADD(vector_longer_than_the_kernel_takes);
    ADD(write_zeroes_and_discard);
    ADD_ONE(discard_ignore_keeps_the_data);
    ADD_ONE(detect_zeroes_unmap_punches_a_hole);
    ADD_ONE(bad_ranges_are_refused);
    ADD_ONE(read_only_disk_refuses_writes);
    ADD_ONE(what_lies_behind_the_end_of_the_file_reads_as_zeroes);
    ADD_ONE(guessed_raw_image_cannot_become_another_format);
    ADD_ONE(errors_are_reported_by_default_but_a_full_disk_stops);
    ADD_ONE(ignored_error_is_success);
    ADD_ONE(stopped_requests_are_kept_resumed_and_can_fail_again);
    ADD_ONE(kept_requests_are_cancelled_on_reset_and_detach);
    ADD_ONE(a_write_cut_short_goes_on_and_its_error_is_seen);
    ADD_ONE(several_loops_share_one_disk);
    ADD_ONE(resize_changes_the_file_and_tells_the_device);
    ADD_ONE(nodes_are_opened_referenced_and_deleted);
    ADD_ONE(block_device_takes_the_same_requests);
    ADD_ONE(null_disk_completes_requests);
    return g_test_run();
}
