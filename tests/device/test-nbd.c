/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vireo-nbd, the program, judged by others: qemu-img, qemu-io and nbdinfo as clients of its export,
 * qemu-nbd as the server it is a client of. What is not installed is skipped.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1024 * 1024)

typedef struct Fixture {
    char *folder, *image, *socket, *uri;
} Fixture;

static char *in_folder(const Fixture *f, const char *name)
{
    return g_build_filename(f->folder, name, NULL);
}

static void set_up(Fixture *f)
{
    g_autofree char *data = g_malloc0(8 * MIB);
    f->folder = g_dir_make_tmp("vireo-nbd-XXXXXX", NULL);
    g_assert_nonnull(f->folder);
    f->image = in_folder(f, "image");
    f->socket = in_folder(f, "socket");
    f->uri = g_strdup_printf("nbd+unix:///disk?socket=%s", f->socket);
    memset(data + MIB, 0x5a, MIB);
    memset(data + 5 * MIB, 0xa5, 4096);
    g_assert_true(g_file_set_contents(f->image, data, 8 * MIB, NULL));
}

static void tear_down(Fixture *f)
{
    GDir *dir = g_dir_open(f->folder, 0, NULL);
    for (const char *name; (name = g_dir_read_name(dir));) {
        g_autofree char *path = in_folder(f, name);
        g_unlink(path);
    }
    g_dir_close(dir);
    g_rmdir(f->folder);
    g_free(f->folder);
    g_free(f->image);
    g_free(f->socket);
    g_free(f->uri);
}

static bool installed(const char *program)
{
    g_autofree char *path = g_find_program_in_path(program);
    if (!path) {
        g_test_skip_printf("%s is not installed", program);
    }
    return path != NULL;
}

