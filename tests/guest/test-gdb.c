/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The GDB stub with a guest on vCPUs: real gdb in batch mode, and a client of our own for what gdb
 * would not do. */
#include "guest-run.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define GDB_SETUP "set pagination off\nset confirm off\nset style enabled off\ntarget remote %s\n"

/* A stopped machine with the guest that counts, and the stub on a socket. */
static GuestRun *debug_run(unsigned cpus)
{
    GuestRun *run = guest_run_new(NULL);
    g_autofree char *cmdline = g_strdup_printf("test=debug cpus=%u", cpus);

    guest_run_qmp(run);
    guest_run_args(run, "-smp %u -gdb unix:%s,server=on", cpus, guest_run_path(run, "gdb"));
    guest_run_boot(run, "pvh", cmdline);
    return run;
}

static char *gdb_script(GuestRun *run, const char *script)
{
    g_autofree char *setup = g_strdup_printf(GDB_SETUP, guest_run_path(run, "gdb"));
    g_autofree char *text = g_strconcat(setup, script, NULL);
    char *path = g_strdup(guest_run_path(run, "script"));
    GError *error = NULL;

    g_file_set_contents(path, text, -1, &error);
    g_assert_no_error(error);
    return path;
}

/* What monitor commands print comes on standard error. */
static void both_to_one(gpointer data)
{
    dup2(STDOUT_FILENO, STDERR_FILENO);
}

static GPid gdb_begin(GuestRun *run, const char *script, int *out)
{
    g_autofree char *path = gdb_script(run, script);
    g_autofree char *image = g_strdup_printf("%s/guest.pvh", g_getenv("GUESTS"));
    const char *argv[] = { "gdb", "-nx", "-batch", "-x", path, image, NULL };
    GError *error = NULL;
    GPid pid;

    g_spawn_async_with_pipes(NULL, (char **)argv, NULL,
                             G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, both_to_one, NULL,
                             &pid, NULL, out, NULL, &error);
    g_assert_no_error(error);
    return pid;
}

/* Reads gdb's output until it ends, or until `mark` is in it. */
static void gdb_read(int fd, GString *text, const char *mark)
{
    char buf[4096];
    ssize_t n;

    while ((!mark || !strstr(text->str, mark)) && (n = read(fd, buf, sizeof(buf))) > 0) {
        g_string_append_len(text, buf, n);
    }
}

/* What gdb prints when it runs the script. */
static char *gdb_run(GuestRun *run, const char *script)
{
    GString *text = g_string_new(NULL);
    int out;
    GPid pid = gdb_begin(run, script, &out);

    gdb_read(out, text, NULL);
    close(out);
    g_spawn_close_pid(pid);
    g_test_message("gdb: %s", text->str);
    return g_string_free(text, FALSE);
}

static bool have_gdb(void)
{
    g_autofree char *gdb = g_find_program_in_path("gdb");

    if (!gdb) {
        g_test_skip("gdb is not installed");
    }
    return gdb != NULL;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        g_error("no '%s' in: %s", part, text);
    }
}

static void assert_status(GuestRun *run, const char *state)
{
    g_autofree char *status = guest_run_command(run, "query-status");
    g_autofree char *quoted = g_strdup_printf("\"%s\"", state);

    assert_has(status, quoted);
}

/* ---- With gdb ---- */

static void breaks_with(const char *kind)
{
    g_autoptr(GuestRun) run = debug_run(1);
    g_autofree char *script = g_strdup_printf(
        "%s debug_step if $rdi %% 4 == 0\n"
        "continue\n"
        "printf \"AT %%d %%d\\n\", $rip == &debug_step, $rdi - *(unsigned long *)&debug_count\n"
        "stepi\n"
        "printf \"STEP %%d\\n\", $rip - (long)&debug_step\n"
        "x/1xb &debug_step\n"
        "stepi\n"
        "info symbol $rip\n"
        "delete\n"
        "set var $r15 = 0x123456789abcdef0\n"
        "printf \"R15 %%#lx\\n\", $r15\n"
        "set var *(unsigned long *)&debug_done = 7\n"
        "printf \"CR0 %%d EFER %%#lx\\n\", $cr0 & 1, $efer\n"
        "monitor info status\n"
        "detach\n",
        kind);

    if (!have_gdb()) {
        return;
    }
    guest_run_start(run);
    g_autofree char *text = gdb_run(run, script);
    assert_has(text, "AT 1 1");
    assert_has(text, "STEP 7"); /* the store's length */
    assert_has(text, "<debug_step>:\t0x48");
    assert_has(text, "test_debug + ");
    assert_has(text, "R15 0x123456789abcdef0");
    assert_has(text, "CR0 1 EFER 0x500");
    assert_has(text, "VM status: paused (debug)");
    g_assert_cmpint(guest_run_wait(run), ==, 1);
    assert_has(guest_run_output(run), "debug done 7");
}

