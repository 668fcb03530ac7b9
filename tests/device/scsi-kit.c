/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SCSI commands over virtio-scsi: a driver as small as can be. */
#include "tests/device/scsi-kit.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "vmm/util/bytes.h"

char *scsi_make_file(uint64_t bytes)
{
    char *path = g_strdup("test-virtio-scsi-XXXXXX");
    int fd = g_mkstemp(path);
    g_autofree uint8_t *data = g_malloc(DISK_BYTES);
    for (int i = 0; i < DISK_BYTES; i++) {
        data[i] = i / 512 + i % 251;
    }
    g_assert_cmpint(write(fd, data, DISK_BYTES), ==, DISK_BYTES);
    g_assert_cmpint(ftruncate(fd, (off_t)bytes), ==, 0);
    close(fd);
    return path;
}

void hba_restart(Hba *h)
{
    if (h->request) {
        qvirtqueue_free(h->control);
        qvirtqueue_free(h->event);
        qvirtqueue_free(h->request);
    }
    qvirtio_reset(h->dev);
    qvirtio_negotiate(h->dev, h->features);
    h->control = qvirtqueue_new(h->dev, 0, 16, 0xffff);
    h->event = qvirtqueue_new(h->dev, 1, 16, 0xffff);
    h->request = qvirtqueue_new(h->dev, 2, 64, 0xffff);
    qvirtio_driver_ok(h->dev);
}

void hba_find(Hba *h)
{
    QPci *pci = qpci_find(h->qts, 0x1af4, 0x1004, 0);
    g_assert_nonnull(pci);
    h->dev = qvirtio_new(pci);
    h->features = F_V1 | F_HOTPLUG | F_CHANGE;
    h->header = qtest_alloc(h->qts, 64 * 64, 64);
    h->response = qtest_alloc(h->qts, 64 * 128, 128);
    h->control_data = qtest_alloc(h->qts, 64 * 64, 64);
    h->data = qtest_alloc(h->qts, 1 << 20, 4096);
    hba_restart(h);
}

/* A disk at target 0 and what `more` says, where "@" is a second file. */
void hba_open(Hba *h, const char *drive, const char *hd, const char *more)
{
    *h = (Hba){ .path = scsi_make_file(DISK_BYTES), .path2 = scsi_make_file(DISK_BYTES) };
    g_auto(GStrv) parts = g_strsplit(more, "@", -1);
    g_autofree char *line = g_strjoinv(h->path2, parts);
    h->qts = qtest_start("-drive if=none,id=d,format=raw,file=%s%s -device virtio-scsi-pci,id=s "
                         "-device scsi-hd,id=h,drive=d,serial=ser-1%s %s",
                         h->path, drive, hd, line);
    hba_find(h);
}

void hba_close(Hba *h)
{
    qvirtqueue_free(h->control);
    qvirtqueue_free(h->event);
    qvirtqueue_free(h->request);
    qvirtio_free(h->dev);
    qtest_stop(h->qts);
    g_unlink(h->path);
    g_unlink(h->path2);
    g_free(h->path);
    g_free(h->path2);
}

/* ---- Commands ---- */

void put_command(Hba *h, unsigned slot, unsigned target, unsigned lun, const uint8_t *cdb,
                 uint64_t tag)
{
    uint8_t bytes[CMD_HEADER] = { 1, target, 0x40 | lun >> 8, lun };
    store_le64(bytes + 8, tag);
    memcpy(bytes + 19, cdb, 32);
    qtest_memwrite(h->qts, h->header + 64 * slot, bytes, sizeof(bytes));
    qtest_memset(h->qts, h->response + 128 * slot, 0xee, RESP_HEADER);
}

void read_response(Hba *h, unsigned slot)
{
    uint8_t bytes[RESP_HEADER];
    qtest_memread(h->qts, h->response + 128 * slot, bytes, sizeof(bytes));
    h->reply = bytes[11];
    h->status = bytes[10];
    h->residual = load_le32(bytes + 4);
    memcpy(h->sense, bytes + 12, sizeof(h->sense));
    if (h->status == CHECK && h->reply == S_OK) {
        g_assert_cmpuint(load_le32(bytes), ==, 18);
        g_assert_cmphex(h->sense[0], ==, 0x70);
    }
}

void add_command(Hba *h, unsigned slot, uint32_t in, uint32_t out)
{
    QBuffer buffers[4];
    unsigned n = 0;
    buffers[n++] = (QBuffer){ h->header + 64 * slot, CMD_HEADER, false };
    if (out) {
        buffers[n++] = (QBuffer){ h->data, out, false };
    }
    buffers[n++] = (QBuffer){ h->response + 128 * slot, RESP_HEADER, true };
    if (in) {
        buffers[n++] = (QBuffer){ h->data, in, true };
    }
    qvirtqueue_add(h->request, buffers, n);
}

uint8_t command_at(Hba *h, unsigned target, unsigned lun, const uint8_t *cdb, uint32_t in,
                   uint32_t out)
{
    put_command(h, 0, target, lun, cdb, 1);
    add_command(h, 0, in, out);
    qvirtqueue_kick(h->request);
    qvirtqueue_wait(h->request, NULL);
    read_response(h, 0);
    return h->status;
}

uint8_t command(Hba *h, const uint8_t *cdb, uint32_t in, uint32_t out)
{
    return command_at(h, 0, 0, cdb, in, out);
}

/* The attention that follows power-on. */
void clear_attention(Hba *h, unsigned target)
{
    command_at(h, target, 0, CDB(0), 0, 0);
    assert_sense(h, 6, 0x29, 0);
}

void hd_open(Hba *h, const char *drive, const char *hd)
{
    hba_open(h, drive, hd, "");
    clear_attention(h, 0);
}

void get_data(Hba *h, void *data, uint32_t len)
{
    qtest_memread(h->qts, h->data, data, len);
}