/* Runs it to its end: the exit status, and standard output in *out (may be NULL). */
static int run(char **out, const char *program, ...)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autoptr(GError) error = NULL;
    int status;
    va_list args;
    va_start(args, program);
    for (const char *arg = program; arg; arg = va_arg(args, const char *)) {
        g_ptr_array_add(argv, (char *)arg);
    }
    va_end(args);
    g_ptr_array_add(argv, NULL);
    g_autofree char *text = NULL;
    g_spawn_sync(NULL, (char **)argv->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &text, NULL,
                 &status, &error);
    g_assert_no_error(error);
    if (out) {
        *out = g_steal_pointer(&text);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A server with --fork: it listens when this returns. */
static void serve(const Fixture *f, const char *program, const char *socket, const char *file,
                  const char *shared)
{
    g_autofree char *pid = g_strdup_printf("%s.pid", socket);
    g_autofree char *path = in_folder(f, "errors");
    g_autofree char *command =
        g_strdup_printf("'%s' --fork --pid-file='%s' -k '%s' -f raw -t -e %s --discard=unmap "
                        "-x disk '%s' >'%s' 2>&1",
                        program, pid, socket, shared, file, path);
    g_assert_cmpint(run(NULL, "sh", "-c", command, NULL), ==, 0);
}

/* Ends it in order and waits until its socket is gone. */
static void end_server(const char *socket)
{
    g_autofree char *pid = g_strdup_printf("%s.pid", socket), *text = NULL;
    g_assert_true(g_file_get_contents(pid, &text, NULL, NULL));
    g_assert_cmpint(kill(atoi(text), SIGTERM), ==, 0);
    while (kill(atoi(text), 0) == 0 && g_file_test(socket, G_FILE_TEST_EXISTS)) {
        g_usleep(10000);
    }
}

static const char *vireo_nbd(void)
{
    const char *path = g_getenv("VIREO_NBD");
    g_assert_nonnull(path);
    return path;
}

/* ---- Our export ---- */

static void qemu_img_reads_our_export(void)
{
    Fixture f;
    g_autofree char *map = NULL;
    if (!installed("qemu-img")) {
        return;
    }
    set_up(&f);
    g_autofree char *copy = in_folder(&f, "copy");
    serve(&f, vireo_nbd(), f.socket, f.image, "0");
    g_assert_cmpint(
        run(NULL, "qemu-img", "compare", "-f", "raw", "-F", "raw", f.uri, f.image, NULL), ==, 0);
    g_assert_cmpint(run(NULL, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", f.uri, copy, NULL),
                    ==, 0);
    g_assert_cmpint(
        run(NULL, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", copy, f.image, NULL), ==, 0);
    g_assert_cmpint(run(&map, "qemu-img", "map", "-f", "raw", "--output=json", f.uri, NULL), ==, 0);
    g_assert_nonnull(strstr(map, "\"data\": true"));
    end_server(f.socket);
    tear_down(&f);
}

static void qemu_img_writes_our_export(void)
{
    Fixture f;
    if (!installed("qemu-img")) {
        return;
    }
    set_up(&f);
    g_autofree char *target = in_folder(&f, "target");
    g_assert_true(g_file_set_contents(target, "", 0, NULL));
    g_assert_cmpint(truncate(target, 8 * MIB), ==, 0);
    serve(&f, vireo_nbd(), f.socket, target, "0");
    g_assert_cmpint(
        run(NULL, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", f.image, f.uri, NULL), ==,
        0);
    end_server(f.socket);
    g_assert_cmpint(
        run(NULL, "qemu-img", "compare", "-f", "raw", "-F", "raw", target, f.image, NULL), ==, 0);
    tear_down(&f);
}

static void qemu_io_does_all_kinds_of_requests(void)
{
    Fixture f;
    g_autofree char *out = NULL;
    if (!installed("qemu-io")) {
        return;
    }
    set_up(&f);
    serve(&f, vireo_nbd(), f.socket, f.image, "0");
    g_assert_cmpint(run(&out, "qemu-io", "-f", "raw", "-c", "write -P 1 0 64k", "-c",
                        "write -f -P 2 64k 4k", "-c", "write -z 1M 64k", "-c",
                        "write -zu 1088k 64k", "-c", "discard 1152k 64k", "-c", "flush", "-c",
                        "read -P 1 0 64k", "-c", "read -P 2 64k 4k", "-c", "read -P 0 1M 192k",
                        "-c", "read -P 0x5a 1216k 64k", f.uri, NULL),
                    ==, 0);
    g_assert_null(strstr(out, "verification failed"));
    end_server(f.socket);
    tear_down(&f);
}

static void nbdinfo_sees_what_we_offer(void)
{
    Fixture f;
    g_autofree char *info = NULL, *map = NULL;
    if (!installed("nbdinfo")) {
        return;
    }
    set_up(&f);
    serve(&f, vireo_nbd(), f.socket, f.image, "2");
    g_assert_cmpint(run(&info, "nbdinfo", f.uri, NULL), ==, 0);
    static const char *const lines[] = {
        "using structured packets",
        "export-size: 8388608",
        "base:allocation",
        "can_multi_conn: true",
        "can_fast_zero: true",
        "can_cache: true",
        "can_df: true",
        "is_read_only: false",
        "block_size_maximum: 33554432",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_assert_nonnull(strstr(info, lines[i]));
    }
    g_assert_cmpint(run(&map, "nbdinfo", "--map", f.uri, NULL), ==, 0);
    g_assert_nonnull(strstr(map, "data"));
    end_server(f.socket);
    tear_down(&f);
}

static void without_persistent_it_ends_with_its_last_client(void)
{
    Fixture f;
    int status;
    GPid pid;
    if (!installed("qemu-img")) {
        return;
    }
    set_up(&f);
    char *argv[] = {
        (char *)vireo_nbd(), "-f", "raw", "-x", "disk", "-k", f.socket, f.image, NULL
    };
    g_assert_true(
        g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, NULL));
    while (!g_file_test(f.socket, G_FILE_TEST_EXISTS)) {
        g_usleep(10000);
    }
    while (run(NULL, "qemu-img", "compare", "-f", "raw", "-F", "raw", f.uri, f.image, NULL) != 0) {
        g_usleep(10000); /* bound, not listening yet */
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    g_assert_false(g_file_test(f.socket, G_FILE_TEST_EXISTS));
    tear_down(&f);
}

/* ---- Our client ---- */

static void our_client_reads_and_writes_an_export_of_qemu_nbd(void)
{
    Fixture f;
    g_autofree char *out = NULL;
#ifndef HAVE_LIBNBD
    g_test_skip("the NBD client is not built in");
    return;
#endif
    if (!installed("qemu-nbd") || !installed("qemu-io")) {
        return;
    }
    set_up(&f);
    g_autofree char *theirs = in_folder(&f, "theirs");
    g_autofree char *remote = g_strdup_printf("nbd+unix:///disk?socket=%s", theirs);
    serve(&f, "qemu-nbd", theirs, f.image, "2");
    serve(&f, vireo_nbd(), f.socket, remote, "0");
    g_assert_cmpint(run(&out, "qemu-io", "-f", "raw", "-c", "write -P 1 0 64k", "-c",
                        "write -f -P 2 64k 4k", "-c", "write -z 1M 64k", "-c", "discard 1152k 64k",
                        "-c", "flush", "-c", "read -P 1 0 64k", "-c", "read -P 2 64k 4k", "-c",
                        "read -P 0 1M 64k", "-c", "read -P 0 1152k 64k", "-c",
                        "read -P 0x5a 1216k 64k", f.uri, NULL),
                    ==, 0);
    g_assert_null(strstr(out, "verification failed"));
    g_assert_cmpint(
        run(NULL, "qemu-img", "compare", "-U", "-f", "raw", "-F", "raw", f.uri, f.image, NULL), ==,
        0);
    end_server(f.socket);
    end_server(theirs);
    tear_down(&f);
}

static void what_it_cannot_do_it_says(void)
{
    static const struct {
        const char *option, *text;
    } cases[] = {
        { "-s", "-s: not in this version" },
        { "-c/dev/nbd0", "nbd-client" },
        { "-Bmap", "neither the node nor one below it has a bitmap 'map'" },
        { "--tls-creds=x", "tls-creds is not" },
        { "--nonsense", "unknown option" },
        { "-exyz", "not a number" },
        { "--cache=wild", "--cache=wild: none" },
        { "--discard=maybe", "ignore or unmap" },
    };
    Fixture f;
    set_up(&f);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *command = g_strdup_printf("'%s' -k '%s' -f raw %s '%s' 2>&1", vireo_nbd(),
                                                   f.socket, cases[i].option, f.image);
        g_autofree char *out = NULL;
        g_assert_cmpint(run(&out, "sh", "-c", command, NULL), ==, 1);
        g_assert_nonnull(strstr(out, cases[i].text));
    }
    tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(f) g_test_add_func("/nbd/" #f, f)
    TEST(qemu_img_reads_our_export);
    TEST(qemu_img_writes_our_export);
    TEST(qemu_io_does_all_kinds_of_requests);
    TEST(nbdinfo_sees_what_we_offer);
    TEST(without_persistent_it_ends_with_its_last_client);
    TEST(our_client_reads_and_writes_an_export_of_qemu_nbd);
    TEST(what_it_cannot_do_it_says);
    return g_test_run();
}