static void test_hardware_break(void)
{
    breaks_with("hbreak");
}

static void test_software_break(void)
{
    breaks_with("break");
}

static void test_two_cpus(void)
{
    g_autoptr(GuestRun) run = debug_run(2);

    if (!have_gdb()) {
        return;
    }
    guest_run_start(run);
    g_autofree char *text = gdb_run(run, "hbreak debug_other_step\n"
                                         "continue\n"
                                         "info threads\n"
                                         "thread\n"
                                         "delete\n"
                                         "thread 1\n"
                                         "set scheduler-locking on\n"
                                         "set var $other = *(unsigned long *)&debug_other\n"
                                         "hbreak debug_step\n"
                                         "continue\n"
                                         "continue\n"
                                         "printf \"OTHER %d\\n\", "
                                         "*(unsigned long *)&debug_other - $other\n"
                                         "delete\n"
                                         "set scheduler-locking off\n"
                                         "break debug_other_step\n"
                                         "continue\n"
                                         "printf \"MOVED %d\\n\", "
                                         "*(unsigned long *)&debug_other - $other\n"
                                         "delete\n"
                                         "set var *(unsigned long *)&debug_done = 2\n"
                                         "detach\n");
    assert_has(text, "Thread 1.1 (CPU#0)");
    assert_has(text, "Thread 1.2 (CPU#1)");
    assert_has(text, "[Current thread is 2 (Thread 1.2)]");
    assert_has(text, "OTHER 0"); /* it was held while the first went on */
    assert_has(text, "MOVED 1");
    g_assert_cmpint(guest_run_wait(run), ==, 1);
}

static void wait_until_running(GuestRun *run)
{
    g_autofree char *reply = NULL;
    do {
        g_free(reply);
        g_usleep(20000);
        reply = guest_run_command(run, "query-status");
    } while (!strstr(reply, "\"running\": true") && !strstr(reply, "\"running\":true"));
}

static void test_ctrl_c(void)
{
    g_autoptr(GuestRun) run = debug_run(1);
    g_autoptr(GString) text = g_string_new(NULL);
    int out;

    if (!have_gdb()) {
        return;
    }
    guest_run_start(run);
    GPid pid = gdb_begin(run,
                         "echo GOES\\n\n"
                         "continue\n"
                         "set var *(unsigned long *)&debug_done = 5\n"
                         "echo STOPPED\\n\n"
                         "detach\n",
                         &out);
    gdb_read(out, text, "GOES");
    guest_run_expect(run, "debug ready\n");
    wait_until_running(run); /* gdb has said so: only now does it pass a signal on */
    g_assert_cmpint(kill(pid, SIGINT), ==, 0);
    gdb_read(out, text, NULL);
    close(out);
    g_spawn_close_pid(pid);
    assert_has(text->str, "Program received signal SIGINT");
    assert_has(text->str, "STOPPED");
    g_assert_cmpint(guest_run_wait(run), ==, 1);
}

