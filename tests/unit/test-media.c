/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Removable media: trays, locks, changing a medium under requests. */
#include <errno.h>
#include <unistd.h>
#include "block/block.h"

typedef struct Cd {
    EventLoop *loop;
    BlockBackend *backend;
    char *paths[2];
    unsigned loads, unloads, asked;
    bool last_forced;
} Cd;

static GPtrArray *tray_events; /* "ID:open" */

static void note_event(const char *event, json_object *data)
{
    json_object *id, *open;
    g_assert_cmpstr(event, ==, "DEVICE_TRAY_MOVED");
    g_assert_true(json_object_object_get_ex(data, "id", &id));
    g_assert_true(json_object_object_get_ex(data, "tray-open", &open));
    g_ptr_array_add(tray_events, g_strdup_printf("%s:%s", json_object_get_string(id),
                                                 json_object_get_string(open)));
    json_object_put(data);
}

static const BlockErrorHooks hooks = { .emit = note_event };

static void media_changed(void *opaque, bool loaded)
{
    Cd *cd = opaque;
    cd->loads += loaded;
    cd->unloads += !loaded;
}

static void eject_request(void *opaque, bool force)
{
    Cd *cd = opaque;
    cd->asked++;
    cd->last_forced = force;
}

static const BlockBackendEvents events = { .media_changed = media_changed,
                                           .eject_request = eject_request };

static char *make_image(uint8_t byte, size_t size)
{
    char *path = g_strdup("test-media-XXXXXX");
    g_autofree uint8_t *data = g_malloc(size);
    int fd = g_mkstemp(path);
    memset(data, byte, size);
    g_assert_cmpint(write(fd, data, size), ==, size);
    close(fd);
    return path;
}

static void cd_open(Cd *cd, const char *drive, bool has_tray)
{
    g_autoptr(GError) error = NULL;
    *cd = (Cd){ .paths = { make_image('a', 65536), make_image('b', 131072) } };
    tray_events = g_ptr_array_new_with_free_func(g_free);
    block_set_error_hooks(&hooks);
    cd->loop = event_loop_new("cd", LOOP_ENGINE_EPOLL, &error);
    g_assert_true(event_loop_start(cd->loop, &error));
    if (drive) {
        g_autofree char *text =
            g_strdup_printf("if=none,id=%s,media=cdrom,format=raw,file=%s", drive, cd->paths[0]);
        g_autoptr(Opts) opts = opts_parse(text, NULL, &error);
        g_assert_nonnull(drive_add(opts, "virtio", &error));
    }
    cd->backend = block_backend_attach_removable(drive, "dev", true, has_tray, &error);
    g_assert_no_error(error);
    block_backend_set_events(cd->backend, &events, cd);
    g_assert_true(block_backend_add_loop(cd->backend, cd->loop, &error));
}

static void cd_close(Cd *cd)
{
    block_backend_detach(cd->backend);
    drives_close();
    event_loop_free(cd->loop);
    for (unsigned i = 0; i < 2; i++) {
        unlink(cd->paths[i]);
        g_free(cd->paths[i]);
    }
    g_ptr_array_unref(tray_events);
    block_set_error_hooks(NULL);
}

typedef struct Read {
    BlockRequest request;
    BlockBackend *backend;
    uint8_t data[512];
    struct iovec iov;
    int ret;
    _Atomic bool done;
} Read;

static void read_done(BlockRequest *request, int ret)
{
    Read *r = request->opaque;
    r->ret = ret;
    r->done = true;
}

static void read_submit(void *opaque)
{
    Read *r = opaque;
    block_submit(r->backend, &r->request);
}

static void read_start(Cd *cd, Read *r)
{
    *r = (Read){ .backend = cd->backend };
    r->iov = (struct iovec){ r->data, sizeof(r->data) };
    r->request = (BlockRequest){ .op = BLOCK_READ,
                                 .bytes = sizeof(r->data),
                                 .iov = &r->iov,
                                 .iov_count = 1,
                                 .done = read_done,
                                 .opaque = r };
    event_loop_call(cd->loop, read_submit, r);
}

/* The byte that sector 0 is full of, or -errno. */
static int read_byte(Cd *cd)
{
    Read r;
    read_start(cd, &r);
    while (!r.done) {
        g_usleep(100);
    }
    return r.ret < 0 ? r.ret : r.data[511];
}

