/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-nbd: opens the image, serves it until the last client leaves or a signal comes. */
#include "block/nbd/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "block/bitmap.h"
#include "block/image.h"
#include "block/nbd/proto.h"
#include "block/nbd/server.h"

#define FIRST_PASSED_FD 3 /* of systemd's socket activation */

typedef struct Tool {
    NbdToolOptions options;
    NbdServer *server;
    BlockNode *node;
    CharAddress address;
    FdWatch signals;
    GMainLoop *loop;
    int tell_fd; /* of --fork; -1 */
} Tool;

/* ---- The image ---- */

static bool set_cache(Tool *t, BlockOpenMode *mode, bool *writethrough, GError **error)
{
    static const struct {
        const char *name;
        bool direct, no_flush, writethrough;
    } modes[] = { { "writeback", false, false, false },
                  { "none", true, false, false },
                  { "writethrough", false, false, true },
                  { "directsync", true, false, true },
                  { "unsafe", false, true, false } };
    const char *name = t->options.cache ? t->options.cache : "writeback";
    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        if (!strcmp(modes[i].name, name)) {
            mode->cache_direct = modes[i].direct;
            mode->no_flush = modes[i].no_flush;
            *writethrough = modes[i].writethrough;
            return true;
        }
    }
    return error_set(error, "--cache=%s: none, writeback, writethrough, directsync or unsafe",
                     name);
}

static bool open_image(Tool *t, bool *writethrough, GError **error)
{
    const NbdToolOptions *o = &t->options;
    BlockOpenMode mode = { .writable = !o->readonly, .discard = o->discard };
    if (!set_cache(t, &mode, writethrough, error)) {
        return false;
    }
    g_autoptr(Opts) options = o->image_opts ? opts_parse(o->filename, NULL, error) : opts_new();
    if (!options) {
        return false;
    }
    if (o->aio) {
        opts_set(options, "aio", o->aio);
    }
    if (o->detect_zeroes) {
        opts_set(options, "detect-zeroes", o->detect_zeroes);
    }
    if (o->has_offset) {
        g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, o->offset);
        opts_set(options, "offset", text);
    }
    t->node =
        block_image_open(o->image_opts ? NULL : o->filename, o->format, options, &mode, error);
    if (!t->node) {
        g_prefix_error(error, "Failed to open '%s': ", o->filename);
        return false;
    }
    return opts_check_unused(options, "image options", NULL, error);
}

/* ---- Listening ---- */

/* A socket that the service manager passed, or -1. */
static int passed_socket(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    uint64_t n;
    if (!pid || !count || !parse_uint(pid, G_MAXINT, &n) || (pid_t)n != getpid() ||
        !parse_uint(count, 1, &n) || n != 1) {
        return -1;
    }
    fcntl(FIRST_PASSED_FD, F_SETFD, FD_CLOEXEC);
    fcntl(FIRST_PASSED_FD, F_SETFL, fcntl(FIRST_PASSED_FD, F_GETFL) | O_NONBLOCK);
    return FIRST_PASSED_FD;
}

static bool start_listening(Tool *t, GError **error)
{
    const NbdToolOptions *o = &t->options;
    int fd = passed_socket();
    if (fd >= 0) {
        if (o->socket || o->bind || o->port) {
            return error_set(error, "a socket was passed: -k, -b and -p cannot be used");
        }
        nbd_server_listen_fd(t->server, fd);
        return true;
    }
    g_autoptr(Opts) options = opts_new();
    if (o->socket) {
        opts_set(options, "path", o->socket);
    } else {
        opts_set(options, "host", o->bind ? o->bind : "0.0.0.0");
        opts_set(options, "port", o->port ? o->port : NBD_DEFAULT_PORT);
    }
    if (!char_address_parse(&t->address, options, error) ||
        !nbd_server_listen(t->server, &t->address, error)) {
        return false;
    }
    if (o->verbose) {
        g_autofree char *text = char_address_configured(&t->address);
        report_info("NBD server listens on %s", text);
    }
    return true;
}

/* ---- Background, pid file ---- */

