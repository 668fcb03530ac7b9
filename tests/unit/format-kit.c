/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See format-kit.h. */
#include "tests/unit/format-kit.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/unit/qemu-img.h"
#include "vmm/util/bytes.h"

static char *folder;

void kit_start(void)
{
    folder = g_dir_make_tmp("test-formats-XXXXXX", NULL);
    g_assert_nonnull(folder);
    g_assert_cmpint(chdir(folder), ==, 0);
}

void kit_stop(void)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(dir))) {
        g_assert_cmpint(g_unlink(name), ==, 0);
    }
    g_assert_cmpint(chdir("/"), ==, 0);
    g_assert_cmpint(g_rmdir(folder), ==, 0);
    g_clear_pointer(&folder, g_free);
}

void kit_run(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *command = g_strdup_vprintf(format, args);
    va_end(args);
    g_free(command_output(NULL, "%s", command));
}

char *kit_output(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *command = g_strdup_vprintf(format, args);
    va_end(args);
    return command_output(NULL, "%s", command);
}

uint8_t *kit_make_raw(const char *name, uint64_t size, unsigned seed)
{
    uint8_t *data = g_malloc0(size);
    GRand *random = g_rand_new_with_seed(seed);
    for (int i = 0; i < 24; i++) {
        uint64_t start = (uint64_t)g_rand_double_range(random, 0, (double)size);
        uint64_t bytes = (uint64_t)g_rand_int_range(random, 1, 100000);
        bytes = MIN(bytes, size - start);
        for (uint64_t k = 0; k < bytes; k++) {
            data[start + k] = (uint8_t)(k % 251 ? k * 7 + i : g_rand_int(random));
        }
    }
    memset(data + size - 100, 0x55, 100); /* to the very end */
    g_rand_free(random);
    kit_write_file(name, data, size);
    return data;
}

uint8_t *kit_read_file(const char *name, size_t *size)
{
    char *data = NULL;
    g_assert_true(g_file_get_contents(name, &data, size, NULL));
    return (uint8_t *)data;
}

void kit_write_file(const char *name, const void *data, size_t size)
{
    int fd = g_open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)data + done, size - done);
        g_assert_cmpint(n, >, 0);
        done += (size_t)n;
    }
    close(fd);
}

void kit_patch(const char *from, const char *to, int64_t offset, const void *data, size_t bytes)
{
    if (strcmp(from, to) != 0) {
        kit_run("cp --sparse=always %s %s", from, to);
    }
    int fd = g_open(to, O_RDWR | O_CLOEXEC, 0600);
    struct stat st;
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpint(pwrite(fd, data, bytes, offset < 0 ? st.st_size + offset : offset), ==, bytes);
    close(fd);
}

BlockNode *kit_try_open(const char *name, const char *format, GError **error)
{
    BlockOpenMode mode = { 0 };
    return block_image_open(name, format, NULL, &mode, error);
}

BlockNode *kit_open(const char *name, const char *format)
{
    g_autoptr(GError) error = NULL;
    BlockNode *node = kit_try_open(name, format, &error);
    g_assert_no_error(error);
    g_assert_nonnull(node);
    return node;
}

void kit_refused(const char *name, const char *format, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(kit_try_open(name, format, &error));
    g_assert_nonnull(error);
    if (!strstr(error->message, text) || !strstr(error->message, name)) {
        g_error("'%s' is not about '%s' of '%s'", error->message, text, name);
    }
}

void kit_compare(BlockNode *node, const uint8_t *data, uint64_t size)
{
    static const uint64_t pieces[] = { 1 * MIB, 65536, 3 * MIB + 512, 4096, 700 * 512, 100 };
    uint64_t length = block_node_length(node);
    g_assert_cmpuint(length, >=, size);
    g_autofree uint8_t *buffer = g_malloc(4 * MIB);
    for (uint64_t offset = 0, i = 0; offset < length; i++) {
        uint64_t n = MIN(pieces[i % G_N_ELEMENTS(pieces)], length - offset);
        memset(buffer, 0xa5, n);
        g_assert_cmpint(block_pread(node, offset, buffer, n), ==, 0);
        for (uint64_t k = 0; k < n; k++) {
            uint8_t wanted = offset + k < size ? data[offset + k] : 0;
            if (buffer[k] != wanted) {
                g_error("%s: byte %" G_GUINT64_FORMAT " is %02x, not %02x",
                        block_node_filename(node), offset + k, buffer[k], wanted);
            }
        }
        offset += n;
    }
}
