/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for libFuzzer: runs a target over saved inputs, or over inputs made of a seed. */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

#define INPUT_BYTES 2048
#define MUTATIONS   8 /* at most, in one variant of a saved input */

static unsigned variants; /* of each saved input */

/* Changes, repeats or drops a few bytes. */
static void mutate(GByteArray *input, GRand *random)
{
    int changes = g_rand_int_range(random, 1, MUTATIONS + 1);
    for (int i = 0; i < changes && input->len; i++) {
        guint at = (guint)g_rand_int_range(random, 0, (gint32)input->len);
        guint run = (guint)g_rand_int_range(random, 1, 9);
        switch (g_rand_int_range(random, 0, 4)) {
        case 0:
            input->data[at] ^= (uint8_t)(1u << g_rand_int_range(random, 0, 8));
            break;
        case 1:
            input->data[at] = (uint8_t)g_rand_int_range(random, 0, 256);
            break;
        case 2:
            g_byte_array_remove_range(input, at, MIN(run, input->len - at));
            break;
        default: {
            g_autofree uint8_t *copy = g_memdup2(input->data + at, MIN(run, input->len - at));
            g_byte_array_append(input, copy, MIN(run, input->len - at));
            break;
        }
        }
    }
}

static void run_file(const char *path)
{
    g_autofree char *data = NULL;
    gsize size;
    if (!g_file_get_contents(path, &data, &size, NULL)) {
        g_error("cannot read %s", path);
    }
    LLVMFuzzerTestOneInput((uint8_t *)data, size);
    for (unsigned seed = 0; seed < variants; seed++) {
        g_autoptr(GByteArray) input = g_byte_array_new();
        GRand *random = g_rand_new_with_seed(seed);
        g_byte_array_append(input, (uint8_t *)data, (guint)size);
        mutate(input, random);
        g_rand_free(random);
        LLVMFuzzerTestOneInput(input->data, input->len);
    }
}

static void run_folder(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        run_file(file);
    }
}

/* Deterministic, so that a failure can be repeated: the runs' seeds are 0 to count - 1. */
static void run_random(unsigned count)
{
    for (unsigned seed = 0; seed < count; seed++) {
        uint8_t data[INPUT_BYTES];
        GRand *random = g_rand_new_with_seed(seed);
        size_t size = g_rand_int_range(random, 0, sizeof(data) + 1);
        bool small = g_rand_boolean(random);
        for (size_t i = 0; i < size; i++) {
            data[i] = g_rand_int_range(random, 0, small && g_rand_boolean(random) ? 8 : 256);
        }
        g_rand_free(random);
        LLVMFuzzerTestOneInput(data, size);
    }
}

/* replay COUNT [FILE | FOLDER]...: the saved inputs, COUNT / 10 variants of each, COUNT random ones
 */
int main(int argc, char **argv)
{
    unsigned count = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    variants = count / 10;
    if (LLVMFuzzerInitialize) {
        LLVMFuzzerInitialize(&argc, &argv);
    }
    for (int i = 2; i < argc; i++) {
        if (g_file_test(argv[i], G_FILE_TEST_IS_DIR)) {
            run_folder(argv[i]);
        } else if (g_file_test(argv[i], G_FILE_TEST_EXISTS)) { /* no folder: no saved inputs yet */
            run_file(argv[i]);
        }
    }
    run_random(count);
    return 0;
}