#define ASSERT_FAILS(call, part)                                                                   \
    do {                                                                                           \
        g_autoptr(GError) error = NULL;                                                            \
        g_assert_false(call);                                                                      \
        g_assert_nonnull(error);                                                                   \
        g_assert_nonnull(strstr(error->message, part));                                            \
    } while (0)

static void an_ejected_medium_is_gone_and_another_can_come(void)
{
    Cd cd;
    g_autoptr(GError) error = NULL;
    cd_open(&cd, "cd0", true);
    g_assert_cmpint(read_byte(&cd), ==, 'a');
    g_assert_true(block_backend_loaded(cd.backend));
    g_assert_true(block_media_eject(cd.backend, false, &error));
    g_assert_false(block_backend_inserted(cd.backend));
    g_assert_cmpint(block_backend_length(cd.backend), ==, 0);
    g_assert_cmpint(read_byte(&cd), ==, -ENOMEDIUM);
    g_assert_cmpint(cd.unloads, ==, 1);
    g_assert_true(
        block_media_change(cd.backend, cd.paths[1], "raw", false, BLOCK_READONLY_RETAIN, &error));
    g_assert_no_error(error);
    g_assert_cmpint(cd.loads, ==, 1);
    g_assert_cmpint(block_backend_length(cd.backend), ==, 131072);
    g_assert_true(block_backend_readonly(cd.backend));
    g_assert_cmpint(read_byte(&cd), ==, 'b');
    g_assert_cmpint(tray_events->len, ==, 2);
    g_assert_cmpstr(tray_events->pdata[0], ==, "dev:true");
    g_assert_cmpstr(tray_events->pdata[1], ==, "dev:false");
    cd_close(&cd);
}

static void a_locked_door_is_asked_for_or_forced(void)
{
    Cd cd;
    g_autoptr(GError) none = NULL;
    cd_open(&cd, "cd0", true);
    block_backend_set_locked(cd.backend, true);
    ASSERT_FAILS(block_media_eject(cd.backend, false, &error), "force=true");
    g_assert_cmpint(cd.asked, ==, 1);
    g_assert_false(cd.last_forced);
    g_assert_cmpint(read_byte(&cd), ==, 'a');
    /* blockdev-open-tray only asks. */
    g_assert_true(block_media_open_tray(cd.backend, false, &none));
    g_assert_false(block_backend_tray_open(cd.backend));
    g_assert_cmpint(cd.asked, ==, 2);
    g_assert_true(block_media_eject(cd.backend, true, &none));
    g_assert_true(cd.last_forced);
    g_assert_cmpint(read_byte(&cd), ==, -ENOMEDIUM);
    cd_close(&cd);
}

static void the_tray_must_be_open_for_a_medium_to_move(void)
{
    Cd cd;
    g_autoptr(GError) none = NULL;
    cd_open(&cd, "cd0", true);
    ASSERT_FAILS(block_media_remove(cd.backend, &error), "is shut");
    ASSERT_FAILS(block_media_insert(cd.backend, "none", &error), "is shut");
    g_assert_true(block_media_open_tray(cd.backend, false, &none));
    g_assert_cmpint(cd.unloads, ==, 1);
    ASSERT_FAILS(block_media_insert(cd.backend, "none", &error), "holds a medium");
    g_assert_true(block_media_remove(cd.backend, &none));
    g_assert_true(block_media_remove(cd.backend, &none)); /* nothing more to take */
    ASSERT_FAILS(block_media_insert(cd.backend, "none", &error), "no node 'none'");
    g_autofree char *text = g_strdup_printf(
        "driver=raw,node-name=other,read-only=on,file.driver=file,file.filename=%s", cd.paths[1]);
    g_autoptr(Opts) opts = opts_parse(text, NULL, &none);
    g_assert_nonnull(block_node_open(opts, &none));
    g_assert_true(block_media_insert(cd.backend, "other", &none));
    ASSERT_FAILS(block_node_delete("other", &error), "in use");
    g_assert_cmpint(cd.loads, ==, 0);
    g_assert_true(block_media_close_tray(cd.backend, &none));
    g_assert_cmpint(cd.loads, ==, 1);
    g_assert_cmpint(read_byte(&cd), ==, 'b');
    g_assert_true(block_media_eject(cd.backend, false, &none));
    g_assert_true(block_node_delete("other", &none));
    cd_close(&cd);
}

