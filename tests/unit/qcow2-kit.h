/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of qcow2 images: files in a folder of their own, and qemu-img as the judge. */
#ifndef TESTS_UNIT_QCOW2_KIT_H
#define TESTS_UNIT_QCOW2_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "block/internal.h"
#include "block/qcow2/qcow2.h"
#include "tests/unit/qemu-img.h"
#include "vmm/error.h"

static char *kit_folder;
static bool kit_has_qemu;

static inline void kit_start(void)
{
    event_loop_main();
    kit_folder = g_dir_make_tmp("vireo-qcow2-XXXXXX", NULL);
    kit_has_qemu = qemu_is_here();
}

static inline int kit_end(int ret)
{
    command_run(NULL, NULL, "rm -rf '%s'", kit_folder);
    g_free(kit_folder);
    return ret;
}

static inline char *kit_path(const char *name)
{
    return g_build_filename(kit_folder, name, NULL);
}

/* Runs a shell line in the folder; its exit code. *out (may be NULL): what it printed. */
static inline int kit_run_line(const char *line, char **out)
{
    return command_run(kit_folder, out, "%s", line);
}

static inline int kit_run(const char *format, ...) G_GNUC_PRINTF(1, 2);
static inline int kit_run(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    g_autofree char *line = g_strdup_vprintf(format, ap);
    va_end(ap);
    return kit_run_line(line, NULL);
}

/* A number of qemu-img check's JSON form; 0: not there. */
static inline uint64_t kit_number(const char *json, const char *key)
{
    g_autofree char *quoted = g_strdup_printf("\"%s\": ", key);
    const char *at = strstr(json, quoted);
    return at ? g_ascii_strtoull(at + strlen(quoted), NULL, 10) : 0;
}

static inline bool kit_create(const char *name, const char *options, GError **error)
{
    g_autofree char *path = kit_path(name);
    g_autoptr(Opts) opts = opts_parse(options, NULL, error);
    g_assert_true(opts);
    g_unlink(path);
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    BlockOpenMode mode = { .writable = true };
    BlockNode *raw = block_image_open(path, "raw", NULL, &mode, error);
    g_assert_nonnull(raw);
    bool ok = qcow2_create(node_protocol(raw), opts, error);
    block_node_unref(raw);
    return ok;
}

static inline BlockNode *kit_open(const char *name, bool writable, GError **error)
{
    g_autofree char *path = kit_path(name);
    BlockOpenMode mode = { .writable = writable, .for_check = true };
    return block_image_open(path, "qcow2", NULL, &mode, error);
}

#endif