static bool go_background(Tool *t, GError **error)
{
    int fds[2];
    t->tell_fd = -1;
    if (!t->options.fork) {
        return true;
    }
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return error_set_errno(error, errno, "--fork: pipe");
    }
    pid_t pid = fork();
    if (pid < 0) {
        return error_set_errno(error, errno, "--fork");
    }
    if (pid > 0) {
        char status = EXIT_FAILURE;
        close(fds[1]);
        while (read(fds[0], &status, 1) < 0 && errno == EINTR) {
        }
        _exit(status);
    }
    close(fds[0]);
    setsid();
    t->tell_fd = fds[1];
    return true;
}

static void tell_parent(Tool *t)
{
    char ok = EXIT_SUCCESS;
    if (t->tell_fd < 0) {
        return;
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; null >= 0 && i <= STDERR_FILENO; i++) {
        dup2(null, i);
    }
    if (write(t->tell_fd, &ok, 1) < 0) {
        report_warning("--fork: the parent process is gone");
    }
    close(t->tell_fd);
}

static bool write_pid(const Tool *t, GError **error)
{
    const char *path = t->options.pid_file;
    if (!path) {
        return true;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) {
        return error_set_errno(error, errno, "--pid-file: cannot create '%s'", path);
    }
    g_autofree char *text = g_strdup_printf("%d\n", getpid());
    bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ||
              error_set_errno(error, errno, "--pid-file: cannot write '%s'", path);
    close(fd);
    return ok;
}

/* ---- Life ---- */

static void signal_arrived(void *opaque, unsigned revents)
{
    Tool *t = opaque;
    struct signalfd_siginfo info;
    while (read(t->signals.fd, &info, sizeof(info)) == sizeof(info)) {
        g_main_loop_quit(t->loop);
    }
}

static void server_idle(void *opaque)
{
    Tool *t = opaque;
    if (!t->options.persistent) {
        g_main_loop_quit(t->loop);
    }
}

/* Before any thread exists, so that all inherit the mask. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
    sigprocmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

static bool watch_signals(Tool *t, const sigset_t *set, GError **error)
{
    int fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) {
        return error_set_errno(error, errno, "cannot watch for signals");
    }
    fd_watch_start(&t->signals, event_loop_main(), fd, POLLIN, signal_arrived, t);
    return true;
}

static bool start_server(Tool *t, GError **error)
{
    const NbdToolOptions *o = &t->options;
    NbdServerEvents events = { .idle = server_idle, .opaque = t };
    bool writethrough = false;
    if (!open_image(t, &writethrough, error)) {
        return false;
    }
    t->server = nbd_server_new((unsigned)o->shared, &events, error);
    if (!t->server) {
        return false;
    }
    BlockBitmap *bitmap = o->bitmap ? nbd_find_bitmap(t->node, o->bitmap, error) : NULL;
    if (o->bitmap && !bitmap) {
        return false;
    }
    NbdExportOptions e = { .name = o->export_name ? o->export_name : "",
                           .description = o->description,
                           .node = block_node_name(t->node),
                           .writable = !o->readonly,
                           .writethrough = writethrough,
                           .allocation_depth = o->allocation_depth,
                           .bitmaps = &bitmap,
                           .bitmap_count = bitmap != NULL };
    return nbd_export_add(t->server, &e, error) && start_listening(t, error) && write_pid(t, error);
}

static bool serve(Tool *t, GError **error)
{
    sigset_t set;
    if (!go_background(t, error)) {
        return false;
    }
    block_signals(&set);
    t->loop = g_main_loop_new(NULL, FALSE);
    event_loop_main();
    bool ok = watch_signals(t, &set, error) && start_server(t, error);
    if (ok) {
        tell_parent(t);
        g_main_loop_run(t->loop);
    }
    if (t->server) {
        nbd_server_free(t->server);
    }
    char_address_clear(&t->address);
    if (t->node) {
        block_node_unref(t->node);
    }
    block_close_all();
    if (ok && t->options.pid_file) {
        unlink(t->options.pid_file);
    }
    fd_watch_stop(&t->signals);
    g_main_loop_unref(t->loop);
    return ok;
}

int nbd_tool_main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    Tool tool = { 0 };
    bool ok = nbd_tool_parse(&tool.options, argc, argv, &error);
    if (ok && !tool.options.help_shown) {
        ok = tool.options.list ? nbd_tool_list(&tool.options, &error) : serve(&tool, &error);
    }
    if (!ok) {
        fprintf(stderr, "%s: %s\n", argv[0], error->message);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