static void a_drive_without_a_tray_tells_of_each_change(void)
{
    Cd cd;
    g_autoptr(GError) none = NULL;
    cd_open(&cd, NULL, false);
    g_assert_cmpint(read_byte(&cd), ==, -ENOMEDIUM);
    ASSERT_FAILS(block_media_open_tray(cd.backend, false, &error), "has no tray");
    g_assert_true(
        block_media_change(cd.backend, cd.paths[0], "raw", false, BLOCK_READONLY_RETAIN, &none));
    g_assert_cmpint(cd.loads, ==, 1);
    g_assert_cmpint(read_byte(&cd), ==, 'a');
    g_assert_true(
        block_media_change(cd.backend, cd.paths[1], "raw", false, BLOCK_READONLY_ON, &none));
    g_assert_cmpint(cd.loads, ==, 2);
    g_assert_cmpint(cd.unloads, ==, 1);
    g_assert_cmpint(read_byte(&cd), ==, 'b');
    g_assert_cmpint(tray_events->len, ==, 0);
    cd_close(&cd);
}

static void a_file_that_cannot_be_opened_leaves_the_medium(void)
{
    Cd cd;
    cd_open(&cd, "cd0", true);
    ASSERT_FAILS(block_media_change(cd.backend, "/nonexistent/x.iso", "raw", false,
                                    BLOCK_READONLY_RETAIN, &error),
                 "x.iso");
    g_assert_cmpint(tray_events->len, ==, 0);
    g_assert_cmpint(read_byte(&cd), ==, 'a');
    cd_close(&cd);
}

/* Each request ends once, with the old medium's data, the new one's, or without a medium. */
static void media_change_while_the_guest_reads(void)
{
    enum { ROUNDS = 100, DEPTH = 16 };
    Cd cd;
    g_autoptr(GError) none = NULL;
    g_autofree Read *reads = g_new0(Read, DEPTH);
    cd_open(&cd, "cd0", true);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < DEPTH; i++) {
            read_start(&cd, &reads[i]);
        }
        g_assert_true(block_media_change(cd.backend, cd.paths[round & 1], "raw", false,
                                         BLOCK_READONLY_RETAIN, &none));
        for (unsigned i = 0; i < DEPTH; i++) {
            g_assert_true(reads[i].done); /* removal drains */
            g_assert_true(reads[i].ret == 0 || reads[i].ret == -ENOMEDIUM);
            g_assert_true(reads[i].ret < 0 || reads[i].data[0] == 'a' || reads[i].data[0] == 'b');
        }
    }
    cd_close(&cd);
}

static void drives_are_found_by_drive_device_and_neither(void)
{
    Cd cd;
    g_autoptr(GError) none = NULL;
    cd_open(&cd, "cd0", true);
    g_assert_true(block_backend_find("cd0", NULL, &none) == cd.backend);
    g_assert_true(block_backend_find(NULL, "dev", &none) == cd.backend);
    ASSERT_FAILS(block_backend_find("dev", NULL, &error), "no device 'dev'");
    ASSERT_FAILS(block_backend_find("cd0", "dev", &error), "either by 'id'");
    ASSERT_FAILS(block_backend_find(NULL, NULL, &error), "either by 'id'");
    cd_close(&cd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
    g_test_add_func("/media/an-ejected-medium-is-gone-and-another-can-come",
                    an_ejected_medium_is_gone_and_another_can_come);
    g_test_add_func("/media/a-locked-door-is-asked-for-or-forced",
                    a_locked_door_is_asked_for_or_forced);
    g_test_add_func("/media/the-tray-must-be-open-for-a-medium-to-move",
                    the_tray_must_be_open_for_a_medium_to_move);
    g_test_add_func("/media/a-drive-without-a-tray-tells-of-each-change",
                    a_drive_without_a_tray_tells_of_each_change);
    g_test_add_func("/media/a-file-that-cannot-be-opened-leaves-the-medium",
                    a_file_that_cannot_be_opened_leaves_the_medium);
    g_test_add_func("/media/media-change-while-the-guest-reads",
                    media_change_while_the_guest_reads);
    g_test_add_func("/media/drives-are-found-by-drive-device-and-neither",
                    drives_are_found_by_drive_device_and_neither);
    return g_test_run();
}
