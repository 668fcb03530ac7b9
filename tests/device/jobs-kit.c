/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device test kit: machines whose disks jobs work on. */
#include "tests/device/jobs-kit.h"

#include <stdlib.h>
#include <string.h>
#include <glib/gstdio.h>

#define F_V1           (1ULL << 32)
#define F_WRITE_ZEROES (1ULL << 14)

enum { T_IN = 0, T_OUT = 1, T_WRITE_ZEROES = 13 };

/* ---- The folder ---- */

void stage_shell(Stage *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *command = g_strdup_vprintf(format, args);
    va_end(args);
    char *argv[] = { "/bin/sh", "-c", command, NULL };
    g_autofree char *output = NULL;
    g_autofree char *errors = NULL;
    int status = -1;
    g_assert_true(
        g_spawn_sync(s->folder, argv, NULL, 0, NULL, NULL, &output, &errors, &status, NULL));
    if (status) {
        g_test_message("%s\n%s%s", command, output, errors);
    }
    g_assert_cmpint(status, ==, 0);
}

static void write_model(Stage *s, const char *name, const uint8_t *data)
{
    g_autofree char *path = g_build_filename(s->folder, name, NULL);
    g_assert_true(g_file_set_contents(path, (const char *)data, STAGE_BYTES, NULL));
}

bool stage_prepare(Stage *s)
{
    g_autofree char *program = g_find_program_in_path("qemu-img");
    memset(s, 0, sizeof(*s));
    if (!program) {
        g_test_skip("qemu-img is not installed");
        return false;
    }
    s->folder = g_dir_make_tmp("vireo-jobs-XXXXXX", NULL);
    s->model = g_malloc0(STAGE_BYTES);
    s->rand = g_rand_new_with_seed(g_test_rand_int());
    s->last = g_string_new(NULL);
    for (unsigned i = 0; i < STAGE_BYTES / 2; i++) {
        s->model[i + STAGE_BYTES / 4] = (uint8_t)(i / 512 + i);
    }
    write_model(s, "base.raw", s->model);
    stage_shell(s, "qemu-img convert -f raw -O qcow2 base.raw base.qcow2 && rm base.raw && "
                   "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2");
    return true;
}

void stage_remove(Stage *s)
{
    stage_shell(s, "rm -f -- *");
    g_assert_cmpint(g_rmdir(s->folder), ==, 0);
    g_free(s->folder);
    g_free(s->model);
    g_rand_free(s->rand);
    g_string_free(s->last, TRUE);
}

void stage_judge(Stage *s, const char *image, const uint8_t *expected, unsigned images)
{
    write_model(s, "model.raw", expected);
    stage_shell(s,
                "case %s in *.raw) ;; *) qemu-img check -q %s;; esac && "
                "qemu-img compare -q -F raw %s model.raw && "
                "test $(qemu-img info --backing-chain %s | grep -c '^image:') = %u",
                image, image, image, image, images);
}

uint8_t *stage_copy_model(Stage *s)
{
    return g_memdup2(s->model, STAGE_BYTES);
}

/* ---- The machine ---- */

static void driver_start(Stage *s)
{
    s->dev = qvirtio_new(qpci_find(s->qts, 0x1af4, 0x1001, 0));
    qvirtio_reset(s->dev);
    qvirtio_negotiate(s->dev, F_V1 | F_WRITE_ZEROES);
    s->vq = qvirtqueue_new(s->dev, 0, 64, 0xffff);
    qvirtio_driver_ok(s->dev);
    s->header = qtest_alloc(s->qts, 64, 64);
    s->data = qtest_alloc(s->qts, STAGE_PART, 4096);
    s->status = qtest_alloc(s->qts, 64, 64);
}

void stage_start_with(Stage *s, const char *arguments)
{
    g_autofree char *here = g_get_current_dir();
    g_assert_cmpint(g_chdir(s->folder), ==, 0); /* file names are seen from there */
    s->qts = qtest_start("%s", arguments);
    g_assert_cmpint(g_chdir(here), ==, 0);
    driver_start(s);
}

void stage_start(Stage *s, const char *more)
{
    g_autofree char *arguments =
        g_strdup_printf("-drive if=none,id=d,node-name=top,format=qcow2,discard=unmap,"
                        "file=top.qcow2 -device virtio-blk-pci,id=v,drive=d %s",
                        more);
    stage_start_with(s, arguments);
}

void stage_quit(Stage *s)
{
    qvirtqueue_free(s->vq);
    qvirtio_free(s->dev);
    qtest_stop(s->qts);
}

void stage_end(Stage *s)
{
    stage_quit(s);
    stage_remove(s);
}

/* ---- Work ---- */