static void test_kill(void)
{
    g_autoptr(GuestRun) run = debug_run(1);

    if (!have_gdb()) {
        return;
    }
    guest_run_start(run);
    g_free(gdb_run(run, "hbreak debug_step\ncontinue\nkill\n"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
}

/* ---- With a client of our own ---- */

static int rsp_connect(GuestRun *run)
{
    struct timeval patience = { .tv_sec = 60 };
    int fd = guest_run_connect(guest_run_path(run, "gdb"));

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static void rsp_raw(int fd, const char *bytes, size_t len)
{
    g_assert_cmpint(send(fd, bytes, len, MSG_NOSIGNAL), ==, (gssize)len);
}

static void rsp_send(int fd, const char *data)
{
    guint8 sum = 0;

    for (const char *p = data; *p; p++) {
        sum += (guint8)*p;
    }
    g_autofree char *packet = g_strdup_printf("$%s#%02x", data, sum);
    rsp_raw(fd, packet, strlen(packet));
}

static char rsp_byte(int fd)
{
    char c;

    if (read(fd, &c, 1) != 1) {
        g_error("the stub says nothing");
    }
    return c;
}

/* The next packet's data; acknowledgements before it are skipped. */
static char *rsp_reply(int fd)
{
    GString *data = g_string_new(NULL);
    char c;

    while (rsp_byte(fd) != '$') {
    }
    while ((c = rsp_byte(fd)) != '#') {
        g_string_append_c(data, c);
    }
    rsp_byte(fd);
    rsp_byte(fd);
    return g_string_free(data, FALSE);
}

static void rsp_expect(int fd, const char *packet, const char *answer)
{
    if (packet) {
        rsp_send(fd, packet);
    }
    g_autofree char *got = rsp_reply(fd);
    if (strncmp(got, answer, strlen(answer)) != 0) {
        g_error("%s was answered by '%s', not '%s'", packet ? packet : "(nothing)", got, answer);
    }
}

static void rsp_expect_end(int fd)
{
    char c;

    while (read(fd, &c, 1) == 1) {
        g_assert_cmpint(c, ==, '+');
    }
}

/* The address of a symbol of the guest, by nm. */
static guint64 address_of(const char *symbol)
{
    g_autofree char *command = g_strdup_printf("nm %s/guest.pvh", g_getenv("GUESTS"));
    g_autofree char *pattern = g_strdup_printf("([0-9a-f]+) [A-Za-z] %s\n", symbol);
    g_autofree char *text = NULL;
    g_autoptr(GRegex) regex = g_regex_new(pattern, 0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    GError *error = NULL;

    g_spawn_command_line_sync(command, &text, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(g_regex_match(regex, text, 0, &match));
    g_autofree char *number = g_match_info_fetch(match, 1);
    return g_ascii_strtoull(number, NULL, 16);
}

static void end_guest(GuestRun *run, int fd)
{
    g_autofree char *done =
        g_strdup_printf("M%" G_GINT64_MODIFIER "x,1:01", address_of("debug_done"));

    rsp_expect(fd, done, "OK");
    rsp_expect(fd, "D", "OK");
    g_assert_cmpint(guest_run_wait(run), ==, 1);
    close(fd);
}

static void test_monitor_and_gdb_agree(void)
{
    g_autoptr(GuestRun) run = debug_run(1);
    g_autofree char *set =
        g_strdup_printf("Z1,%" G_GINT64_MODIFIER "x,1", address_of("debug_step"));
    g_autofree char *unset =
        g_strdup_printf("z1,%" G_GINT64_MODIFIER "x,1", address_of("debug_step"));

    guest_run_start(run);
    guest_run_expect(run, "debug ready\n");
    int fd = rsp_connect(run);
    g_free(guest_run_event(run, "STOP")); /* who connects stops the machine */
    assert_status(run, "paused");
    rsp_expect(fd, "?", "T05thread:1;");
    rsp_send(fd, "c");
    g_free(guest_run_event(run, "RESUME"));
    g_free(guest_run_command(run, "stop"));
    rsp_expect(fd, NULL, "T02thread:1;");
    rsp_expect(fd, set, "OK");
    rsp_send(fd, "vCont;c");
    rsp_expect(fd, NULL, "T05thread:1;");
    assert_status(run, "debug");
    rsp_expect(fd, unset, "OK");
    rsp_expect(fd, "vCont;s:1", "T05thread:1;");
    rsp_expect(fd, "vCont;t", "T00thread:1;");
    g_free(guest_run_command(run, "cont"));
    assert_status(run, "running");
    rsp_expect(fd, "qC", "QC1"); /* it may ask, and stops the machine for it */
    assert_status(run, "paused");
    end_guest(run, fd);
}

static void test_end_is_told(void)
{
    g_autoptr(GuestRun) run = debug_run(1);

    guest_run_start(run);
    int fd = rsp_connect(run);
    rsp_send(fd, "c");
    g_free(guest_run_event(run, "RESUME"));
    g_free(guest_run_command(run, "quit"));
    rsp_expect(fd, NULL, "W00");
    g_assert_cmpint(guest_run_wait(run), ==, 0);
    close(fd);
}

/* Who goes away in the middle leaves nothing behind: no int3 stops the guest, the next is served.
 */
static void test_disconnect(void)
{
    g_autoptr(GuestRun) run = debug_run(1);
    guint64 step = address_of("debug_step");
    g_autofree char *point = g_strdup_printf("Z0,%" G_GINT64_MODIFIER "x,1", step);
    g_autofree char *where = g_strdup_printf("m%" G_GINT64_MODIFIER "x,1", step);

    guest_run_start(run);
    guest_run_expect(run, "debug ready\n");
    for (int i = 0; i < 3; i++) {
        int fd = rsp_connect(run);
        rsp_expect(fd, point, "OK");
        rsp_expect(fd, "c", "T05");
        rsp_expect(fd, "qThreadExtraInfo,1", "4350552330");
        rsp_send(fd, "vCont;s:1;c");
        rsp_raw(fd, "$m10", 4);
        close(fd);
    }
    int fd = rsp_connect(run);
    rsp_expect(fd, where, "48");
    rsp_send(fd, "c");
    rsp_raw(fd, "\003", 1);
    rsp_expect(fd, NULL, "T02");
    end_guest(run, fd);
}

static void test_hostile_client(void)
{
    g_autoptr(GuestRun) run = debug_run(1);
    g_autofree char *noise = g_malloc(200000);

    guest_run_start(run);
    int fd = rsp_connect(run);
    int second = rsp_connect(run); /* waits in the queue: one client at a time */
    rsp_raw(fd, "+++-\001\002)))#00#zz$#0x", 19);
    rsp_expect(fd, "qC", "QC1");
    memset(noise, 'A', 200000);
    noise[0] = '$';
    rsp_raw(fd, noise, 200000);
    rsp_raw(fd, "$m0,1#fa", 8); /* a packet that was cut off is followed by a good one */
    g_free(rsp_reply(fd));
    rsp_expect(fd, "m0,ffffffffffffffff", "");
    rsp_expect(fd, "mffffffffffffffff,8", "E0e");
    rsp_expect(fd, "M0,ffffffffffffffff:00", "E16");
    rsp_expect(fd, "X0,5:ab", "E16");
    rsp_expect(fd, "p7fffffff", "E16");
    rsp_expect(fd, "P0=12", "E16");
    rsp_expect(fd, "G00", "E16");
    rsp_expect(fd, "Hgffffffffffffffffff", "E16");
    rsp_expect(fd, "T9", "E16");
    rsp_expect(fd, "Z2,1000,100", "E16");
    rsp_expect(fd, "Z2,1000,20", "OK");
    rsp_expect(fd, "Z2,2000,1", "E1c"); /* four debug registers */
    rsp_expect(fd, "Z0,ffffffff00000000,1", "E0e");
    rsp_expect(fd, "vCont;q", "E16");
    rsp_expect(fd, "vCont;c:9", "E16");
    rsp_expect(fd, "qXfer:features:read:target.xml:ffffffff,10", "E16");
    rsp_expect(fd, "qRcmd,6", "E16");
    rsp_expect(fd, "qRcmd,67646273657276657220", "O"); /* "gdbserver ": itself it cannot replace */
    rsp_expect(fd, NULL, "OK");
    close(fd);
    rsp_expect(second, "qC", "QC1");
    assert_status(run, "paused");
    close(second);
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
}

static void test_gdbserver_command(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    g_autofree char *start = NULL;

    guest_run_qmp(run);
    guest_run_boot(run, "pvh", "test=debug");
    guest_run_start(run);
    start =
        g_strdup_printf("{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":"
                        "\"gdbserver unix:%s,server=on\"}}",
                        guest_run_path(run, "gdb"));
    for (int i = 0; i < 2; i++) {
        g_autofree char *said = guest_run_command(run, start);
        assert_has(said, "gdb is served on unix:");
        int fd = rsp_connect(run);
        rsp_expect(fd, "qC", "QC1");
        g_autofree char *none = guest_run_command(
            run, "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":"
                 "\"gdbserver none\"}}");
        assert_has(none, "not served any more");
        rsp_expect_end(fd);
        close(fd);
    }
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_test_add("/gdb/hardware-breakpoint", test_hardware_break);
    guest_test_add("/gdb/software-breakpoint", test_software_break);
    guest_test_add("/gdb/two-cpus", test_two_cpus);
    guest_test_add("/gdb/ctrl-c", test_ctrl_c);
    guest_test_add("/gdb/kill", test_kill);
    guest_test_add("/gdb/monitor-and-gdb-agree", test_monitor_and_gdb_agree);
    guest_test_add("/gdb/end-is-told", test_end_is_told);
    guest_test_add("/gdb/disconnect", test_disconnect);
    guest_test_add("/gdb/hostile-client", test_hostile_client);
    guest_test_add("/gdb/gdbserver-command", test_gdbserver_command);
    return g_test_run();
}
