/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vireo-img on a file system that is full, at any step of every command that writes: it says so and
 * ends with status 1; the image checks clean (leaks at most), and holds what it did.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/qemu-img.h"
#include "tests/unit/small-disk.h"

#define HOST_BYTES (16u << 20)

typedef struct Work {
    const char *name;
    const char *setup;   /* besides `disk`: shell; NULL: nothing */
    const char *command; /* of vireo-img */
    const char *image;   /* that is judged; NULL: what is left of a new one is none */
} Work;

#define TOP                                                                                        \
    "qemu-img create -q -f qcow2 -b disk -F qcow2 top && "                                         \
    "qemu-io -f qcow2 -c 'write -q -P 9 1M 1500k' top && qemu-img convert -O raw top before"

static const Work works[] = {
    { "convert", NULL, "convert -f qcow2 -O qcow2 disk target", NULL },
    { "convert-compressed", NULL, "convert -c -f qcow2 -O qcow2 disk target", NULL },
    { "convert-to-raw", NULL, "convert -f qcow2 -O raw disk target", NULL },
    { "create-full", NULL, "create -q -f qcow2 -o preallocation=full target 2M", NULL },
    { "create-falloc", NULL, "create -q -f qcow2 -o preallocation=falloc target 2M", NULL },
    { "create-metadata", NULL,
      "create -q -f qcow2 -o preallocation=metadata,cluster_size=512 target 2M", NULL },
    { "dd", NULL, "dd -f qcow2 -O qcow2 bs=64k if=disk of=target", NULL },
    { "snapshot-create", NULL, "snapshot -c new disk", "disk" },
    { "snapshot-apply",
      "qemu-img snapshot -c old disk && qemu-io -f qcow2 -c 'write -q -P 9 1M 1500k' disk && "
      "qemu-img snapshot -a old disk",
      "snapshot -a old disk", "disk" },
    { "resize", "truncate -s 80G before", "resize -q disk 80G", "disk" },
    { "amend", NULL, "amend -o refcount_bits=64 disk", "disk" },
    { "bitmap-add", NULL, "bitmap --add -g 512 disk b", "disk" },
    { "bitmap-merge",
      "qemu-img bitmap --add -g 512 disk a && qemu-io -f qcow2 -c 'write -q -P 7 0 9k'"
      " disk && qemu-img convert -O raw disk before",
      "bitmap --add --merge a -g 512 disk b", "disk" },
    { "commit", TOP, "commit -q -f qcow2 top", "top" },
    { "rebase", TOP, "rebase -f qcow2 -b '' top", "top" },
};

static char *folder, *saved;

static void make_images(const Work *work)
{
    g_free(command_output(folder,
                          "rm -f -- * && qemu-img create -q -f qcow2 -o cluster_size=4k disk 8M && "
                          "qemu-io -f qcow2 -c 'write -q -P 1 0 2M' -c 'write -q -P 2 5M 1M' disk "
                          "&& qemu-img convert -O raw disk before"));
    if (work->setup) {
        g_free(command_output(folder, "%s", work->setup));
    }
    g_free(command_output(folder, "rm -rf '%s' && mkdir '%s' && cp --sparse=always -- * '%s'",
                          saved, saved, saved));
}

/* What was there is there, or what it was to become, whole. */
static void judge(const Work *work)
{
    static const char *const images[] = { "disk", "top" };
    for (size_t i = 0; i < G_N_ELEMENTS(images); i++) {
        g_autofree char *path = g_build_filename(folder, images[i], NULL);
        if (!work->image || !g_file_test(path, G_FILE_TEST_EXISTS)) {
            continue;
        }
        int code = qemu_img_check(path);
        if (code != 0 && code != 3) { /* it says that it is to be repaired first */
            g_free(command_output(folder, "qemu-img info -f qcow2 %s | grep -q 'corrupt: false'",
                                  images[i]));
            g_assert_cmpint(command_run(folder, NULL, "qemu-img check -q -r all %s", images[i]), ==,
                            0);
        }
    }
    if (work->image) {
        g_free(
            command_output(folder, "qemu-img compare -q -f qcow2 -F raw %s before", work->image));
    }
}

/* Whether there was room. */
static bool try(const Work *work, uint64_t room)
{
    g_autofree char *out = NULL;
    g_free(command_output(folder, "rm -f -- * && cp --sparse=always '%s'/* .", saved));
    small_disk_leave(folder, room);
    int status = command_run(folder, &out, "%s %s 2>&1", g_getenv("VIREO_IMG"), work->command);
    g_unlink("ballast");
    small_disk_leave(folder, HOST_BYTES);
    if (status != 0) {
        g_assert_cmpint(status, ==, 1);
        g_assert_nonnull(strstr(out, "No space left on device"));
    }
    judge(work);
    return status == 0;
}

static void a_full_file_system_is_told_of_and_harms_nothing(gconstpointer data)
{
    const Work *work = data;
    folder = g_dir_make_tmp("vireo-img-full-XXXXXX", NULL);
    saved = g_strconcat(folder, ".saved", NULL);
    if (!qemu_is_here() || !small_disk_mount(folder, HOST_BYTES)) {
        g_test_skip("no qemu-img, or no file system can be mounted here");
    } else {
        unsigned failed = 0;
        uint64_t room = 0;
        make_images(work);
        for (; !try(work, room); failed++) {
            g_assert_cmpuint(room, <, HOST_BYTES);
            room = room < 32768 ? room + 4096 : room * 3 / 2;
        }
        g_test_message("%u times there was no room", failed);
        g_assert_cmpuint(failed, >, 0);
        small_disk_unmount(folder);
    }
    g_free(command_output(NULL, "rm -rf '%s' '%s'", folder, saved));
    g_free(folder);
    g_free(saved);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(works); i++) {
        g_autofree char *path = g_strdup_printf("/img/full/%s", works[i].name);
        g_test_add_data_func(path, &works[i], a_full_file_system_is_told_of_and_harms_nothing);
    }
    return g_test_run();
}
