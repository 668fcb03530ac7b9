/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New qcow2 images: what qemu-img thinks of them, and options that do not go together. */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <unistd.h>
#include "block/internal.h"
#include "block/qcow2/qcow2.h"
#include "vmm/error.h"
#include "vmm/util/bytes.h"

static char *folder;
static bool have_qemu_img;

static bool create_image(const char *path, const char *text, GError **error)
{
    g_autoptr(Opts) options = opts_parse(text, NULL, error);
    g_assert_true(options);
    g_unlink(path);
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    BlockOpenMode mode = { .writable = true };
    BlockNode *raw = block_image_open(path, "raw", NULL, &mode, error);
    g_assert_nonnull(raw);
    bool ok = qcow2_create(node_protocol(raw), options, error);
    block_node_unref(raw);
    return ok;
}

static char *qemu_img(bool *ok, const char *format, ...) G_GNUC_PRINTF(2, 3);
static char *qemu_img(bool *ok, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    g_autofree char *arguments = g_strdup_vprintf(format, ap);
    va_end(ap);
    g_autofree char *command = g_strdup_printf("qemu-img %s", arguments);
    char *out = NULL;
    g_autofree char *err = NULL;
    int status;
    g_assert_true(g_spawn_command_line_sync(command, &out, &err, &status, NULL));
    *ok = status == 0;
    if (status) {
        g_test_message("%s: %s%s", command, out, err);
    }
    return out;
}

static void judge(const char *path, const char *options)
{
    bool ok;
    g_free(qemu_img(&ok, "check -q '%s'", path));
    g_assert_true(ok);
    g_autofree char *info = qemu_img(&ok, "info --output=json '%s'", path);
    g_assert_true(ok);
    g_assert_nonnull(strstr(info, "\"format\": \"qcow2\""));
    g_assert_null(strstr(info, "\"corrupt\": true"));
    g_autofree char *zero = g_build_filename(folder, "zero.raw", NULL);
    g_free(qemu_img(&ok, "compare -q '%s' -F raw '%s'", path, zero));
    g_assert_true(ok);
    if (strstr(options, "preallocation=") && !strstr(options, "preallocation=off")) {
        g_autofree char *map = qemu_img(&ok, "check --output=json '%s'", path);
        const char *allocated = strstr(map, "\"allocated-clusters\": ");
        const char *total = strstr(map, "\"total-clusters\": ");
        g_assert_true(allocated && total);
        g_assert_cmpint(atoll(strchr(allocated, ':') + 1), ==, atoll(strchr(total, ':') + 1));
    }
}

#define SIZE "2900480" /* no multiple of most cluster sizes */

static void test_matrix(void)
{
    static const char *const clusters[] = { "512", "4k", "64k", "2M" };
    static const char *const refcounts[] = { "1", "2", "8", "16", "32", "64" };
    static const char *const preallocations[] = { "off", "metadata", "falloc", "full" };
    static const char *const more[] = { "compat=1.1", "lazy_refcounts=on", "extended_l2=on",
                                        "compat=0.10" };
    g_autofree char *path = g_build_filename(folder, "matrix.qcow2", NULL);
    unsigned images = 0;
    for (unsigned i = 0; i < 4 * 6 * 4 * 4; i++) {
        unsigned c = i % 4, r = i / 4 % 6, p = i / 24 % 4, m = i / 96;
        if ((m == 2 && c < 2) || (m == 3 && r != 3) || (i % 3 && r != 3)) {
            continue; /* not to be had, or a third will do */
        }
        g_autofree char *text =
            g_strdup_printf("size=" SIZE ",cluster_size=%s,refcount_bits=%s,preallocation=%s,%s",
                            clusters[c], refcounts[r], preallocations[p], more[m]);
        g_test_message("%s", text);
        g_autoptr(GError) error = NULL;
        create_image(path, text, &error);
        g_assert_no_error(error);
        if (have_qemu_img) {
            judge(path, text);
        }
        images++;
    }
    g_assert_cmpuint(images, >, 100);
}

static void test_structure(void)
{
    g_autofree char *path = g_build_filename(folder, "big.qcow2", NULL);
    g_autofree char *data = NULL;
    gsize length;
    Qcow2Header h;
    g_autoptr(GError) error = NULL;
    create_image(path, "size=1T,backing_file=x.img,backing_fmt=raw", &error);
    g_assert_no_error(error);
    g_assert_true(g_file_get_contents(path, &data, &length, NULL));
    g_assert_cmpuint(length, ==, 4 * 64 * KIB);
    g_assert_true(qcow2_header_parse(&h, (uint8_t *)data, 65536, length, &error));
    g_assert_cmpuint(h.size, ==, 1024 * GIB);
    g_assert_cmpuint(h.l1_size, ==, 2048);
    g_assert_cmpstr(h.backing_file, ==, "x.img");
    g_assert_cmpstr(h.backing_format, ==, "raw");
    for (unsigned i = 0; i < 6; i++) {
        g_assert_cmpuint(qcow2_refcount_get((uint8_t *)data + 2 * 65536, 4, i), ==, i < 4);
    }
    qcow2_header_clear(&h);
}

