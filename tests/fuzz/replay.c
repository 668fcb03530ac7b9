/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for libFuzzer: runs a target over saved inputs, or over inputs made of a seed. */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_BYTES 2048

static void run_file(const char *path)
{
    g_autofree char *data = NULL;
    gsize size;
    if (!g_file_get_contents(path, &data, &size, NULL)) {
        g_error("cannot read %s", path);
    }
    LLVMFuzzerTestOneInput((uint8_t *)data, size);
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

/* replay COUNT [FILE | FOLDER]... */
int main(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        if (g_file_test(argv[i], G_FILE_TEST_IS_DIR)) {
            run_folder(argv[i]);
        } else {
            run_file(argv[i]);
        }
    }
    run_random(argc > 1 ? atoi(argv[1]) : 0);
    return 0;
}
