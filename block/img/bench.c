/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img bench: sequential requests, several at a time, on one event loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "block/img/img.h"
#include "vmm/util/bytes.h"

const ImgOption img_bench_options[] = {
    { 'c', NULL, "COUNT", "requests (75000)" },
    { 'd', NULL, "DEPTH", "in flight at the same time (64)" },
    IMG_OPTION_FORMAT,
    { 0, "flush-interval", "COUNT", "flush after so many writes" },
    { 'i', NULL, "AIO", "the engine: threads, native, io_uring" },
    { 'n', NULL, NULL, "native AIO, as -i native" },
    { 0, "no-drain", NULL, "do not wait for requests in flight before a flush" },
    { 'o', NULL, "OFFSET", "begin here (0)" },
    { 0, "pattern", "BYTE", "what is written (0)" },
    IMG_OPTION_QUIET,
    { 's', NULL, "BYTES", "of a request (4k)" },
    { 'S', NULL, "BYTES", "from one request to the next (as -s)" },
    IMG_OPTION_CACHE,
    { 'w', NULL, NULL, "write, not read" },
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTION_SHARE,
    IMG_OPTIONS_END,
};

typedef struct Bench Bench;
typedef struct Slot {
    Bench *bench;
    BlockRequest request;
    struct iovec iov;
    bool busy;
} Slot;

/* Of the loop's thread, once it runs. */
struct Bench {
    BlockBackend *backend;
    EventLoop *loop;
    bool write, drain;
    unsigned pattern;
    uint64_t count, depth, bytes, step, start, length, flush_interval;
    uint64_t begun, since_flush, in_flight, position;
    bool flushing; /* a drained flush: nothing else begins */
    int ret;
    Slot *slots;
    Slot flush;
    LoopTask begin;
    GMutex lock;
    GCond over;
    bool ended; /* under lock */
};

static void bench_go_on(Bench *b);

static void request_done(BlockRequest *request, int ret)
{
    Slot *slot = request->opaque;
    Bench *b = slot->bench;
    slot->busy = false;
    b->in_flight--;
    b->ret = ret < 0 && !b->ret ? ret : b->ret;
    if (slot == &b->flush) {
        b->flushing = false;
    }
    bench_go_on(b);
}

static void submit(Bench *b, Slot *slot, BlockOp op, uint64_t offset)
{
    bool data = op != BLOCK_FLUSH;
    slot->bench = b;
    slot->busy = true;
    slot->request = (BlockRequest){ .op = op,
                                    .offset = offset,
                                    .bytes = data ? b->bytes : 0,
                                    .iov = data ? &slot->iov : NULL,
                                    .iov_count = data,
                                    .done = request_done,
                                    .opaque = slot };
    b->in_flight++;
    block_submit(b->backend, &slot->request);
}

static Slot *free_slot(Bench *b)
{
    for (uint64_t i = 0; i < b->depth; i++) {
        if (!b->slots[i].busy) {
            return &b->slots[i];
        }
    }
    return NULL;
}

/* True when requests must wait: for the flush, or for those before it. */
static bool flush_is_due(Bench *b)
{
    if (b->flushing) {
        return true;
    }
    if (!b->flush_interval || b->since_flush < b->flush_interval || b->flush.busy) {
        return false;
    }
    if (b->drain && b->in_flight) {
        return true;
    }
    b->since_flush = 0;
    b->flushing = b->drain;
    submit(b, &b->flush, BLOCK_FLUSH, 0);
    return b->flushing;
}

static void bench_go_on(Bench *b)
{
    Slot *slot;
    while (!b->ret && b->begun < b->count && !flush_is_due(b) && (slot = free_slot(b))) {
        uint64_t offset = b->position;
        b->begun++;
        b->since_flush++;
        b->position += b->step;
        if (!range_inside(b->position, b->bytes, b->length)) {
            b->position = b->position % b->length;
            b->position = range_inside(b->position, b->bytes, b->length) ? b->position : 0;
        }
        submit(b, slot, b->write ? BLOCK_WRITE : BLOCK_READ, offset);
    }
    if (!b->in_flight && (b->ret || b->begun == b->count)) {
        g_mutex_lock(&b->lock);
        b->ended = true;
        g_cond_signal(&b->over);
        g_mutex_unlock(&b->lock);
    }
}

static void bench_begin(void *opaque)
{
    bench_go_on(opaque);
}

static void make_slots(Bench *b)
{
    b->slots = g_new0(Slot, b->depth);
    for (uint64_t i = 0; i < b->depth; i++) {
        b->slots[i].iov = (struct iovec){ img_buffer_new(b->bytes), b->bytes };
        memset(b->slots[i].iov.iov_base, (int)b->pattern, b->bytes);
    }
}

static void free_slots(Bench *b)
{
    for (uint64_t i = 0; i < b->depth; i++) {
        free(b->slots[i].iov.iov_base);
    }
    g_free(b->slots);
}

static bool run_loop(Bench *b, double *seconds, GError **error)
{
    b->loop = event_loop_new("bench", LOOP_ENGINE_AUTO, error);
    if (!b->loop) {
        return false;
    }
    if (!event_loop_start(b->loop, error) || !block_backend_add_loop(b->backend, b->loop, error)) {
        event_loop_free(b->loop);
        return false;
    }
    make_slots(b);
    g_mutex_init(&b->lock);
    g_cond_init(&b->over);
    b->begin = (LoopTask)LOOP_TASK_INIT(bench_begin, b);
    gint64 began = g_get_monotonic_time();
    event_loop_post(b->loop, &b->begin);
    g_mutex_lock(&b->lock);
    while (!b->ended) {
        g_cond_wait(&b->over, &b->lock);
    }
    g_mutex_unlock(&b->lock);
    *seconds = (double)(g_get_monotonic_time() - began) / G_USEC_PER_SEC;
    return true;
}

