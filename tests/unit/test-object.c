/* SPDX-License-Identifier: GPL-2.0-or-later */
/* User-creatable objects: creation, look-up, use, deletion. */
#include <string.h>
#include "vmm/object/iothread.h"
#include "vmm/object/memory_backend.h"
#include "vmm/object/object.h"
#include "vmm/object/rng.h"
#include "vmm/util/bytes.h"

static Object *create(const char *type, const char *id, const char *props, GError **error)
{
    json_object *json = json_tokener_parse(props);
    Object *obj = object_create(type, id, json, error);
    json_object_put(json);
    return obj;
}

static void assert_refused(const char *type, const char *id, const char *props, const char *says)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(create(type, id, props, &error));
    g_assert_nonnull(strstr(error->message, says));
}

static void test_memory_backend_is_claimed_once_and_by_its_size(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_nonnull(create("memory-backend-memfd", "m0", "{\"size\":\"4M\"}", NULL));
    g_assert_null(memory_backend_claim("m0", 8 * MIB, &error));
    g_clear_error(&error);
    RamBlock *block = memory_backend_claim("m0", 4 * MIB, NULL);
    g_assert_nonnull(block);
    g_assert_true(block->shared);
    g_assert_cmpint(block->fd, >=, 0);
    g_assert_null(memory_backend_claim("m0", 4 * MIB, &error));
    g_clear_error(&error);
    g_assert_false(object_delete("m0", &error));
    g_assert_nonnull(strstr(error->message, "in use"));
    objects_delete_all();
    g_assert_null(object_find("m0"));
}

static void note_call(void *opaque)
{
    *(int *)opaque = event_loop_thread_id(event_loop_current());
}

static void test_iothread_runs_until_it_is_deleted(void)
{
    g_assert_nonnull(create("iothread", "io0", "{\"poll-max-ns\":0}", NULL));
    EventLoop *loop = iothread_claim("io0", NULL);
    g_assert_nonnull(loop);
    int tid = 0;
    event_loop_call(loop, note_call, &tid);
    g_assert_cmpint(tid, >, 0);
    g_assert_cmpint(tid, ==, event_loop_thread_id(loop));
    g_assert_false(object_delete("io0", NULL));
    iothread_release("io0");
    g_assert_true(object_delete("io0", NULL));
}

static void test_random_objects_give_bytes(void)
{
    uint8_t zero[32] = { 0 }, data[32] = { 0 };
    Object *rng = create("rng-random", "r0", "{\"filename\":\"/dev/urandom\"}", NULL);
    g_assert_cmpint(rng_read(rng, data, sizeof(data)), ==, sizeof(data));
    g_assert_true(memcmp(data, zero, sizeof(data)) != 0);
    g_assert_cmpint(rng_read(NULL, data, sizeof(data)), ==, sizeof(data));
    objects_delete_all();
}

static void test_wrong_objects_are_refused(void)
{
    assert_refused("iothraed", "a", "{}", "did you mean 'iothread'");
    assert_refused("iothread", "0a", "{}", "expects an identifier");
    assert_refused("iothread", "a", "{\"nosuch\":1}", "iothread has no property 'nosuch'");
    assert_refused("iothread", "a", "{\"poll-max-ns\":\"x\"}", "poll-max-ns");
    assert_refused("iothread", "a", "{\"poll-max-ns\":-1}", "a number from 0 to");
    assert_refused("memory-backend-ram", "a", "{}", "'size' is missing");
    assert_refused("memory-backend-file", "a", "{\"size\":\"1M\"}", "mem-path");
    assert_refused("memory-backend-file", "a", "{\"size\":\"1M\",\"mem-path\":\"/nosuch/dir/f\"}",
                   "/nosuch/dir/f");
    assert_refused("rng-random", "a", "{\"filename\":\"/nosuch\"}", "/nosuch");
    g_assert_nonnull(create("iothread", "twice", "{}", NULL));
    assert_refused("iothread", "twice", "{}", "an object 'twice' already");
    objects_delete_all();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/object/memory-backend", test_memory_backend_is_claimed_once_and_by_its_size);
    g_test_add_func("/object/iothread", test_iothread_runs_until_it_is_deleted);
    g_test_add_func("/object/rng", test_random_objects_give_bytes);
    g_test_add_func("/object/wrong", test_wrong_objects_are_refused);
    return g_test_run();
}
