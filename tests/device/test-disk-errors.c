/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks that fail under a running machine: the error policies from the guest's request to the
 * monitor's event and back. A file size limit of the process, or a small file system, makes writes
 * fail and lets them pass again.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include "tests/device/libqtest.h"

#define DISK_BYTES (4 << 20)
#define LIMIT      (1 << 20)
#define PART       65536
#define F_V1       (1ULL << 32)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4 };
enum { S_OK = 0, S_IOERR = 1, S_UNTOUCHED = 0xee };

typedef struct Slot {
    uint64_t header, data, status;
} Slot;

typedef struct Disk {
    char *path;
    QTest *qts;
    QVirtio *dev;
    QVirtQueue *vq;
    Slot slots[4];
} Disk;

static void driver_start(Disk *d)
{
    d->dev = qvirtio_new(qpci_find(d->qts, 0x1af4, 0x1001, 0));
    qvirtio_reset(d->dev);
    qvirtio_negotiate(d->dev, F_V1);
    d->vq = qvirtqueue_new(d->dev, 0, 64, 0xffff);
    qvirtio_driver_ok(d->dev);
}

static void disk_start(Disk *d, const char *drive, const char *device)
{
    int fd = open(d->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, DISK_BYTES), ==, 0);
    close(fd);
    d->qts = qtest_start("-drive if=none,id=d,node-name=n,format=raw,file='%s'%s "
                         "-device virtio-blk-pci,id=v,drive=d%s",
                         d->path, drive, device);
    driver_start(d);
    for (unsigned i = 0; i < G_N_ELEMENTS(d->slots); i++) {
        d->slots[i] = (Slot){ qtest_alloc(d->qts, 64, 64), qtest_alloc(d->qts, PART, 4096),
                              qtest_alloc(d->qts, 64, 64) };
        qtest_memset(d->qts, d->slots[i].data, 0x10 + i, PART);
    }
}

static void disk_open(Disk *d, const char *drive, const char *device)
{
    g_autofree char *here = g_get_current_dir();
    d->path = g_build_filename(here, "test-disk-errors.raw", NULL);
    disk_start(d, drive, device);
}

static void disk_close(Disk *d)
{
    qvirtqueue_free(d->vq);
    qvirtio_free(d->dev);
    qtest_stop(d->qts);
    g_unlink(d->path);
    g_free(d->path);
}

/* The process may write files up to that many bytes only. */
static void set_limit(Disk *d, rlim_t bytes)
{
    struct rlimit limit;
    g_assert_cmpint(prlimit(d->qts->pid, RLIMIT_FSIZE, NULL, &limit), ==, 0);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    g_assert_cmpint(prlimit(d->qts->pid, RLIMIT_FSIZE, &limit, NULL), ==, 0);
}

static void submit(Disk *d, unsigned slot, uint32_t type, uint64_t offset)
{
    const Slot *s = &d->slots[slot];
    QBuffer buffers[] = { { s->header, 16, false },
                          { s->data, PART, type == T_IN },
                          { s->status, 1, true } };
    qtest_write(d->qts, s->header, type, 8);
    qtest_write(d->qts, s->header + 8, offset / 512, 8);
    qtest_write(d->qts, s->status, S_UNTOUCHED, 1);
    qvirtqueue_add(d->vq, buffers, G_N_ELEMENTS(buffers));
    qvirtqueue_kick(d->vq);
}

static uint8_t status_of(Disk *d, unsigned slot)
{
    return qtest_read(d->qts, d->slots[slot].status, 1);
}

static void expect_run_state(Disk *d, const char *state)
{
    json_object *info = qtest_qmp_ok(d->qts, "{'execute':'query-status'}");
    g_assert_cmpstr(json_text(info, "status"), ==, state);
    json_object_put(info);
}

static void expect_io_status(Disk *d, const char *status)
{
    json_object *list = qtest_qmp_ok(d->qts, "{'execute':'query-block'}");
    json_object *disk = json_object_array_get_idx(list, 0);
    g_assert_cmpstr(json_text(disk, "io-status"), ==, status);
    json_object_put(list);
}

static void expect_event(Disk *d, const char *action, bool nospace, int errnum)
{
    json_object *event = qtest_event(d->qts, "BLOCK_IO_ERROR");
    json_object *data = json_at(event, "data");
    g_assert_cmpstr(json_text(data, "device"), ==, "d");
    g_assert_cmpstr(json_text(data, "qom-path"), ==, "/machine/peripheral/v/virtio-backend");
    g_assert_cmpstr(json_text(data, "node-name"), ==, "n");
    g_assert_cmpstr(json_text(data, "operation"), ==, "write");
    g_assert_cmpstr(json_text(data, "action"), ==, action);
    g_assert_cmpint(json_object_get_boolean(json_at(data, "nospace")), ==, nospace);
    g_assert_cmpstr(json_text(data, "reason"), ==, g_strerror(errnum));
    json_object_put(event);
}

