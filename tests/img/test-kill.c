/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vireo-img is killed in the middle of its work on an image. What is left opens, nobody holds its
 * lock, qemu-img check finds leaks at most (or the mark that says that it is to be repaired first),
 * and the disk is what it was, or what it was to become.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/unit/qemu-img.h"

/* Every write of the image waits a little, so that a kill finds it at any of its steps. */
#define SLOW                                                                                       \
    "driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=disk,"           \
    "file.inject-error.0.event=write_aio,file.inject-error.0.errno=0,"                             \
    "file.inject-error.0.delay-ns=400000"

typedef struct Work {
    const char *name;
    const char *setup;   /* besides `disk`: shell */
    const char *command; /* of vireo-img */
    const char *becomes; /* the raw image that `disk` may be afterwards; NULL: `before` alone */
} Work;

static const Work works[] = {
    { "snapshot-create", NULL, "snapshot -c new --image-opts " SLOW, NULL },
    { "snapshot-delete", "qemu-img snapshot -c old disk", "snapshot -d old --image-opts " SLOW,
      NULL },
    { "snapshot-apply",
      "cp before after && qemu-img snapshot -c old disk && "
      "qemu-io -f qcow2 -c 'write -P 9 1M 700k' disk && qemu-img convert -O raw disk before",
      "snapshot -a old --image-opts " SLOW, "after" },
    { "grow", "cp before after && truncate -s 200M after", "resize -q --image-opts " SLOW " 200M",
      "after" },
    { "grow-falloc", "cp before after && truncate -s 130M after",
      "resize -q --preallocation=falloc --image-opts " SLOW " 130M", "after" },
    { "shrink", "cp before after && truncate -s 6M after",
      "resize -q --shrink --image-opts " SLOW " 6M", "after" },
    { "amend", NULL, "amend -o refcount_bits=64 --image-opts " SLOW, NULL },
    { "rebase",
      "qemu-img create -q -f qcow2 -b disk -F qcow2 top && mv disk base && mv top disk && "
      "qemu-img rebase -u -b base -F qcow2 disk && qemu-io -f qcow2 -c 'write -P 9 1M 700k' disk "
      "&& qemu-img convert -O raw disk before",
      "rebase -b  --image-opts " SLOW, NULL },
    { "commit",
      "qemu-img create -q -f qcow2 -b disk -F qcow2 top && mv disk base && mv top disk && "
      "qemu-img rebase -u -b base -F qcow2 disk && qemu-io -f qcow2 -c 'write -P 9 1M 700k' disk "
      "&& qemu-img convert -O raw disk before",
      "commit -q -f qcow2 disk", NULL },
    { "repair", "qemu-img snapshot -c old disk && leak disk", "check -q -r all --image-opts " SLOW,
      NULL },
    { "convert", "qemu-img convert -O raw disk source", "convert -f raw -O qcow2 -c source target",
      NULL },
};

static char *folder;
static GRand *rng;

static void run(const char *line)
{
    g_assert_cmpint(command_run(folder, NULL, "{ %s ; } >/dev/null", line), ==, 0);
}

static char *path_of(const char *name)
{
    return g_build_filename(folder, name, NULL);
}

/* ---- Images ---- */

/* Counts two clusters behind the end of the image that nothing uses. */
static void leak(void)
{
    g_autofree char *path = path_of("disk");
    uint64_t table, block;
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpint(pread(fd, &table, 8, 48), ==, 8);
    g_assert_cmpint(pread(fd, &block, 8, (off_t)GUINT64_FROM_BE(table)), ==, 8);
    uint64_t cluster = ((uint64_t)st.st_size + 4095) / 4096;
    g_assert_cmpint(ftruncate(fd, (off_t)(cluster + 2) * 4096), ==, 0);
    uint16_t counts[2] = { GUINT16_TO_BE(1), GUINT16_TO_BE(1) };
    g_assert_cmpuint(cluster + 2, <, 2048); /* of this block */
    g_assert_cmpint(pwrite(fd, counts, 4, (off_t)(GUINT64_FROM_BE(block) + cluster * 2)), ==, 4);
    close(fd);
}

/* `disk`, and `before`: what it reads as. */
static void make_disk(const Work *work)
{
    run("rm -rf * && qemu-img create -f qcow2 -o cluster_size=4k disk 96M && "
        "qemu-io -f qcow2 -c 'write -P 1 0 1M' -c 'write -P 2 3M 2M' -c 'write -z 4M 300k' "
        "-c 'write -P 3 40M 900k' -c 'write -P 4 95M 1M' disk && "
        "qemu-img convert -O raw disk before");
    g_autofree char *setup = g_strdup(work->setup);
    char *leaks = setup ? strstr(setup, " && leak disk") : NULL;
    if (leaks) {
        *leaks = '\0';
    }
    if (setup) {
        run(setup);
    }
    if (leaks) {
        leak();
    }
    run("mkdir kept && cp --sparse=always $(ls -p | grep -v /) kept");
}

