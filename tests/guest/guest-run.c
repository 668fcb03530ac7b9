/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a VMM with a bare-metal guest: processes, pipes and a small QMP client. */
#include "guest-run.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a guest may say nothing before the test is given up: liveness, not speed. */
#define PATIENCE_MS 60000

struct GuestRun {
    GPtrArray *argv;
    char *dir;
    GString *output;
    GPid pid;
    int out_fd;
    bool ended, want_qmp;
    int status;
    int qmp_fd;
    GString *qmp_in;
    GQueue events; /* lines of events not yet asked for */
    char *errors;
};

static const char *vmm_path(void)
{
    const char *path = g_getenv("VIREO");

    return path != NULL ? path : "vireo";
}

static char *guest_image(const char *kind)
{
    const char *dir = g_getenv("GUESTS");

    return g_strdup_printf("%s/guest.%s", dir != NULL ? dir : ".", kind);
}

bool guest_run_is_qemu(void)
{
    return strstr(vmm_path(), "qemu") != NULL;
}

static void skip_without_kvm(void)
{
    g_test_skip("/dev/kvm cannot be opened");
}

void guest_test_add(const char *path, void (*run)(void))
{
    g_autofree char *program = g_find_program_in_path(vmm_path());

    if (program == NULL) {
        g_error("no VMM at '%s': build it, or name one in VIREO", vmm_path());
    }
    g_test_add_func(path, access("/dev/kvm", R_OK | W_OK) == 0 ? run : skip_without_kvm);
}

static void add(GuestRun *run, const char *word)
{
    g_ptr_array_add(run->argv, g_strdup(word));
}

void guest_run_args(GuestRun *run, const char *format, ...)
{
    g_autofree char *line = NULL;
    g_auto(GStrv) words = NULL;
    va_list ap;

    va_start(ap, format);
    line = g_strdup_vprintf(format, ap);
    va_end(ap);
    words = g_strsplit(line, " ", -1);
    for (guint i = 0; words[i] != NULL; i++) {
        if (words[i][0] != 0) {
            add(run, words[i]);
        }
    }
}

GuestRun *guest_run_new(const char *machine)
{
    GuestRun *run = g_new0(GuestRun, 1);

    run->argv = g_ptr_array_new_with_free_func(g_free);
    run->output = g_string_new(NULL);
    run->qmp_in = g_string_new(NULL);
    run->qmp_fd = run->out_fd = -1;
    g_queue_init(&run->events);
    run->dir = g_dir_make_tmp("vireo-guest.XXXXXX", NULL);
    g_assert_nonnull(run->dir);
    add(run, vmm_path());
    guest_run_args(run, "-accel kvm -machine %s -m 256M -nodefaults -display none",
                   machine != NULL ? machine : "q35");
    guest_run_args(run, "-chardev stdio,id=out,signal=off -device "
                        "isa-debugcon,iobase=0xe9,chardev=out -device "
                        "isa-debug-exit,iobase=0x501,iosize=4");
    return run;
}

void guest_run_boot(GuestRun *run, const char *kind, const char *cmdline)
{
    g_autofree char *image = guest_image(kind);

    add(run, strcmp(kind, "rom") == 0 ? "-bios" : "-kernel");
    add(run, image);
    if (cmdline != NULL) {
        add(run, "-append");
        add(run, cmdline);
    }
}

const char *guest_run_disk(GuestRun *run, const char *name, gsize bytes)
{
    g_autofree char *path = g_build_filename(run->dir, name, NULL);
    g_autofree guint32 *data = g_malloc(bytes);
    g_autoptr(GRand) noise = g_rand_new_with_seed(g_str_hash(name));
    GError *error = NULL;

    for (gsize i = 0; i < bytes / 4; i++) {
        data[i] = g_rand_int(noise);
    }
    g_file_set_contents(path, (char *)data, (gssize)bytes, &error);
    g_assert_no_error(error);
    return g_intern_string(path);
}

const char *guest_run_path(GuestRun *run, const char *name)
{
    g_autofree char *path = g_build_filename(run->dir, name, NULL);

    return g_intern_string(path);
}

void guest_run_qmp(GuestRun *run)
{
    run->want_qmp = true;
    guest_run_args(run, "-S -qmp unix:%s/qmp,server=on,wait=off", run->dir);
}

/* The client is there before the guest's first instruction: no event is missed. */
static void qmp_connect(GuestRun *run)
{
    g_autofree char *path = g_build_filename(run->dir, "qmp", NULL);

    run->qmp_fd = guest_run_connect(path);
    g_free(guest_run_command(run, "qmp_capabilities"));
    g_free(guest_run_command(run, "cont"));
}

/* The VMM ends with a test that is aborted. */
static void child_setup(gpointer data)
{
    g_autofree char *path = g_build_filename(data, "stderr", NULL);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fd >= 0) {
        dup2(fd, STDERR_FILENO);
    }
}

void guest_run_start(GuestRun *run)
{
    g_autofree char *line = NULL;
    GError *error = NULL;

    g_ptr_array_add(run->argv, NULL);
    line = g_strjoinv(" ", (char **)run->argv->pdata);
    g_test_message("%s", line);
    g_spawn_async_with_pipes(NULL, (char **)run->argv->pdata, NULL,
                             G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_SEARCH_PATH, child_setup, run->dir,
                             &run->pid, NULL, &run->out_fd, NULL, &error);
    g_assert_no_error(error);
    if (run->want_qmp) {
        qmp_connect(run);
    }
}

