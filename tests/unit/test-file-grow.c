/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that image formats make longer: many writers behind the end at once, whole blocks and parts
 * of them; the file keeps all of it, and is as long as what was written once it is closed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "block/internal.h"
#include "vmm/util/bytes.h"

#define LOOPS  3
#define WRITES 60
#define ROOM   (8 * MIB)

typedef struct Growing {
    BlockNode *node;
    char *path;
    uint8_t *model;
    uint64_t end; /* of what was written */
    int left;
    GMutex lock;
    GCond cond;
} Growing;

typedef struct Write {
    BlockRequest io;
    Growing *g;
    struct iovec iov;
    uint64_t offset;
    LoopTask task;
    EventLoop *loop;
} Write;

static void growing_open(Growing *g, const char *options, const char *content, size_t length)
{
    g_autoptr(GError) error = NULL;
    memset(g, 0, sizeof(*g));
    g->path = g_strdup("test-grow-XXXXXX"); /* in the build tree: tmpfs has no O_DIRECT */
    close(g_mkstemp(g->path));
    g_assert_true(g_file_set_contents(g->path, content, (gssize)length, NULL));
    g_autofree char *text =
        g_strdup_printf("driver=file,node-name=f,filename=%s%s", g->path, options);
    g_autoptr(Opts) opts = opts_parse(text, NULL, &error);
    g_assert_no_error(error);
    g->node = block_node_open(opts, &error);
    g_assert_no_error(error);
    g->model = g_malloc0(ROOM);
    memcpy(g->model, content, length);
    g->end = length;
}

static uint64_t file_size(const Growing *g)
{
    struct stat st;
    g_assert_cmpint(stat(g->path, &st), ==, 0);
    return (uint64_t)st.st_size;
}

/* Closes it and compares. */
static void growing_close(Growing *g)
{
    g_autofree char *file = NULL;
    gsize length;
    g_autoptr(GError) error = NULL;
    g_assert_true(block_node_delete("f", &error));
    g_assert_no_error(error);
    g_assert_true(g_file_get_contents(g->path, &file, &length, NULL));
    g_assert_cmpuint(length, ==, g->end);
    g_assert_true(memcmp(file, g->model, length) == 0);
    unlink(g->path);
    g_free(g->path);
    g_free(g->model);
}

static void written(BlockRequest *io, int ret)
{
    Write *w = io->opaque;
    g_assert_cmpint(ret, ==, 0);
    block_request_release(io);
    g_mutex_lock(&w->g->lock);
    w->g->left--;
    g_cond_signal(&w->g->cond);
    g_mutex_unlock(&w->g->lock);
}

static void submit(void *opaque)
{
    Write *w = opaque;
    block_request_init(&w->io, w->loop, BLOCK_WRITE, w->offset, w->iov.iov_len, &w->iov, 1, 0,
                       written, w);
    block_node_submit(w->g->node, &w->io);
}

/* Each in its own place, in an order of its own. */
static void write_everywhere(Growing *g, uint64_t unit)
{
    EventLoop *loops[LOOPS];
    g_autofree Write *writes = g_new0(Write, WRITES);
    g_autoptr(GError) error = NULL;
    for (int i = 0; i < LOOPS; i++) {
        loops[i] = event_loop_new("grow", LOOP_ENGINE_AUTO, &error);
        g_assert_true(event_loop_start(loops[i], &error));
    }
    g->left = WRITES;
    for (int i = 0; i < WRITES; i++) {
        Write *w = &writes[i];
        uint64_t place = (uint64_t)(i * 37 % WRITES) * 2;
        w->g = g;
        w->loop = loops[i % LOOPS];
        w->offset = unit + place * unit;
        w->iov = (struct iovec){ g->model + w->offset, unit };
        memset(g->model + w->offset, i + 1, unit);
        g->end = MAX(g->end, w->offset + unit);
        w->task = (LoopTask)LOOP_TASK_INIT(submit, w);
        event_loop_post(w->loop, &w->task);
    }
    g_mutex_lock(&g->lock);
    while (g->left) {
        g_cond_wait(&g->cond, &g->lock);
    }
    g_mutex_unlock(&g->lock);
    for (int i = 0; i < LOOPS; i++) {
        event_loop_free(loops[i]);
    }
}

static void writers_behind_the_end_keep_what_they_wrote(void)
{
    static const char *const options[] = { "", ",cache.direct=on", ",aio=threads" };
    static const uint64_t units[] = { 512, 600, 4096, 40000 };
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        for (size_t k = 0; k < G_N_ELEMENTS(units); k++) {
            Growing g;
            growing_open(&g, options[i], "begin", 5);
            write_everywhere(&g, units[k]);
            growing_close(&g);
        }
    }
}

