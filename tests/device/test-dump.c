/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory dumps: ELF core files, whole and in part, waited for and not; errors; what holds
 * meanwhile. */
#include <elf.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/device/libqtest.h"

#define MACHINE "-M q35 -m 32"
#define MIB     (1u << 20)
#define WHERE   0x1234567u

static const char pattern[] = "what a guest keeps in its memory";

static char *path_in(QTest *qts, const char *name)
{
    return g_build_filename(qts->dir, name, NULL);
}

/* The bytes of a core file at a guest-physical address; NULL: not in it. */
static const uint8_t *at_address(const GString *core, uint64_t addr, size_t len)
{
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)core->str;
    g_assert_cmpuint(core->len, >, sizeof(*head));
    g_assert_cmpmem(head->e_ident, SELFMAG, ELFMAG, SELFMAG);
    g_assert_cmpuint(head->e_type, ==, ET_CORE);
    g_assert_cmpuint(head->e_machine, ==, EM_X86_64);
    const Elf64_Phdr *segments = (const Elf64_Phdr *)(core->str + head->e_phoff);
    g_assert_cmpuint(segments[0].p_type, ==, PT_NOTE);
    const uint8_t *found = NULL;
    uint64_t end = segments[0].p_offset + segments[0].p_filesz;
    for (unsigned i = 1; i < head->e_phnum; i++) {
        g_assert_cmpuint(segments[i].p_type, ==, PT_LOAD);
        g_assert_cmpuint(segments[i].p_offset, ==, end);
        end += segments[i].p_filesz;
        if (addr >= segments[i].p_paddr &&
            addr + len <= segments[i].p_paddr + segments[i].p_memsz) {
            found = (const uint8_t *)core->str + segments[i].p_offset + addr - segments[i].p_paddr;
        }
    }
    g_assert_cmpuint(core->len, ==, end);
    return found;
}

static GString *load(const char *path)
{
    gsize len;
    char *data;
    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    GString *core = g_string_new_len(data, (gssize)len);
    g_free(data);
    return core;
}

static void assert_status(QTest *qts, const char *status, int64_t total)
{
    json_object *answer = qtest_qmp_ok(qts, "{'execute': 'query-dump'}");
    g_assert_cmpstr(json_text(answer, "status"), ==, status);
    g_assert_cmpint(json_object_get_int64(json_at(answer, "total")), ==, total);
    g_assert_cmpint(json_object_get_int64(json_at(answer, "completed")), ==, total);
    json_object_put(answer);
}

static void test_a_dump_holds_the_memory(void)
{
    QTest *qts = qtest_start(MACHINE);
    g_autofree char *path = path_in(qts, "core");
    qtest_memwrite(qts, WHERE, pattern, sizeof(pattern));
    assert_status(qts, "none", 0);
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'dump-guest-memory', 'arguments': "
                                 "{'paging': false, 'protocol': 'file:%s', 'format': 'elf'}}",
                                 path));
    g_autoptr(GString) core = load(path);
    const uint8_t *found = at_address(core, WHERE, sizeof(pattern));
    g_assert_nonnull(found);
    g_assert_cmpmem(found, sizeof(pattern), pattern, sizeof(pattern));
    g_assert_null(at_address(core, 0xfee00000, 1));
    json_object *event = qtest_event(qts, "DUMP_COMPLETED");
    g_assert_cmpstr(json_text(event, "data.result.status"), ==, "completed");
    g_assert_null(json_at(event, "data.error"));
    int64_t total = json_object_get_int64(json_at(event, "data.result.total"));
    g_assert_cmpint(total, >=, 31 * MIB);
    assert_status(qts, "completed", total);
    json_object_put(event);
    g_unlink(path);
    qtest_stop(qts);
}

static void test_a_piece_of_memory(void)
{
    QTest *qts = qtest_start(MACHINE);
    g_autofree char *path = path_in(qts, "core");
    qtest_memwrite(qts, WHERE, pattern, sizeof(pattern));
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'dump-guest-memory', 'arguments': {'paging': false, "
                                 "'protocol': 'file:%s', 'begin': %u, 'length': %zu}}",
                                 path, WHERE, sizeof(pattern)));
    g_autoptr(GString) core = load(path);
    const uint8_t *found = at_address(core, WHERE, sizeof(pattern));
    g_assert_nonnull(found);
    g_assert_cmpmem(found, sizeof(pattern), pattern, sizeof(pattern));
    g_assert_null(at_address(core, WHERE - 1, 1));
    assert_status(qts, "completed", sizeof(pattern));
    g_unlink(path);
    qtest_stop(qts);
}

