/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encrypted images in a machine: keys are derived while the monitor answers, commands keep their
 * order, wrong passwords are refused by name, and a machine that waits for a key can be ended.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/device/block-kit.h"

#define SECRETS "-object secret,id=right,data=letmein -object secret,id=wrong,data=nonsense "
#define SECRET  "--object secret,id=right,data=letmein "

/* ---- Images ---- */

/* qemu-img gives up where the host is too busy to measure how fast it is: once more, then. */
static void create(BlockStage *s, const char *arguments)
{
    int status = -1;
    for (int i = 0; i < 50 && status != 0; i++) {
        status = block_img(s, NULL, "create -q " SECRET "%s", arguments);
    }
    g_assert_cmpint(status, ==, 0);
}

static void make_luks(BlockStage *s, const char *name)
{
    g_autofree char *arguments =
        g_strdup_printf("-f luks -o key-secret=right,iter-time=10 %s 1M", name);
    create(s, arguments);
}

/* Every slot asks for the most iterations a header may have: minutes of work for a password. */
static void make_slow(BlockStage *s, const char *name)
{
    static const uint8_t active[8] = { 0x00, 0xac, 0x71, 0xf3, 0x10, 0, 0, 0 };
    make_luks(s, name);
    g_autofree char *path = block_path(s, name);
    FILE *file = fopen(path, "r+");
    g_assert_nonnull(file);
    for (int i = 0; i < 8; i++) {
        g_assert_cmpint(fseek(file, 208 + i * 48, SEEK_SET), ==, 0);
        g_assert_cmpuint(fwrite(active, sizeof(active), 1, file), ==, 1);
    }
    fclose(file);
}

/* ---- A second client of QMP ---- */

typedef struct Client {
    int fd;
    FILE *in;
    char *path;
} Client;

static json_object *client_read(Client *c)
{
    char *line = NULL;
    size_t size = 0;
    g_assert_cmpint(getline(&line, &size, c->in), >, 0);
    json_object *value = json_tokener_parse(line);
    g_assert_nonnull(value);
    free(line);
    return value;
}

static void client_send(Client *c, const char *text)
{
    g_assert_cmpint(send(c->fd, text, strlen(text), MSG_NOSIGNAL), ==, (ssize_t)strlen(text));
}

static bool client_has_answer(Client *c)
{
    struct pollfd fd = { .fd = c->fd, .events = POLLIN };
    return poll(&fd, 1, 0) > 0;
}

static QTest *start(BlockStage *s, Client *c)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    c->path = block_path(s, "qmp");
    QTest *qts = qtest_start(SECRETS "-qmp unix:%s,server=on,wait=off", c->path);
    g_strlcpy(addr.sun_path, c->path, sizeof(addr.sun_path));
    c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    c->in = fdopen(dup(c->fd), "r");
    setvbuf(c->in, NULL, _IONBF, 0);
    json_object_put(client_read(c)); /* the greeting */
    client_send(c, "{'execute': 'qmp_capabilities'}");
    json_object_put(client_read(c));
    return qts;
}

static void client_close(Client *c)
{
    fclose(c->in);
    close(c->fd);
    g_free(c->path);
}

static char *add_command(BlockStage *s, const char *node, const char *name, const char *secret)
{
    return g_strdup_printf("{'execute': 'blockdev-add', 'arguments': {'driver': 'luks', "
                           "'node-name': '%s', 'key-secret': '%s', 'file': {'driver': 'file', "
                           "'filename': '%s/%s'}}}",
                           node, secret, s->folder, name);
}

/* ---- Tests ---- */

static void the_monitor_answers_while_a_key_is_derived(void)
{
    BlockStage s;
    Client c;
    if (!block_stage_open(&s)) {
        return;
    }
    make_slow(&s, "slow");
    make_luks(&s, "fine");
    QTest *qts = start(&s, &c);
    g_autofree char *slow = add_command(&s, "slow", "slow", "right");
    client_send(&c, slow);
    client_send(&c, "{'execute': 'query-status', 'id': 'behind'}");
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'query-status'}"));
    g_autofree char *fine = add_command(&s, "fine", "fine", "right");
    json_object_put(qtest_qmp_ok(qts, "%s", fine));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'blockdev-del', 'arguments': "
                                      "{'node-name': 'fine'}}"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'stop'}"));
    json_object *nodes = qtest_qmp_ok(qts, "{'execute': 'query-named-block-nodes'}");
    g_assert_cmpuint(json_object_array_length(nodes), ==, 0);
    json_object_put(nodes);
    while (client_has_answer(&c)) {
        json_object *event = client_read(&c);
        g_assert_nonnull(json_at(event, "event"));
        json_object_put(event);
    }
    client_close(&c); /* nobody waits for the key any more; the machine ends all the same */
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'query-status'}"));
    qtest_stop(qts);
    block_stage_close(&s);
}