static void a_file_grows_ahead_of_its_writers(void)
{
    Growing g;
    growing_open(&g, "", "", 0);
    memset(g.model, 7, 4096);
    g_assert_cmpint(node_pwrite(g.node, 0, g.model, 4096), ==, 0);
    g.end = 4096;
    uint64_t ahead = file_size(&g);
    g_assert_cmpuint(ahead, >, 4096);
    memset(g.model + 4096, 8, 4096);
    g_assert_cmpint(node_pwrite(g.node, 4096, g.model + 4096, 4096), ==, 0);
    g.end = 8192;
    g_assert_cmpuint(file_size(&g), ==, ahead);
    growing_close(&g);
}

/* So that no write waits for the file system to find space. */
static void with_o_direct_space_comes_with_the_length(void)
{
    Growing g;
    struct stat st;
    growing_open(&g, ",cache.direct=on", "", 0);
    memset(g.model, 7, 4096);
    g_assert_cmpint(node_pwrite(g.node, 0, g.model, 4096), ==, 0);
    g.end = 4096;
    g_assert_cmpint(stat(g.path, &st), ==, 0);
    g_assert_cmpint(st.st_blocks * 512, >=, st.st_size);
    growing_close(&g);
}

static void a_file_only_read_or_overwritten_stays_as_it_is(void)
{
    Growing g;
    char text[1000];
    memset(text, 'x', sizeof(text));
    growing_open(&g, "", text, sizeof(text));
    memset(g.model, 'y', 512);
    g_assert_cmpint(node_pwrite(g.node, 0, g.model, 512), ==, 0);
    g_assert_cmpuint(file_size(&g), ==, 1000);
    growing_close(&g);
}

static void a_resize_is_the_last_word(void)
{
    Growing g;
    g_autoptr(GError) error = NULL;
    growing_open(&g, "", "", 0);
    g_assert_cmpint(node_pwrite(g.node, 0, g.model, MIB), ==, 0);
    g_assert_true(block_resize(g.node, 4 * MIB, &error));
    g_assert_cmpuint(file_size(&g), ==, 4 * MIB);
    g_assert_true(block_resize(g.node, 2 * MIB, &error));
    g.end = 2 * MIB;
    growing_close(&g);
}

/* Without locks, or on a file system that has none. */
static void what_another_program_appended_stays(void)
{
    Growing g;
    growing_open(&g, ",locking=off", "begin", 5);
    memset(g.model + MIB, 5, 4096);
    int fd = open(g.path, O_WRONLY);
    g_assert_cmpint(pwrite(fd, g.model + MIB, 4096, MIB), ==, 4096);
    g.end = MIB + 4096;
    memset(g.model + 64 * KIB, 6, 512);
    g_assert_cmpint(node_pwrite(g.node, 64 * KIB, g.model + 64 * KIB, 512), ==, 0);
    memset(g.model + 2 * MIB, 7, 512); /* grows ahead */
    g_assert_cmpint(node_pwrite(g.node, 2 * MIB, g.model + 2 * MIB, 512), ==, 0);
    g.end = file_size(&g) + MIB;
    memset(g.model + g.end - 512, 8, 512);
    g_assert_cmpint(pwrite(fd, g.model + g.end - 512, 512, (off_t)g.end - 512), ==, 512);
    close(fd);
    growing_close(&g);
}

static void a_limit_leaves_what_fits(void)
{
    struct rlimit old, cut;
    Growing g;
    signal(SIGXFSZ, SIG_IGN);
    growing_open(&g, "", "", 0);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old), ==, 0);
    cut = old;
    cut.rlim_cur = 128 * KIB;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &cut), ==, 0);
    memset(g.model, 9, 128 * KIB);
    g_assert_cmpint(node_pwrite(g.node, 0, g.model, 64 * KIB), ==, 0);
    g_assert_cmpint(node_pwrite(g.node, 64 * KIB, g.model, 64 * KIB), ==, 0);
    g_assert_cmpint(node_pwrite(g.node, 128 * KIB, g.model, 512), ==, -EFBIG);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old), ==, 0);
    g.end = 128 * KIB;
    growing_close(&g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
    g_test_add_func("/file-grow/writers-behind-the-end-keep-what-they-wrote",
                    writers_behind_the_end_keep_what_they_wrote);
    g_test_add_func("/file-grow/a-file-grows-ahead-of-its-writers",
                    a_file_grows_ahead_of_its_writers);
    g_test_add_func("/file-grow/with-o-direct-space-comes-with-the-length",
                    with_o_direct_space_comes_with_the_length);
    g_test_add_func("/file-grow/a-file-only-read-or-overwritten-stays-as-it-is",
                    a_file_only_read_or_overwritten_stays_as_it_is);
    g_test_add_func("/file-grow/a-resize-is-the-last-word", a_resize_is_the_last_word);
    g_test_add_func("/file-grow/what-another-program-appended-stays",
                    what_another_program_appended_stays);
    g_test_add_func("/file-grow/a-limit-leaves-what-fits", a_limit_leaves_what_fits);
    return g_test_run();
}
