/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running vireo-img and qemu-img side by side. */
#include "tests/img/imgtest.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PART_BYTES 65536

static char *folder[2];
static char *qemu_img;

void imgtest_begin(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_nonnull(g_getenv("VIREO_IMG"));
    qemu_img = g_find_program_in_path("qemu-img");
    for (int i = 0; i < 2; i++) {
        folder[i] = g_dir_make_tmp("vireo-img-XXXXXX", &error);
        g_assert_no_error(error);
    }
}

static void remove_folder(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        if (g_file_test(file, G_FILE_TEST_IS_DIR)) {
            remove_folder(file);
        } else {
            g_unlink(file);
        }
    }
    g_clear_pointer(&dir, g_dir_close);
    g_rmdir(path);
}

void imgtest_end(void)
{
    for (int i = 0; i < 2; i++) {
        remove_folder(folder[i]);
        g_clear_pointer(&folder[i], g_free);
    }
    g_clear_pointer(&qemu_img, g_free);
}

bool imgtest_has_qemu(void)
{
    return qemu_img != NULL;
}

void run_clear(Run *run)
{
    g_free(run->out);
    g_free(run->err);
}

Run imgtest_run(Tool tool, const char *args)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_auto(GStrv) words = g_strsplit(args, " ", 0);
    g_autoptr(GError) error = NULL;
    Run run = { .status = -1 };
    int wait_status;
    g_ptr_array_add(argv, tool == TOOL_QEMU ? qemu_img : (char *)g_getenv("VIREO_IMG"));
    for (int i = 0; words[i]; i++) {
        if (*words[i]) {
            g_ptr_array_add(argv, strcmp(words[i], "''") ? words[i] : (char *)"");
        }
    }
    g_ptr_array_add(argv, NULL);
    g_assert_true(g_spawn_sync(folder[tool], (char **)argv->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL,
                               NULL, &run.out, &run.err, &wait_status, &error));
    if (WIFEXITED(wait_status)) {
        run.status = WEXITSTATUS(wait_status);
    }
    return run;
}

/* The tool's name replaced. */
static char *neutral(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, "vireo-img", -1);
    return g_strjoinv("qemu-img", parts);
}

char *imgtest_vireo(const char *args, int status)
{
    Run run = imgtest_run(TOOL_VIREO, args);
    if (run.status != status) {
        g_test_message("vireo-img %s: %s%s", args, run.out, run.err);
    }
    g_assert_cmpint(run.status, ==, status);
    g_free(run.err);
    return run.out;
}

static void run_both(const char *args, Run *theirs, Run *ours)
{
    *ours = imgtest_run(TOOL_VIREO, args);
    *theirs = imgtest_run(TOOL_QEMU, args);
    if (ours->status != theirs->status) {
        g_test_message("%s: vireo-img %d: %s%s; qemu-img %d: %s%s", args, ours->status, ours->out,
                       ours->err, theirs->status, theirs->out, theirs->err);
    }
    g_assert_cmpint(ours->status, ==, theirs->status);
}

void imgtest_same(const char *args)
{
    g_auto(Run) theirs = { 0 }, ours = { 0 };
    run_both(args, &theirs, &ours);
    g_autofree char *out = neutral(ours.out);
    g_assert_cmpstr(out, ==, theirs.out);
}

void imgtest_same_status(const char *args)
{
    g_auto(Run) theirs = { 0 }, ours = { 0 };
    run_both(args, &theirs, &ours);
    /* Both say why, or neither does. */
    g_assert_cmpint(*ours.err != 0, ==, *theirs.err != 0);
}

static void remove_keys(json_object *value, const char *const *keys)
{
    for (int i = 0; keys && keys[i] && json_object_is_type(value, json_type_object); i++) {
        json_object_object_del(value, keys[i]);
    }
    for (size_t i = 0;
         json_object_is_type(value, json_type_array) && i < json_object_array_length(value); i++) {
        remove_keys(json_object_array_get_idx(value, i), keys);
    }
}

void imgtest_same_json(const char *args, const char *const *ignore)
{
    g_auto(Run) theirs = { 0 }, ours = { 0 };
    run_both(args, &theirs, &ours);
    json_object *a = json_tokener_parse(ours.out), *b = json_tokener_parse(theirs.out);
    g_assert_nonnull(a);
    g_assert_nonnull(b);
    remove_keys(a, ignore);
    remove_keys(b, ignore);
    if (!json_object_equal(a, b)) {
        g_test_message("%s: %s; qemu-img: %s", args, ours.out, theirs.out);
    }
    g_assert_true(json_object_equal(a, b));
    json_object_put(a);
    json_object_put(b);
}

void imgtest_make_raw(const char *name, const char *pattern)
{
    g_autofree char *part = g_malloc(PART_BYTES);
    for (int i = 0; i < 2; i++) {
        g_autofree char *path = g_build_filename(folder[i], name, NULL);
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(ftruncate(fd, (off_t)strlen(pattern) * PART_BYTES), ==, 0);
        for (int at = 0; pattern[at]; at++) {
            if (pattern[at] != '.') {
                memset(part, pattern[at], PART_BYTES);
                g_assert_cmpint(pwrite(fd, part, PART_BYTES, (off_t)at * PART_BYTES), ==,
                                PART_BYTES);
            }
        }
        close(fd);
    }
}

void imgtest_share(Tool from, const char *name)
{
    g_autofree char *source = g_build_filename(folder[from], name, NULL);
    g_autofree char *target = g_build_filename(folder[!from], name, NULL);
    g_autofree char *data = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(source, &data, &length, NULL));
    g_assert_true(g_file_set_contents(target, data, (gssize)length, NULL));
}

void imgtest_mark_in_use(const char *name)
{
    static const uint8_t magic[4] = { 0x23, 0x85, 0x28, 0x75 };
    for (int i = 0; i < 2; i++) {
        g_autofree char *path = g_build_filename(folder[i], name, NULL);
        g_autofree char *data = NULL;
        gsize length;
        uint64_t place;
        g_assert_true(g_file_get_contents(path, &data, &length, NULL));
        char *extension = memmem(data, 4096, magic, sizeof(magic));
        g_assert_nonnull(extension);
        memcpy(&place, extension + 8 + 16, sizeof(place));
        place = GUINT64_FROM_BE(place);
        g_assert_cmpuint(place, <, length - 24);
        data[place + 15] |= 1;
        g_assert_true(g_file_set_contents(path, data, (gssize)length, NULL));
    }
}