/* ---- Killing ---- */

static GPid start(const Work *work)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) words = g_strsplit(work->command, " ", 0);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    GPid pid;
    g_ptr_array_add(argv, (char *)g_getenv("VIREO_IMG"));
    for (int i = 0; words[i]; i++) {
        g_ptr_array_add(argv, words[i]);
    }
    g_ptr_array_add(argv, NULL);
    g_spawn_async(folder, (char **)argv->pdata, NULL,
                  G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDERR_TO_DEV_NULL |
                      G_SPAWN_STDOUT_TO_DEV_NULL,
                  NULL, NULL, &pid, &error);
    g_assert_no_error(error);
    return pid;
}

/* Microseconds that the work takes when it is left alone. */
static gint64 measure(const Work *work)
{
    int status;
    gint64 began = g_get_monotonic_time();
    GPid pid = start(work);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 0);
    return g_get_monotonic_time() - began;
}

static const char *const images[] = { "disk", "base", "target" }; /* that works write */

static void kill_after(const Work *work, gint64 us)
{
    int status;
    GPid pid = start(work);
    g_usleep((gulong)us);
    kill(pid, SIGKILL);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    for (size_t i = 0; i < G_N_ELEMENTS(images); i++) {
        g_autofree char *path = path_of(images[i]);
        if (g_file_test(path, G_FILE_TEST_EXISTS)) {
            image_wait_unlocked(path);
        }
    }
}

/* ---- Judging ---- */

static bool is_marked(void)
{
    g_autofree char *path = path_of("disk");
    uint8_t bits = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(pread(fd, &bits, 1, 79), ==, 1);
    close(fd);
    return bits & 1;
}

static bool is_same(const char *raw)
{
    return raw &&
           command_run(folder, NULL, "qemu-img compare -q -f qcow2 -F raw disk %s", raw) == 0;
}

/* What else was written to. */
static void judge_others(void)
{
    for (size_t i = 1; i < G_N_ELEMENTS(images); i++) {
        g_autofree char *path = path_of(images[i]);
        g_autofree char *bytes = NULL;
        gsize length;
        if (g_file_get_contents(path, &bytes, &length, NULL) && length >= 4 &&
            !memcmp(bytes, "QFI\xfb", 4)) {
            int code = qemu_img_check(path);
            g_assert_true(code == 0 || code == 3);
        }
    }
}

static void judge(const Work *work)
{
    g_autofree char *path = path_of("disk");
    int code = qemu_img_check(path);
    g_assert_true(code == 0 || code == 3 || (code == 2 && is_marked()));
    g_assert_true(is_same("before") || is_same(work->becomes));
    judge_others();
    run("qemu-img check -q -r all -f qcow2 disk");
    g_assert_true(is_same("before") || is_same(work->becomes));
    /* Vireo mends what is left by itself. */
    g_assert_cmpint(command_run(folder, NULL, "cp left disk && %s snapshot -c again disk",
                                g_getenv("VIREO_IMG")),
                    ==, 0);
    g_assert_cmpint(qemu_img_check(path), !=, 2);
    g_assert_true(is_same("before") || is_same(work->becomes));
}

static void killed(gconstpointer data)
{
    const Work *work = data;
    const char *many = g_getenv("VIREO_KILLS");
    int kills = many ? atoi(many) : 4;
    if (!qemu_is_here()) {
        g_test_skip("there is no qemu-img");
        return;
    }
    make_disk(work);
    gint64 us = measure(work);
    for (int i = 0; i < kills; i++) {
        run("rm -f target left && cp --sparse=always kept/* .");
        kill_after(work, (gint64)(g_rand_double(rng) * (double)us));
        run("cp --sparse=always disk left");
        judge(work);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("vireo-kill-XXXXXX", NULL);
    rng = g_rand_new_with_seed((guint32)g_test_rand_int());
    for (size_t i = 0; i < G_N_ELEMENTS(works); i++) {
        g_autofree char *path = g_strdup_printf("/img/killed/%s", works[i].name);
        g_test_add_data_func(path, &works[i], killed);
    }
    int ret = g_test_run();
    command_run(NULL, NULL, "rm -rf '%s'", folder);
    g_rand_free(rng);
    g_free(folder);
    return ret;
}