static void a_sessions_commands_keep_their_order(void)
{
    BlockStage s;
    Client c;
    if (!block_stage_open(&s)) {
        return;
    }
    make_luks(&s, "a");
    QTest *qts = start(&s, &c);
    g_autofree char *add = add_command(&s, "a", "a", "right");
    g_autofree char *wrong = add_command(&s, "b", "a", "wrong");
    g_autofree char *all = g_strconcat(add, "{'execute': 'query-named-block-nodes'}", wrong,
                                       "{'execute': 'query-status'}", NULL);
    client_send(&c, all);
    json_object *answer = client_read(&c);
    g_assert_nonnull(json_at(answer, "return"));
    json_object_put(answer);
    answer = client_read(&c);
    json_object *nodes = json_at(answer, "return");
    g_assert_cmpuint(json_object_array_length(nodes), ==, 2);
    json_object_put(answer);
    answer = client_read(&c);
    g_assert_nonnull(
        strstr(json_text(answer, "error.desc"), "no key slot opens with the password"));
    json_object_put(answer);
    answer = client_read(&c);
    g_assert_nonnull(json_at(answer, "return.status"));
    json_object_put(answer);
    client_close(&c);
    qtest_stop(qts);
    block_stage_close(&s);
}

/* One command, two keys. */
static void an_encrypted_overlay_opens_with_its_encrypted_base(void)
{
    BlockStage s;
    if (!block_stage_open(&s)) {
        return;
    }
    make_luks(&s, "base");
    create(&s, "-f qcow2 -u -b base -F luks -o encrypt.format=luks,encrypt.key-secret=right,"
               "encrypt.iter-time=10 top 1M");
    QTest *qts = qtest_start(SECRETS);
    static const char *const secrets[] = { "wrong", "right" };
    for (int i = 0; i < 4; i++) {
        json_object *answer = qtest_qmp(
            qts,
            "{'execute': 'blockdev-add', 'arguments': {'driver': 'qcow2', 'node-name': 'n', "
            "'encrypt': {'format': 'luks', 'key-secret': '%s'}, "
            "'file': {'driver': 'file', 'filename': '%s/top'}, 'backing': {'driver': 'luks', "
            "'key-secret': '%s', 'file': {'driver': 'file', 'filename': '%s/base'}}}}",
            secrets[i & 1], s.folder, secrets[i >> 1], s.folder);
        g_assert_true(i == 3 ? json_at(answer, "return") != NULL
                             : json_at(answer, "error.desc") != NULL);
        json_object_put(answer);
    }
    qtest_stop(qts);
    block_stage_close(&s);
}

/* Signals are blocked by then: one that comes is for the machine, not for the process. */
static void wait_until_signals_are_blocked(GPid pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
    for (;;) {
        g_autofree char *text = NULL;
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        const char *mask = strstr(text, "SigBlk:");
        if (g_ascii_strtoull(mask + 7, NULL, 16) & 1ULL << (SIGTERM - 1)) {
            return;
        }
        g_usleep(1000);
    }
}

static void a_signal_ends_a_machine_that_waits_for_a_key(void)
{
    BlockStage s;
    if (!block_stage_open(&s)) {
        return;
    }
    make_slow(&s, "slow");
    g_autofree char *node = g_strdup_printf(
        "luks,node-name=n,key-secret=right,file.driver=file,file.filename=%s/slow", s.folder);
    const char *argv[] = { g_getenv("VIREO"), "-accel", "qtest",   "-nodefaults",
                           "-display",        "none",   "-object", "secret,id=right,data=letmein",
                           "-blockdev",       node,     NULL };
    GError *error = NULL;
    GPid pid;
    int err, status;
    g_spawn_async_with_pipes(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid,
                             NULL, NULL, &err, &error);
    g_assert_no_error(error);
    wait_until_signals_are_blocked(pid);
    kill(pid, SIGTERM);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    char text[512] = "";
    g_assert_cmpint(read(err, text, sizeof(text) - 1), >, 0);
    g_assert_nonnull(strstr(text, "slow' (luks): a signal came while its key was derived"));
    close(err);
    block_stage_close(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/encrypted/the-monitor-answers-while-a-key-is-derived",
                    the_monitor_answers_while_a_key_is_derived);
    g_test_add_func("/encrypted/a-sessions-commands-keep-their-order",
                    a_sessions_commands_keep_their_order);
    g_test_add_func("/encrypted/an-encrypted-overlay-opens-with-its-encrypted-base",
                    an_encrypted_overlay_opens_with_its_encrypted_base);
    g_test_add_func("/encrypted/a-signal-ends-a-machine-that-waits-for-a-key",
                    a_signal_ends_a_machine_that_waits_for_a_key);
    return g_test_run();
}