/* Reads what is there; false at the end or when nothing came in time. */
static bool read_within(int fd, GString *into, int ms)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    char buf[4096];
    ssize_t n;

    if (poll(&pfd, 1, ms) != 1) {
        return false;
    }
    n = read(fd, buf, sizeof(buf));
    if (n <= 0) {
        return false;
    }
    g_string_append_len(into, buf, n);
    return true;
}

static bool read_more(int fd, GString *into)
{
    return read_within(fd, into, PATIENCE_MS);
}

void guest_run_poll(GuestRun *run, int ms)
{
    read_within(run->out_fd, run->output, ms);
}

void guest_run_expect(GuestRun *run, const char *text)
{
    while (strstr(run->output->str, text) == NULL) {
        if (!read_more(run->out_fd, run->output)) {
            g_test_message("standard error: %s", guest_run_errors(run));
            g_error("no '%s' from the guest, only: %s", text, run->output->str);
        }
    }
}

int guest_run_wait(GuestRun *run)
{
    int status;

    if (run->ended) {
        return run->status;
    }
    while (read_more(run->out_fd, run->output)) {
    }
    for (guint i = 0; waitpid(run->pid, &status, WNOHANG) == 0; i++) {
        if (i > PATIENCE_MS / 10) {
            g_error("the VMM does not end; the guest printed: %s", run->output->str);
        }
        g_usleep(10000);
    }
    run->ended = true;
    run->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return run->status;
}

const char *guest_run_output(GuestRun *run)
{
    return run->output->str;
}

const char *guest_run_errors(GuestRun *run)
{
    g_autofree char *path = g_build_filename(run->dir, "stderr", NULL);

    g_clear_pointer(&run->errors, g_free);
    if (!g_file_get_contents(path, &run->errors, NULL, NULL)) {
        run->errors = g_strdup("");
    }
    return run->errors;
}

const char *guest_run_pass(GuestRun *run)
{
    int status;

    guest_run_start(run);
    status = guest_run_wait(run);
    if (status != 1 || strstr(run->output->str, "PASS") == NULL) {
        g_test_message("standard error: %s", guest_run_errors(run));
        g_error("exit status %d, the guest printed: %s", status, run->output->str);
    }
    return run->output->str;
}

/* -- QMP -- */

int guest_run_connect(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    for (guint i = 0; connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0; i++) {
        if (i > PATIENCE_MS / 10) {
            g_error("nobody listens at %s: %s", path, g_strerror(errno));
        }
        g_usleep(10000);
    }
    return fd;
}

void guest_run_signal(GuestRun *run, int sig)
{
    g_assert_cmpint(kill(run->pid, sig), ==, 0);
}

static char *qmp_line(GuestRun *run)
{
    char *end;

    while ((end = strchr(run->qmp_in->str, '\n')) == NULL) {
        if (!read_more(run->qmp_fd, run->qmp_in)) {
            g_error("QMP is silent; the guest printed: %s", run->output->str);
        }
    }
    {
        gsize n = (gsize)(end - run->qmp_in->str);
        char *line = g_strndup(run->qmp_in->str, n);

        g_string_erase(run->qmp_in, 0, (gssize)n + 1);
        return line;
    }
}

char *guest_run_command(GuestRun *run, const char *command)
{
    g_autofree char *text = command[0] == '{' ? g_strdup_printf("%s\n", command)
                                              : g_strdup_printf("{\"execute\":\"%s\"}\n", command);

    g_assert_cmpint(send(run->qmp_fd, text, strlen(text), MSG_NOSIGNAL), ==, (gssize)strlen(text));
    for (;;) {
        char *line = qmp_line(run);

        if (strstr(line, "\"return\"") != NULL || strstr(line, "\"error\":") != NULL) {
            return line;
        }
        if (strstr(line, "\"event\"") != NULL) {
            g_queue_push_tail(&run->events, line);
        } else {
            g_free(line);
        }
    }
}

char *guest_run_event(GuestRun *run, const char *event)
{
    g_autofree char *quoted = g_strdup_printf("\"%s\"", event);

    for (GList *l = run->events.head; l != NULL; l = l->next) {
        if (strstr(l->data, quoted) != NULL) {
            char *line = l->data;

            g_queue_delete_link(&run->events, l);
            return line;
        }
    }
    for (;;) {
        char *line = qmp_line(run);

        if (strstr(line, "\"event\"") != NULL && strstr(line, quoted) != NULL) {
            return line;
        }
        g_queue_push_tail(&run->events, line);
    }
}

static void remove_dir(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        g_unlink(file);
    }
    if (dir != NULL) {
        g_dir_close(dir);
    }
    g_rmdir(path);
}

void guest_run_free(GuestRun *run)
{
    if (run->pid != 0 && !run->ended) {
        kill(run->pid, SIGKILL);
        waitpid(run->pid, NULL, 0);
    }
    if (run->out_fd >= 0) {
        close(run->out_fd);
    }
    if (run->qmp_fd >= 0) {
        close(run->qmp_fd);
    }
    remove_dir(run->dir);
    g_queue_clear_full(&run->events, g_free);
    g_string_free(run->output, TRUE);
    g_string_free(run->qmp_in, TRUE);
    g_ptr_array_free(run->argv, TRUE);
    g_free(run->errors);
    g_free(run->dir);
    g_free(run);
}