/* A pipe that nobody reads yet: the dump stands still, and with it the machine. */
static void test_detached_into_a_pipe(void)
{
    QTest *qts = qtest_start(MACHINE);
    g_autofree char *path = path_in(qts, "pipe");
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC); /* the other end opens without waiting */
    qtest_memwrite(qts, WHERE, pattern, sizeof(pattern));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'cont'}"));
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'dump-guest-memory', 'arguments': {'paging': false, "
                                 "'protocol': 'file:%s', 'detach': true}}",
                                 path));
    json_object *status = qtest_qmp_ok(qts, "{'execute': 'query-dump'}");
    g_assert_cmpstr(json_text(status, "status"), ==, "active");
    json_object_put(status);
    status = qtest_qmp_ok(qts, "{'execute': 'query-status'}");
    g_assert_cmpstr(json_text(status, "status"), ==, "save-vm");
    json_object_put(status);
    g_autofree char *again = qtest_qmp_error(
        qts, "{'execute': 'dump-guest-memory', 'arguments': {'paging': false, 'protocol': "
             "'file:/dev/null'}}");
    g_assert_nonnull(strstr(again, "another dump"));
    g_autofree char *go = qtest_qmp_error(qts, "{'execute': 'cont'}");
    g_assert_nonnull(strstr(go, "dumped"));
    g_autoptr(GString) core = g_string_new(NULL);
    for (bool ended = false; !ended;) {
        char data[65536];
        ssize_t n = read(fd, data, sizeof(data));
        if (n > 0) {
            g_string_append_len(core, data, n);
            continue;
        }
        status = qtest_qmp_ok(qts, "{'execute': 'query-dump'}");
        ended = g_str_equal(json_text(status, "status"), "completed") &&
                (n = read(fd, data, sizeof(data))) <= 0;
        g_string_append_len(core, data, MAX(n, 0));
        json_object_put(status);
    }
    const uint8_t *found = at_address(core, WHERE, sizeof(pattern));
    g_assert_nonnull(found);
    g_assert_cmpmem(found, sizeof(pattern), pattern, sizeof(pattern));
    json_object_put(qtest_event(qts, "DUMP_COMPLETED"));
    status = qtest_qmp_ok(qts, "{'execute': 'query-status'}");
    g_assert_cmpstr(json_text(status, "status"), ==, "running");
    json_object_put(status);
    close(fd);
    g_unlink(path);
    qtest_stop(qts);
}

/* Ends with the machine, though nobody reads. */
static void test_quit_gives_a_dump_up(void)
{
    QTest *qts = qtest_start(MACHINE);
    g_autofree char *path = path_in(qts, "pipe");
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'dump-guest-memory', 'arguments': {'paging': false, "
                                 "'protocol': 'file:%s', 'detach': true}}",
                                 path));
    g_unlink(path);
    qtest_stop(qts);
    close(fd);
}

