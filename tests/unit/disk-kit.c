/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk-kit.h. */
#include "tests/unit/disk-kit.h"

#include <stdlib.h>
#include <unistd.h>

static bool uring_works(void)
{
    EventLoop *loop = event_loop_new("probe", LOOP_ENGINE_IO_URING, NULL);
    if (loop) {
        event_loop_free(loop);
    }
    return loop != NULL;
}

char *disk_make_image(const void *data, size_t size)
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

bool disk_open(Disk *disk, LoopEngine engine, char *path, const char *options)
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

void disk_close(Disk *disk)
{
    block_backend_detach(disk->backend);
    drives_close();
    event_loop_free(disk->loop);
    unlink(disk->path);
    g_free(disk->path);
}

/* ---- One request, waited for ---- */

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

void io_start(Disk *disk, Io *io, BlockOp op, uint64_t offset, uint64_t bytes,
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

void disk_wait(Disk *disk)
{
    g_mutex_lock(&disk->lock);
    while (disk->pending) {
        g_cond_wait(&disk->cond, &disk->lock);
    }
    g_mutex_unlock(&disk->lock);
}

int io_run(Disk *disk, BlockOp op, uint64_t offset, uint64_t bytes, void *data, unsigned flags)
{
    Io io;
    struct iovec iov = { data, bytes };
    io_start(disk, &io, op, offset, bytes, data ? &iov : NULL, data ? 1 : 0, flags);
    disk_wait(disk);
    g_assert_cmpint(io.calls, ==, 1);
    return io.ret;
}

void disk_fill(uint8_t *data, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)((i >> 9) * 31 + i * 7 + seed);
    }
}

uint8_t *disk_read_image(Disk *disk, size_t *size)
{
    char *data;
    g_assert_true(g_file_get_contents(disk->path, &data, size, NULL));
    return (uint8_t *)data;
}