static void test_data_file(void)
{
    g_autofree char *path = g_build_filename(folder, "ext.qcow2", NULL);
    g_autofree char *raw = g_build_filename(folder, "ext.raw", NULL);
    static const char *const variants[] = { "", ",preallocation=metadata", ",preallocation=full",
                                            ",data_file_raw=on", ",extended_l2=on" };
    for (unsigned i = 0; i < G_N_ELEMENTS(variants); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text = g_strdup_printf("size=" SIZE ",data_file=%s%s", raw, variants[i]);
        create_image(path, text, &error);
        g_assert_no_error(error);
        GStatBuf st;
        g_assert_cmpint(g_stat(raw, &st), ==, 0);
        g_assert_cmpint(st.st_size, ==, atoi(SIZE));
        if (have_qemu_img) {
            judge(path, "");
        }
    }
}

static void test_refused(void)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "size=1M,cluster_size=300", "*power of two from 512 bytes to 2 MiB*" },
        { "size=1M,cluster_size=4M", "*power of two from 512 bytes to 2 MiB*" },
        { "size=1M,cluster_size=0", "*power of two from 512 bytes to 2 MiB*" },
        { "size=1M,refcount_bits=3", "*refcount_bits: 1, 2, 4*" },
        { "size=1M,refcount_bits=128", "*refcount_bits: 1, 2, 4*64*" },
        { "size=1M,refcount_bits=0", "*refcount_bits: 1, 2, 4*" },
        { "size=1M,compat=0.9", "*compat=0.9: there are 0.10*" },
        { "size=1M,compat=0.10,lazy_refcounts=on", "*lazy_refcounts=on*version 3*" },
        { "size=1M,compat=0.10,refcount_bits=8", "*refcount_bits other than 16*" },
        { "size=1M,compat=0.10,extended_l2=on", "*extended_l2=on needs*version 3*" },
        { "size=1M,compat=0.10,data_file=x", "*data_file needs*version 3*" },
        { "size=1M,extended_l2=on,cluster_size=8k", "*at least 16 KiB*" },
        { "size=1M,data_file_raw=on", "*data_file= is missing*" },
        { "size=1M,data_file=x,data_file_raw=on,backing_file=y",
          "*an overlay (backing_file) never is*" },
        { "size=1M,backing_fmt=raw", "*backing_file, which is missing*" },
        { "size=1M,backing_file=x,preallocation=full", "*preallocation needs extended_l2=on*" },
        { "size=1M,encryption=on",
          "'encrypt.key-secret' is missing: it names the -object secret that has the password" },
        { "size=1M,encrypt.format=luks",
          "'encrypt.key-secret' is missing: it names the -object secret that has the password" },
        { "size=1M,encrypt.format=luks,encrypt.key-secret=nobody", "No secret with id 'nobody'" },
        { "size=1M,encryption=on,encrypt.format=luks",
          "encryption=on is an old name of encrypt.format=aes: give one of them" },
        { "size=1M,encrypt.format=luks,encrypt.cipher-alg=cast5-128,encrypt.key-secret=s",
          "cipher cast5-128 has blocks of 8 bytes: mode xts needs 16" },
        { "size=1M,compression_type=lzma", "*lzma*" },
        { "size=1M,preallocation=some", "*some*" },
        { "size=1T,cluster_size=512", "*too large*larger*cluster_size*" },
        { "size=7E", "*too large*larger*cluster_size*" },
        { "size=100G,preallocation=metadata,cluster_size=512,refcount_bits=64",
          "*too large*refcount*" },
        { "cluster_size=64k", "*size is missing*" },
    };
    g_autofree char *path = g_build_filename(folder, "refused.qcow2", NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        bool ok = create_image(path, cases[i].text, &error);
        g_test_message("%s: %s", cases[i].text, error ? error->message : "made");
        g_assert_false(ok);
        g_assert_true(g_pattern_match_simple(cases[i].message, error->message));
    }
}

/* A name that would not fit behind the header must not overwrite anything. */
static void test_backing_name(void)
{
    g_autofree char *path = g_build_filename(folder, "name.qcow2", NULL);
    g_autofree char *name = g_strnfill(1023, 'n');
    g_autofree char *fits = g_strdup_printf("size=1M,backing_file=%s", name);
    g_autofree char *small = g_strdup_printf("size=1M,cluster_size=512,backing_file=%s", name);
    g_autofree char *longer = g_strdup_printf("size=1M,backing_file=%sn", name);
    g_autoptr(GError) error = NULL;
    create_image(path, fits, &error);
    g_assert_no_error(error);
    g_assert_false(create_image(path, small, &error));
    g_clear_error(&error);
    g_assert_false(create_image(path, longer, &error));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
    folder = g_dir_make_tmp("vireo-qcow2-XXXXXX", NULL);
    g_autofree char *zero = g_build_filename(folder, "zero.raw", NULL);
    g_assert_true(g_file_set_contents(zero, "", 0, NULL));
    g_assert_cmpint(truncate(zero, atoi(SIZE)), ==, 0);
    g_autofree char *program = g_find_program_in_path("qemu-img");
    have_qemu_img = program != NULL;
    g_test_add_func("/qcow2-create/qemu-img-accepts-every-layout", test_matrix);
    g_test_add_func("/qcow2-create/fields-of-a-large-image", test_structure);
    g_test_add_func("/qcow2-create/external-data-file", test_data_file);
    g_test_add_func("/qcow2-create/options-that-cannot-be", test_refused);
    g_test_add_func("/qcow2-create/backing-name-that-does-not-fit", test_backing_name);
    int ret = g_test_run();
    g_autofree char *remove = g_strdup_printf("rm -rf '%s'", folder);
    g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL);
    g_free(folder);
    return ret;
}