static bool read_number(const ImgArgs *args, const char *key, const char *what, uint64_t max,
                        uint64_t *value)
{
    const char *text = img_value(args, key);
    if (text && !parse_uint(text, max, value)) {
        report_error("Invalid %s specified", what);
        return false;
    }
    return true;
}

static bool read_size(const ImgArgs *args, const char *key, const char *what, uint64_t max,
                      uint64_t *value)
{
    const char *text = img_value(args, key);
    return !text || img_parse_size(what, text, 0, max, value);
}

static bool refuse(const char *message)
{
    report_error("%s", message);
    return false;
}

static bool read_options(Bench *b, const ImgArgs *args)
{
    uint64_t pattern = 0;
    *b = (Bench){ .write = img_has(args, "w"),
                  .drain = !img_has(args, "no-drain"),
                  .count = 75000,
                  .depth = 64,
                  .bytes = 4 * KIB };
    if (!read_number(args, "c", "request count", INT32_MAX, &b->count) ||
        !read_number(args, "d", "queue depth", 4096, &b->depth) ||
        !read_number(args, "flush-interval", "flush interval", INT32_MAX, &b->flush_interval) ||
        !read_number(args, "pattern", "pattern byte", 255, &pattern) ||
        !read_size(args, "s", "buffer size", 64 * MIB, &b->bytes) ||
        !read_size(args, "S", "step_size", INT32_MAX, &b->step) ||
        !read_size(args, "o", "offset", INT64_MAX, &b->start)) {
        return false;
    }
    b->pattern = (unsigned)pattern;
    b->step = b->step ? b->step : b->bytes;
    if (!b->depth || !b->bytes) {
        return refuse(b->depth ? "-s: the buffer holds 1 byte to 2 GiB"
                               : "-d: at least one request has to be in flight");
    }
    if (!b->write && b->flush_interval) {
        return refuse("--flush-interval is of use with -w alone: only writes are flushed");
    }
    if (b->flush_interval && b->flush_interval < b->depth) {
        return refuse("--flush-interval has to be at least as large as the depth (-d)");
    }
    return true;
}

static void print_plan(const Bench *b)
{
    printf("%" G_GUINT64_FORMAT " requests (%s) of %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT
           " of them in flight; the first at offset %" G_GUINT64_FORMAT
           ", the next %" G_GUINT64_FORMAT " bytes behind it\n",
           b->count, b->write ? "write" : "read", b->bytes, b->depth, b->start, b->step);
    if (b->flush_interval) {
        printf("A flush after every %" G_GUINT64_FORMAT " requests\n", b->flush_interval);
    }
    fflush(stdout);
}

static int bench_open(Bench *b, ImgImage *image, bool quiet)
{
    GError *error = NULL;
    double seconds = 0;
    b->backend = image->backend;
    b->length = block_node_length(image->node);
    b->position = b->start;
    if (!range_inside(b->start, b->bytes, b->length)) {
        report_error("a request of %" G_GUINT64_FORMAT " bytes at offset %" G_GUINT64_FORMAT
                     " does not fit into the image of %" G_GUINT64_FORMAT " bytes",
                     b->bytes, b->start, b->length);
        return 1;
    }
    if (!quiet) {
        print_plan(b);
    }
    if (!run_loop(b, &seconds, &error)) {
        return img_fail(error);
    }
    if (b->ret < 0) {
        report_error("Failed request: %s", g_strerror(-b->ret));
    } else if (!quiet) {
        printf("Run completed in %.3f seconds.\n", seconds);
    }
    return b->ret < 0;
}

static bool choose_aio(const ImgArgs *args, const char **aio)
{
    static const char *const names[] = { "threads", "native", "io_uring", NULL };
    const char *given = img_value(args, "i");
    *aio = img_has(args, "n") ? "native" : given;
    if (given && !g_strv_contains(names, given)) {
        report_error("-i: there is no engine '%s' (threads, native, io_uring)", given);
        return false;
    }
    return true;
}

int img_bench_run(ImgArgs *args)
{
    Bench b;
    ImgImage image;
    ImgOpen how = { .format = img_value(args, "f"),
                    .image_opts = img_has(args, "image-opts"),
                    .force_share = img_has(args, "U"),
                    .cache = img_value(args, "t"),
                    .writable = img_has(args, "w") };
    if (!choose_aio(args, &how.aio) || !read_options(&b, args) ||
        !img_expect_words(args, 1, "this command works on one image: give its file name") ||
        !img_open(&image, args->words[0], &how)) {
        return 1;
    }
    block_backend_set_error_actions(image.backend, BLOCK_ERROR_REPORT, BLOCK_ERROR_REPORT);
    int status = bench_open(&b, &image, img_has(args, "q"));
    if (status == 0 && b.write && !img_flush(&image)) {
        status = 1;
    }
    img_close(&image);
    if (b.slots) {
        event_loop_free(b.loop);
        free_slots(&b);
    }
    return status;
}
