/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block back ends on files: requests on every engine, alignment, zeroes, discard, options. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/unit/disk-kit.h"

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

/* ---- Every engine ---- */

static void data_written_is_read_back_and_in_the_file(gconstpointer opaque)
{
    const Config *config = opaque;
    Disk disk;
    if (!disk_open(&disk, config->loop, disk_make_image(NULL, IMAGE_SIZE), config->options)) {
        return;
    }
    uint8_t *out = aligned_alloc(4096, 1 << 20), *in = aligned_alloc(4096, 1 << 20);
    disk_fill(out, 1 << 20, 1);
    memset(in, 0, 1 << 20);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 65536, 1 << 20, out, 0), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_WRITE, 0, 4096, out, BLOCK_REQ_FUA), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
    g_assert_cmpint(io_run(&disk, BLOCK_READ, 65536, 1 << 20, in, 0), ==, 0);
    g_assert_cmpmem(in, 1 << 20, out, 1 << 20);
    size_t size;
    g_autofree uint8_t *file = disk_read_image(&disk, &size);
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
    disk_fill(model, IMAGE_SIZE, 9);
    if (!disk_open(&disk, config->loop, disk_make_image(model, IMAGE_SIZE), config->options)) {
        return;
    }
    g_autofree uint8_t *raw = g_malloc(1 << 20);
    GRand *rand = g_rand_new_with_seed(42);
    for (int i = 0; i < 60; i++) {
        uint32_t bytes = 1 + g_rand_int_range(rand, 0, i % 3 ? 9000 : 400000);
        uint32_t offset = g_rand_int_range(rand, 0, IMAGE_SIZE - bytes);
        uint8_t *data = raw + g_rand_int_range(rand, 0, 600);
        if (i % 2) {
            disk_fill(data, bytes, i);
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
    g_autofree uint8_t *file = disk_read_image(&disk, &size);
    g_assert_cmpmem(file, size, model, IMAGE_SIZE);
    disk_close(&disk);
}

static void many_vectored_requests_at_once(gconstpointer opaque)
{
    enum { COUNT = 1500, PARTS = 3 };
    const Config *config = opaque;
    Disk disk;
    g_autofree uint8_t *model = g_malloc(IMAGE_SIZE);
    disk_fill(model, IMAGE_SIZE, 3);
    if (!disk_open(&disk, config->loop, disk_make_image(model, IMAGE_SIZE), config->options)) {
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
    disk_fill(model, IMAGE_SIZE, 5);
    if (!disk_open(&disk, config->loop, disk_make_image(model, IMAGE_SIZE), config->options)) {
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
    disk_fill(model, IMAGE_SIZE, 7);
    g_autofree char *options = g_strconcat(config->options, ",discard=unmap", NULL);
    if (!disk_open(&disk, config->loop, disk_make_image(model, IMAGE_SIZE), options)) {
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
    g_autofree uint8_t *file = disk_read_image(&disk, &size);
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
    disk_fill(model, IMAGE_SIZE, 7);
    disk_open(&disk, LOOP_ENGINE_AUTO, disk_make_image(model, IMAGE_SIZE), "discard=ignore");
    g_assert_cmpint(io_run(&disk, BLOCK_DISCARD, 0, IMAGE_SIZE, NULL, 0), ==, 0);
    size_t size;
    g_autofree uint8_t *file = disk_read_image(&disk, &size);
    g_assert_cmpmem(file, size, model, IMAGE_SIZE);
    disk_close(&disk);
}

static void detect_zeroes_unmap_punches_a_hole(void)
{
    Disk disk;
    g_autofree uint8_t *model = g_malloc(IMAGE_SIZE);
    disk_fill(model, IMAGE_SIZE, 7);
    disk_open(&disk, LOOP_ENGINE_AUTO, disk_make_image(model, IMAGE_SIZE),
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
    g_autofree uint8_t *file = disk_read_image(&disk, &size);
    g_assert_cmpmem(file, size, model, IMAGE_SIZE);
    disk_close(&disk);
}

static void bad_ranges_are_refused(void)
{
    Disk disk;
    uint8_t data[4096] = { 0 };
    disk_open(&disk, LOOP_ENGINE_AUTO, disk_make_image(NULL, IMAGE_SIZE),
              "werror=stop,rerror=stop");
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
    disk_open(&disk, LOOP_ENGINE_AUTO, disk_make_image(NULL, IMAGE_SIZE), "readonly=on");
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
        disk_fill(model, 5000, 2);
        disk_open(&disk, LOOP_ENGINE_AUTO, disk_make_image(model, 5000), options[i]);
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
    disk_open(&disk, LOOP_ENGINE_AUTO, disk_make_image(NULL, IMAGE_SIZE), "file.locking=off");
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
    g_autofree uint8_t *file = disk_read_image(&disk, &size);
    g_assert_cmpmem(file, sizeof(data), data, sizeof(data));
    disk_close(&disk);
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
    return g_test_run();
}