static void test_what_fails_says_so(void)
{
    static const struct {
        const char *arguments, *says;
    } cases[] = {
        { "'paging': true, 'protocol': 'file:/dev/null'", "paging" },
        { "'paging': false, 'protocol': '/dev/null'", "protocol" },
        { "'paging': false, 'protocol': 'file:/nowhere/core'", "/nowhere/core" },
        { "'paging': false, 'protocol': 'fd:nobody'", "nobody" },
        { "'paging': false, 'protocol': 'fd:0'", "getfd" },
        { "'paging': false, 'protocol': 'file:/dev/null', 'begin': 0", "go together" },
        { "'paging': false, 'protocol': 'file:/dev/null', 'length': 1", "go together" },
        { "'paging': false, 'protocol': 'file:/dev/null', 'begin': 0, 'length': 0", "length" },
        { "'paging': false, 'protocol': 'file:/dev/null', 'begin': -1, 'length': 1", "begin" },
        { "'paging': false, 'protocol': 'file:/dev/null', 'begin': 4273995776, 'length': 1",
          "no memory" },
        { "'paging': false, 'protocol': 'file:/dev/null', 'format': 'kdump-zlib'", "format" },
        { "'paging': false, 'protocol': 'file:/dev/null', 'format': 'tar'", "format" },
        { "'paging': false", "protocol" },
    };
    QTest *qts = qtest_start(MACHINE);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *error = qtest_qmp_error(
            qts, "{'execute': 'dump-guest-memory', 'arguments': {%s}}", cases[i].arguments);
        g_test_message("%s", error);
        g_assert_nonnull(strstr(error, cases[i].says));
    }
    g_autofree char *full = qtest_qmp_error(
        qts, "{'execute': 'dump-guest-memory', 'arguments': {'paging': false, 'protocol': "
             "'file:/dev/full'}}");
    g_assert_nonnull(strstr(full, "No space"));
    json_object *event = qtest_event(qts, "DUMP_COMPLETED");
    g_assert_cmpstr(json_text(event, "data.result.status"), ==, "failed");
    g_assert_nonnull(strstr(json_text(event, "data.error"), "No space"));
    json_object_put(event);
    json_object *formats = qtest_qmp_ok(qts, "{'execute': 'query-dump-guest-memory-capability'}");
    g_assert_cmpstr(json_object_to_json_string_ext(formats, JSON_C_TO_STRING_PLAIN), ==,
                    "{\"formats\":[\"elf\"]}");
    json_object_put(formats);
    qtest_stop(qts);
}

/* ---- pmemsave, memsave ---- */

static void assert_save_refused(QTest *qts, const char *what, const char *says)
{
    g_autofree char *error = qtest_qmp_error(qts, "{'execute': %s}}", what);
    if (!strstr(error, says)) {
        g_error("%s: '%s', without '%s'", what, error, says);
    }
}

/* More than one piece of it; an address that is not there leaves what is before it. */
static void test_memory_as_it_is(void)
{
    QTest *qts = qtest_start(MACHINE);
    g_autofree char *path = path_in(qts, "memory");
    qtest_memset(qts, WHERE - 1, 0x55, 2 * MIB);
    qtest_memwrite(qts, WHERE, pattern, sizeof(pattern));
    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'pmemsave', 'arguments': {'val': %u, 'size': %u, 'filename': '%s'}}",
        WHERE - 1, 2 * MIB + 2, path));
    GString *saved = load(path);
    g_assert_cmpuint(saved->len, ==, 2 * MIB + 2);
    g_assert_cmphex((uint8_t)saved->str[0], ==, 0x55);
    g_assert_cmpmem(saved->str + 1, sizeof(pattern), pattern, sizeof(pattern));
    g_assert_cmphex((uint8_t)saved->str[2 * MIB - 1], ==, 0x55);
    g_assert_cmphex((uint8_t)saved->str[2 * MIB], ==, 0);
    g_string_free(saved, TRUE);
    g_autofree char *beyond = g_strdup_printf(
        "'pmemsave', 'arguments': {'val': %u, 'size': 8, 'filename': '%s'", 32 * MIB - 4, path);
    assert_save_refused(qts, beyond, "there is no memory at 0x2000000");
    saved = load(path);
    g_assert_cmpuint(saved->len, ==, 4);
    g_string_free(saved, TRUE);
    assert_save_refused(
        qts, "'pmemsave', 'arguments': {'val': 0, 'size': -1, 'filename': '/dev/null'", "'size'");
    assert_save_refused(qts, "'pmemsave', 'arguments': {'val': 0, 'size': 1, 'filename': '/none/x'",
                        "'/none/x' cannot be opened");
    assert_save_refused(qts,
                        "'pmemsave', 'arguments': {'val': 0, 'size': 4096, 'filename': '/dev/full'",
                        "cannot be written");
    assert_save_refused(qts, "'memsave', 'arguments': {'val': 0, 'size': 1, 'filename': '/none/x'",
                        "has no vCPUs");
    g_unlink(path);
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dump/holds-the-memory", test_a_dump_holds_the_memory);
    g_test_add_func("/dump/a-piece", test_a_piece_of_memory);
    g_test_add_func("/dump/detached", test_detached_into_a_pipe);
    g_test_add_func("/dump/quit", test_quit_gives_a_dump_up);
    g_test_add_func("/dump/errors", test_what_fails_says_so);
    g_test_add_func("/dump/memory-as-it-is", test_memory_as_it_is);
    return g_test_run();
}