static uint8_t request(Stage *s, uint32_t type, uint64_t offset, uint32_t bytes)
{
    QBuffer buffers[] = { { s->header, 16, false },
                          { s->data, bytes, type == T_IN },
                          { s->status, 1, true } };
    qtest_write(s->qts, s->header, type, 8);
    qtest_write(s->qts, s->header + 8, type == T_WRITE_ZEROES ? 0 : offset / 512, 8);
    qtest_write(s->qts, s->status, 0xee, 1);
    qvirtqueue_add(s->vq, buffers, G_N_ELEMENTS(buffers));
    qvirtqueue_kick(s->vq);
    qvirtqueue_wait(s->vq, NULL);
    return (uint8_t)qtest_read(s->qts, s->status, 1);
}

uint8_t stage_write(Stage *s, uint64_t offset, uint8_t value)
{
    qtest_memset(s->qts, s->data, value, STAGE_PART);
    uint8_t status = request(s, T_OUT, offset, STAGE_PART);
    if (status == 0) {
        memset(s->model + offset, value, STAGE_PART);
    }
    return status;
}

static void work_write(Stage *s, uint64_t offset, uint32_t bytes)
{
    uint32_t seed = g_rand_int(s->rand);
    for (uint32_t i = 0; i < bytes; i++) {
        s->model[offset + i] = (uint8_t)(seed + i / 7);
    }
    qtest_memwrite(s->qts, s->data, s->model + offset, bytes);
    g_assert_cmphex(request(s, T_OUT, offset, bytes), ==, 0);
}

static void work_zeroes(Stage *s, uint64_t offset, uint32_t bytes)
{
    memset(s->model + offset, 0, bytes);
    qtest_write(s->qts, s->data, offset / 512, 8);
    qtest_write(s->qts, s->data + 8, bytes / 512, 4);
    qtest_write(s->qts, s->data + 12, g_rand_boolean(s->rand), 4); /* unmap */
    g_assert_cmphex(request(s, T_WRITE_ZEROES, offset, 16), ==, 0);
}

static void work_read(Stage *s, uint64_t offset, uint32_t bytes)
{
    g_autofree uint8_t *got = g_malloc(bytes);
    g_assert_cmphex(request(s, T_IN, offset, bytes), ==, 0);
    qtest_memread(s->qts, s->data, got, bytes);
    g_assert_true(memcmp(got, s->model + offset, bytes) == 0);
}

void stage_work(Stage *s, unsigned requests)
{
    for (unsigned i = 0; i < requests; i++) {
        uint32_t bytes = (uint32_t)g_rand_int_range(s->rand, 1, 32) * 512;
        uint64_t offset =
            (uint64_t)g_rand_int_range(s->rand, 0, (gint32)(STAGE_BYTES - bytes) / 512) * 512;
        switch (g_rand_int_range(s->rand, 0, 4)) {
        case 0:
            work_read(s, offset, bytes);
            break;
        case 1:
            work_zeroes(s, offset, bytes);
            break;
        default:
            work_write(s, offset, bytes);
            break;
        }
    }
}

/* ---- Jobs ---- */

void stage_refused(Stage *s, const char *command, const char *class, const char *text)
{
    json_object *answer = qtest_qmp(s->qts, "%s", command);
    g_assert_cmpstr(json_text(answer, "error.desc"), ==, text);
    g_assert_cmpstr(json_text(answer, "error.class"), ==, class);
    json_object_put(answer);
}

/* The next event that jobs sent. */
static json_object *next_job_event(Stage *s)
{
    for (;;) {
        json_object *event = qtest_next_event(s->qts);
        const char *name = json_text(event, "event");
        if (!strcmp(name, "JOB_STATUS_CHANGE") || g_str_has_prefix(name, "BLOCK_JOB_")) {
            return event;
        }
        json_object_put(event);
    }
}

void stage_expect(Stage *s, const char *words)
{
    g_auto(GStrv) list = g_strsplit(words, " ", -1);
    for (char **word = list; *word; word++) {
        json_object *event = next_job_event(s);
        const char *name = json_text(event, "event");
        bool is_status = !strcmp(name, "JOB_STATUS_CHANGE");
        g_assert_cmpstr(is_status ? json_text(event, "data.status") : name, ==, *word);
        if (!is_status) {
            g_string_assign(s->last, json_object_to_json_string_ext(
                                         json_at(event, "data"),
                                         JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        }
        json_object_put(event);
    }
}

void stage_add_target(Stage *s, const char *name, const char *format)
{
    stage_shell(s, "qemu-img create -q -f %s %s.%s %u", format, name, format, STAGE_BYTES);
    stage_qmp(s,
              "{'execute': 'blockdev-add', 'arguments': {'driver': '%s', 'node-name': '%s', "
              "'file': {'driver': 'file', 'filename': '%s.%s'}}}",
              format, name, name, format);
}
