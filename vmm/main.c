/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entry: command line -> machine -> run loop -> orderly end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "block/block.h"
#include "hw/devices.h"
#include "vmm/chardev/chardev.h"
#include "vmm/cli/cli.h"
#include "vmm/cli/friendly.h"
#include "vmm/cli/params.h"
#include "vmm/client/client.h"
#include "vmm/event/loop.h"
#include "vmm/commands.h"
#include "vmm/log.h"
#include "vmm/memory/rcu.h"
#include "vmm/sandbox/teardown.h"
#include "vmm/start.h"
#include "vmm/trace/trace.h"

static FdWatch signal_watch;
static int null_fd = -1; /* for -daemonize: /dev/null, which another root directory may not have */
static char *pidfile_path;
static int pidfile_fd; /* of pidfile_path */

/* ---- Signals: Ctrl-C, TERM and HUP end the machine in order ---- */

static void signal_arrived(void *opaque, unsigned revents)
{
    struct signalfd_siginfo info;
    while (read(signal_watch.fd, &info, sizeof(info)) == sizeof(info)) {
        report_info("ends: signal %u from process %u", info.ssi_signo, info.ssi_pid);
        machine_request_shutdown(opaque, SHUTDOWN_CAUSE_HOST_SIGNAL);
    }
}

static void ending_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

/* Before any thread exists, so that all inherit the mask. */
static void signals_block(void)
{
    sigset_t set;
    ending_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit (ulimit -f) is an error of the disk, EFBIG */
}

static bool signals_watch(Machine *machine, GError **error)
{
    sigset_t set;
    ending_signals(&set);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) {
        return error_set_errno(error, errno, "cannot watch for signals");
    }
    fd_watch_start(&signal_watch, event_loop_main(), fd, POLLIN, signal_arrived, machine);
    return true;
}

/* ---- Background and pid file ---- */

/* The child goes on; the parent waits for its word and leaves with its status. Returns the fd to
 * tell it by, -1 on error. */
static int daemonize_begin(GError **error)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        error_set_errno(error, errno, "-daemonize: pipe");
        return -1;
    }
    pid_t pid = fork();
    if (pid < 0) {
        error_set_errno(error, errno, "-daemonize: fork");
        return -1;
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
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return fds[1];
}

static void daemonize_done(int fd)
{
    char ok = EXIT_SUCCESS;
    if (chdir("/") < 0 || null_fd < 0) {
        report_warning("-daemonize: %s", g_strerror(errno));
    }
    for (int i = 0; null_fd >= 0 && i <= STDERR_FILENO; i++) {
        dup2(i == STDERR_FILENO && log_fd() >= 0 ? log_fd() : null_fd, i);
    }
    if (write(fd, &ok, 1) != 1) {
        report_warning("-daemonize: the parent process is gone");
    }
    close(fd);
}

/* Refuses to follow a symbolic link; a file that another process has locked belongs to a running
 * machine. */
static bool pidfile_write(const char *path, GError **error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) {
        return error_set_errno(error, errno, "-pidfile: cannot create '%s'", path);
    }
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    if (fcntl(fd, F_SETLK, &lock) < 0) {
        close(fd);
        return error_set(error, "-pidfile: '%s' belongs to a running process", path);
    }
    g_autofree char *text = g_strdup_printf("%d\n", getpid());
    if (ftruncate(fd, 0) < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        close(fd);
        return error_set_errno(error, errno, "-pidfile: cannot write '%s'", path);
    }
    pidfile_path =
        realpath(path, NULL); /* -daemonize changes directory; the lock lives as long as fd */
    pidfile_fd = fd;
    return true;
}

/* With another user or root directory the file may be out of reach, or another have its name: then
 * it stays, empty. */
static void pidfile_remove(void)
{
    struct stat ours, there;
    if (!pidfile_path) {
        return;
    }
    bool same = fstat(pidfile_fd, &ours) == 0 && lstat(pidfile_path, &there) == 0 &&
                ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
    if ((!same || unlink(pidfile_path) < 0) && ftruncate(pidfile_fd, 0) < 0) {
        report_warning("-pidfile: '%s' stays: %s", pidfile_path, g_strerror(errno));
    }
    free(pidfile_path);
}

/* ---- Life ---- */

static void quit_from_terminal(void)
{
    machine_request_shutdown(machine_get(), SHUTDOWN_CAUSE_HOST_UI);
}

static int fail(GError *error)
{
    report_error("%s", error->message);
    g_error_free(error);
    return EXIT_FAILURE;
}

/* Files are open and sockets bound; the guest has not run yet. */
static bool confine(const Cli *cli, GError **error)
{
    return privileges_drop(&cli->privileges, error) &&
           (!cli->async_teardown || async_teardown_start(error)) &&
           sandbox_enter(&cli->sandbox, error);
}

static int run_machine(Cli *cli, const RunDir *dir, int tell_fd, GError **error)
{
    Machine *machine = start_machine(cli, error);
    if (!machine) {
        return EXIT_FAILURE;
    }
    friendly_announce(cli, dir);
    int status = EXIT_FAILURE;
    if (signals_watch(machine, error) && confine(cli, error) &&
        (cli->config.start_paused || machine_cont(machine, error))) {
        if (cli->daemonize) {
            daemonize_done(tell_fd);
        }
        status = machine_run(machine);
        fd_watch_stop(&signal_watch);
    }
    start_undo(machine);
    return status;
}

static int run(Cli *cli, GError **error)
{
    static const CharMuxHooks hooks = { .quit = quit_from_terminal };
    RunDir *dir = NULL;
    int tell_fd = cli->daemonize ? daemonize_begin(error) : -1;
    if (cli->daemonize && tell_fd < 0) {
        return EXIT_FAILURE;
    }
    if (cli->log_file && !log_open(cli->log_file, error)) {
        g_prefix_error(error, "-D %s: ", cli->log_file);
        return EXIT_FAILURE;
    }
    if (cli->pidfile && !pidfile_write(cli->pidfile, error)) {
        return EXIT_FAILURE;
    }
    if (cli->process_name) {
        prctl(PR_SET_NAME, cli->process_name);
    }
    signals_block();
    chardev_set_mux_hooks(&hooks);
    int status = friendly_prepare(cli, &dir, error) ? run_machine(cli, dir, tell_fd, error)
                                                    : EXIT_FAILURE;
    rundir_leave(dir);
    return status;
}

int main(int argc, char **argv)
{
    GError *error = NULL;
    Cli cli;
    if (argc > 1 && client_is_command(argv[1])) {
        return client_main(argc - 1, argv + 1);
    }
    device_classes_register(device_classes);
    machine_classes_register(machine_classes);
    monitor_commands_register(all_monitor_commands);
    cli_params_add("drive", drive_options);
    rcu_thread_register();
    int status = EXIT_SUCCESS;
    if (!cli_parse(&cli, argc, argv, &error)) {
        status = fail(error);
    } else if (!cli.help_shown && !start_help(&cli)) {
        status = run(&cli, &error);
        status = error ? fail(error) : status;
    }
    pidfile_remove();
    cli_free(&cli);
    trace_finish();
    return status;
}