static void expect_file(Disk *d, uint64_t offset, uint8_t value)
{
    g_autofree uint8_t *bytes = g_malloc(PART);
    int fd = open(d->path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(pread(fd, bytes, PART, (off_t)offset), ==, PART);
    close(fd);
    for (unsigned i = 0; i < PART; i++) {
        g_assert_cmphex(bytes[i], ==, value);
    }
}

static void cont(Disk *d)
{
    json_object_put(qtest_qmp_ok(d->qts, "{'execute':'cont'}"));
}

/* Requests behind and across the limit: kept, the machine stopped, and written after `cont`. */
static void check_stop(const char *drive, const char *device)
{
    Disk d;
    disk_open(&d, drive, device);
    set_limit(&d, LIMIT);
    submit(&d, 0, T_OUT, 0);
    qvirtqueue_wait(d.vq, NULL);
    g_assert_cmphex(status_of(&d, 0), ==, S_OK);
    submit(&d, 1, T_OUT, 2 * LIMIT);
    expect_event(&d, "stop", false, EFBIG);
    json_object_put(qtest_event(d.qts, "STOP"));
    expect_run_state(&d, "io-error");
    expect_io_status(&d, "failed");
    g_assert_cmphex(status_of(&d, 1), ==, S_UNTOUCHED);
    /* Nothing has changed: it stops again and still nothing is lost. */
    cont(&d);
    expect_event(&d, "stop", false, EFBIG);
    json_object_put(qtest_event(d.qts, "STOP"));
    expect_run_state(&d, "io-error");
    set_limit(&d, RLIM_INFINITY);
    cont(&d);
    json_object_put(qtest_event(d.qts, "RESUME"));
    qvirtqueue_wait(d.vq, NULL);
    g_assert_cmphex(status_of(&d, 1), ==, S_OK);
    expect_run_state(&d, "running");
    expect_io_status(&d, "ok");
    expect_file(&d, 0, 0x10);
    expect_file(&d, 2 * LIMIT, 0x11);
    disk_close(&d);
}

static void test_stop(void)
{
    check_stop(",werror=stop", "");
}

static void test_stop_in_iothread(void)
{
    check_stop("", ",werror=stop,iothread=io -object iothread,id=io");
}

static void test_stop_qom_path_resolves(void)
{
    Disk d;
    disk_open(&d, ",werror=stop", "");
    json_object *type = qtest_qmp_ok(d.qts,
                                     "{'execute':'qom-get','arguments':{'path':"
                                     "'/machine/peripheral/v/virtio-backend','property':'drive'}}");
    g_assert_cmpstr(json_object_get_string(type), ==, "d");
    json_object_put(type);
    disk_close(&d);
}

/* Several requests fail at once; a write that crosses the limit is written whole in the end. */
static void test_several_kept(void)
{
    Disk d;
    disk_open(&d, ",werror=stop", "");
    set_limit(&d, LIMIT);
    submit(&d, 1, T_OUT, LIMIT - 4096);
    submit(&d, 2, T_OUT, 2 * LIMIT);
    submit(&d, 3, T_OUT, 3 * LIMIT);
    json_object_put(qtest_event(d.qts, "STOP"));
    expect_run_state(&d, "io-error");
    set_limit(&d, RLIM_INFINITY);
    for (int done = 0; done < 3; done++) {
        uint16_t id;
        uint32_t len;
        while (!qvirtqueue_used(d.vq, &id, &len)) {
            cont(&d); /* a request may have failed after the stop; then there is one more */
            g_usleep(1000);
        }
    }
    for (unsigned i = 1; i <= 3; i++) {
        g_assert_cmphex(status_of(&d, i), ==, S_OK);
    }
    expect_file(&d, LIMIT - 4096, 0x11);
    expect_file(&d, 2 * LIMIT, 0x12);
    expect_file(&d, 3 * LIMIT, 0x13);
    disk_close(&d);
}

/* A stopped machine is reset: the guest's new driver finds a working disk, the old request is
 * forgotten. */
static void test_reset_forgets(void)
{
    Disk d;
    disk_open(&d, ",werror=stop", "");
    set_limit(&d, LIMIT);
    submit(&d, 1, T_OUT, 2 * LIMIT);
    json_object_put(qtest_event(d.qts, "STOP"));
    qvirtqueue_free(d.vq);
    qvirtio_free(d.dev);
    json_object_put(qtest_qmp_ok(d.qts, "{'execute':'system_reset'}"));
    json_object_put(qtest_event(d.qts, "RESET"));
    set_limit(&d, RLIM_INFINITY);
    cont(&d);
    driver_start(&d);
    submit(&d, 2, T_OUT, 3 * LIMIT);
    qvirtqueue_wait(d.vq, NULL);
    g_assert_cmphex(status_of(&d, 2), ==, S_OK);
    expect_file(&d, 3 * LIMIT, 0x12);
    expect_file(&d, 2 * LIMIT, 0);
    disk_close(&d);
}

/* Requests that never got through do not keep the process from ending. */
static void test_quit_with_kept(void)
{
    Disk d;
    disk_open(&d, ",werror=stop", "");
    set_limit(&d, LIMIT);
    submit(&d, 1, T_OUT, 2 * LIMIT);
    json_object_put(qtest_event(d.qts, "STOP"));
    disk_close(&d);
}

static void check_no_stop(const char *drive, const char *action, uint8_t status)
{
    Disk d;
    disk_open(&d, drive, "");
    set_limit(&d, LIMIT);
    submit(&d, 1, T_OUT, 2 * LIMIT);
    qvirtqueue_wait(d.vq, NULL);
    g_assert_cmphex(status_of(&d, 1), ==, status);
    expect_event(&d, action, false, EFBIG);
    expect_run_state(&d, "running");
    set_limit(&d, RLIM_INFINITY);
    submit(&d, 1, T_OUT, 2 * LIMIT);
    qvirtqueue_wait(d.vq, NULL);
    g_assert_cmphex(status_of(&d, 1), ==, S_OK);
    expect_file(&d, 2 * LIMIT, 0x11);
    disk_close(&d);
}

static void test_report(void)
{
    check_no_stop(",werror=report", "report", S_IOERR);
    /* The default stops for lack of space only. */
    check_no_stop("", "report", S_IOERR);
}

static void test_ignore(void)
{
    check_no_stop(",werror=ignore", "ignore", S_OK);
}

/* ---- A file system that is full ---- */

/* A tmpfs of 1 MiB of our own; false where that is not permitted. */
static bool mount_small(const char *dir)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("vireo", dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m") == 0;
}

static void test_no_space(void)
{
    Disk d;
    g_autofree char *dir = g_dir_make_tmp("vireo-full-XXXXXX", NULL);
    if (!mount_small(dir)) {
        g_test_skip("no file system can be mounted here");
        g_rmdir(dir);
        return;
    }
    d.path = g_build_filename(dir, "disk.raw", NULL);
    g_autofree char *ballast = g_build_filename(dir, "ballast", NULL);
    g_autofree char *junk = g_malloc0(960 << 10);
    disk_start(&d, "", ""); /* "enospc" is the default */
    g_assert_true(g_file_set_contents(ballast, junk, 960 << 10, NULL));
    submit(&d, 0, T_OUT, 0);
    submit(&d, 1, T_OUT, LIMIT);
    expect_event(&d, "stop", true, ENOSPC);
    json_object_put(qtest_event(d.qts, "STOP"));
    expect_run_state(&d, "io-error");
    expect_io_status(&d, "nospace");
    g_unlink(ballast);
    for (int done = 0; done < 2; done++) {
        uint16_t id;
        uint32_t len;
        while (!qvirtqueue_used(d.vq, &id, &len)) {
            cont(&d);
            g_usleep(1000);
        }
    }
    g_assert_cmphex(status_of(&d, 0), ==, S_OK);
    g_assert_cmphex(status_of(&d, 1), ==, S_OK);
    expect_file(&d, 0, 0x10);
    expect_file(&d, LIMIT, 0x11);
    disk_close(&d);
    g_assert_cmpint(umount(dir), ==, 0);
    g_rmdir(dir);
}

/* An image whose tables make no sense: an error for the guest, an event, and a machine that goes
 * on. */
static void test_corrupt_image(void)
{
    static const uint8_t nonsense[] = { 0x80, 0, 0, 0, 0, 0x05, 0x12, 0 };
    g_autofree char *here = g_get_current_dir();
    Disk d = { .path = g_build_filename(here, "test-disk-errors.qcow2", NULL) };
    g_autofree char *command = g_strdup_printf(
        "qemu-img create -q -f qcow2 -o preallocation=metadata '%s' %d", d.path, DISK_BYTES);
    uint8_t l1[8], entry[8];
    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
    int fd = open(d.path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(pread(fd, entry, 8, 40), ==, 8); /* the header's l1_table_offset */
    g_assert_cmpint(pread(fd, l1, 8, (off_t)GUINT64_FROM_BE(*(uint64_t *)(void *)entry)), ==, 8);
    uint64_t table = GUINT64_FROM_BE(*(uint64_t *)(void *)l1) & 0x00fffffffffffe00;
    g_assert_cmpint(pwrite(fd, nonsense, 8, (off_t)table), ==, 8);
    close(fd);
    d.qts = qtest_start("-drive if=none,id=d,node-name=n,format=qcow2,file='%s',rerror=report "
                        "-device virtio-blk-pci,id=v,drive=d",
                        d.path);
    driver_start(&d);
    d.slots[0] = (Slot){ qtest_alloc(d.qts, 64, 64), qtest_alloc(d.qts, PART, 4096),
                         qtest_alloc(d.qts, 64, 64) };
    submit(&d, 0, T_IN, 0);
    qvirtqueue_wait(d.vq, NULL);
    g_assert_cmphex(status_of(&d, 0), ==, S_IOERR);
    json_object *event = qtest_event(d.qts, "BLOCK_IMAGE_CORRUPTED");
    g_assert_cmpstr(json_text(json_at(event, "data"), "node-name"), ==, "n");
    json_object_put(event);
    submit(&d, 0, T_OUT, PART); /* the next cluster is sound, but nothing is written any more */
    qvirtqueue_wait(d.vq, NULL);
    g_assert_cmphex(status_of(&d, 0), ==, S_IOERR);
    submit(&d, 0, T_IN, PART);
    qvirtqueue_wait(d.vq, NULL);
    g_assert_cmphex(status_of(&d, 0), ==, S_OK);
    disk_close(&d);
}

static void guess_again(Disk *d)
{
    d->qts = qtest_start("-drive if=none,id=d,node-name=n,file='%s' "
                         "-device virtio-blk-pci,id=v,drive=d",
                         d->path);
    driver_start(d);
}

/* HARDENING 17: nobody said that the image is raw. The guest writes a qcow2 header that names a
 * file of the host's, or another format's: it is refused, and the next start finds the same raw
 * image. */
static void test_guessed_raw(void)
{
    static const char magics[][9] = { "QFI\xfb",      "QED",      "KDMV",    "COWD",
                                      "LUKS\xba\xbe", "vhdxfile", "conectix" };
    g_autofree char *here = g_get_current_dir();
    Disk d = { .path = g_build_filename(here, "test-disk-errors.raw", NULL) };
    int fd = open(d.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    g_assert_cmpint(ftruncate(fd, DISK_BYTES), ==, 0);
    close(fd);
    guess_again(&d);
    d.slots[0] = (Slot){ qtest_alloc(d.qts, 64, 64), qtest_alloc(d.qts, PART, 4096),
                         qtest_alloc(d.qts, 64, 64) };
    for (size_t i = 0; i < G_N_ELEMENTS(magics); i++) {
        qtest_memset(d.qts, d.slots[0].data, 0, PART);
        qtest_memwrite(d.qts, d.slots[0].data, magics[i], 8);
        submit(&d, 0, T_OUT, 0);
        qvirtqueue_wait(d.vq, NULL);
        g_assert_cmphex(status_of(&d, 0), ==, S_IOERR);
        submit(&d, 0, T_OUT, PART); /* elsewhere it is data like any other */
        qvirtqueue_wait(d.vq, NULL);
        g_assert_cmphex(status_of(&d, 0), ==, S_OK);
    }
    qvirtqueue_free(d.vq);
    qvirtio_free(d.dev);
    qtest_stop(d.qts);
    expect_file(&d, 0, 0);
    guess_again(&d);
    json_object *list = qtest_qmp_ok(d.qts, "{'execute':'query-block'}");
    g_assert_cmpstr(json_text(json_object_array_get_idx(list, 0), "inserted.drv"), ==, "raw");
    json_object_put(list);
    disk_close(&d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/disk-errors/stop-keeps-the-request-until-cont", test_stop);
    g_test_add_func("/disk-errors/stop-in-an-iothread", test_stop_in_iothread);
    g_test_add_func("/disk-errors/the-path-of-the-event-resolves", test_stop_qom_path_resolves);
    g_test_add_func("/disk-errors/several-requests-are-kept", test_several_kept);
    g_test_add_func("/disk-errors/a-reset-forgets-kept-requests", test_reset_forgets);
    g_test_add_func("/disk-errors/quit-with-kept-requests", test_quit_with_kept);
    g_test_add_func("/disk-errors/report-goes-to-the-guest", test_report);
    g_test_add_func("/disk-errors/ignore-says-ok-to-the-guest", test_ignore);
    g_test_add_func("/disk-errors/a-full-file-system-stops-by-default", test_no_space);
    g_test_add_func("/disk-errors/a-guest-makes-no-other-format-of-a-guessed-raw-image",
                    test_guessed_raw);
    g_test_add_func("/disk-errors/a-corrupt-image-fails-and-is-told-of", test_corrupt_image);
    return g_test_run();
}
