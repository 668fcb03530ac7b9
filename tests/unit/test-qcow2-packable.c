/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said not to get smaller by packing does not; what packs well is never left alone. */
#include <zlib.h>
#include "tests/unit/qcow2-kit.h"

#define LENGTH (64 * KIB)

static size_t packed_size(const uint8_t *data)
{
    g_autofree uint8_t *out = g_malloc(2 * LENGTH);
    z_stream z = {
        .next_in = (uint8_t *)data, .avail_in = LENGTH, .next_out = out, .avail_out = 2 * LENGTH
    };
    g_assert_cmpint(deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY),
                    ==, Z_OK);
    g_assert_cmpint(deflate(&z, Z_FINISH), ==, Z_STREAM_END);
    deflateEnd(&z);
    return 2 * LENGTH - z.avail_out;
}

static void fill_random(uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        data[i] = (uint8_t)g_test_rand_int_range(0, 256);
    }
}

static void random_bytes_are_not_packed(void)
{
    g_autofree uint8_t *data = g_malloc(LENGTH);
    for (int i = 0; i < 20; i++) {
        fill_random(data, LENGTH);
        g_assert_false(qcow2_is_packable(data, LENGTH));
    }
}

static void packed_bytes_are_not_packed_again(void)
{
    g_autofree uint8_t *text = g_malloc(16 * LENGTH), *out = g_malloc(16 * LENGTH);
    for (size_t i = 0; i < 16 * LENGTH; i++) {
        text[i] = (uint8_t)('a' + g_test_rand_int_range(0, 26));
    }
    uLongf length = 16 * LENGTH;
    g_assert_cmpint(compress(out, &length, text, 16 * LENGTH), ==, Z_OK);
    g_assert_cmpuint(length, >, 3 * LENGTH);
    g_assert_false(qcow2_is_packable(out + LENGTH, LENGTH));
}

/* Every byte comes as often as any other in these. */
static void even_bytes_with_repeats_are_packed(void)
{
    g_autofree uint8_t *data = g_malloc(LENGTH);
    for (size_t i = 0; i < LENGTH; i++) {
        data[i] = (uint8_t)i;
    }
    g_assert_true(qcow2_is_packable(data, LENGTH));
    for (uint32_t i = 0; i < LENGTH / 4; i++) { /* a table of numbers, turned about */
        uint32_t value = i * 0x01010101u + (i >> 3);
        memcpy(data + i * 4, &value, 4);
    }
    g_assert_true(qcow2_is_packable(data, LENGTH) || packed_size(data) > LENGTH * 98 / 100);
    fill_random(data, LENGTH);
    memcpy(data + 3000, data, 2000);
    g_assert_true(qcow2_is_packable(data, LENGTH));
}

static void little_is_always_tried(void)
{
    uint8_t data[512];
    fill_random(data, sizeof(data));
    g_assert_true(qcow2_is_packable(data, sizeof(data)));
}

/* Mixtures of random and regular stretches, and bytes of fewer values: who is sent away would have
 * saved less than two percent. Every tenth is wholly random, so that some are sent away. */
static void who_is_sent_away_misses_little(void)
{
    g_autofree uint8_t *data = g_malloc(LENGTH);
    unsigned sent_away = 0;
    for (int i = 0; i < 300; i++) {
        bool random = i % 10 == 0;
        int values = random ? 256 : g_test_rand_int_range(200, 257);
        int stretch = g_test_rand_int_range(4, 4000);
        for (size_t at = 0; at < LENGTH; at++) {
            data[at] = (uint8_t)g_test_rand_int_range(0, values);
        }
        for (int k = random ? 0 : g_test_rand_int_range(0, 20); k > 0; k--) {
            size_t to = (size_t)g_test_rand_int_range(0, LENGTH - stretch);
            size_t from = (size_t)g_test_rand_int_range(0, LENGTH - stretch);
            memmove(data + to, data + from, (size_t)stretch);
        }
        if (!qcow2_is_packable(data, LENGTH)) {
            sent_away++;
            g_assert_cmpuint(packed_size(data), >, LENGTH * 98 / 100);
        }
    }
    g_assert_cmpuint(sent_away, >=, 30);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2-packable/random", random_bytes_are_not_packed);
    g_test_add_func("/qcow2-packable/packed", packed_bytes_are_not_packed_again);
    g_test_add_func("/qcow2-packable/repeats", even_bytes_with_repeats_are_packed);
    g_test_add_func("/qcow2-packable/little", little_is_always_tried);
    g_test_add_func("/qcow2-packable/mixtures", who_is_sent_away_misses_little);
    return g_test_run();
}
