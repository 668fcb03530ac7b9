/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests that drive a transitional disk by its legacy interface, a console and a balloon. */
#include "tests.h"

void test_legacy_blk(void)
{
    VirtioDev dev;
    VirtQueue q;
    static BlkHeader header;
    static uint8_t status;
    uint32_t *data = page_alloc(4096), id, len, sum = 0;
    Part parts[] = { { &header, sizeof(header), false },
                     { data, 4096, true },
                     { &status, 1, true } };

    expect(legacy_find(&dev, VIRTIO_BLK, 0), "no transitional disk");
    legacy_begin(&dev, BLK_F_FLUSH);
    legacy_queue_setup(&dev, &q, 0);
    legacy_driver_ok(&dev);
    for (uint16_t n = 0; n < 3; n++) {
        status = 0xff;
        queue_add(&q, (uint16_t)(n * 3), parts, 3, NULL);
        legacy_notify(&q);
        expect(queue_wait(&q, &id, &len), "the request is not answered");
        expect(id == n * 3u && len == 4097 && status == 0, "id %u length %u status %u", id, len,
               status);
    }
    for (uint32_t i = 0; i < 1024; i++) {
        sum = sum * 31 + data[i];
    }
    print("capacity %u sectors\nfirst page sum %08x\n", legacy_config(&dev, 0), sum);
}

/* Says hello on the console's first port and echoes what it gets until a full stop. */
void test_console(void)
{
    VirtioDev dev;
    VirtQueue in, out;
    static char hello[] = "hello, virtio console\n";
    char *text = page_alloc(4096);
    Part from_guest = { hello, sizeof(hello) - 1, false }, to_guest = { text, 64, true };
    uint32_t id, len;

    expect(virtio_find(&dev, VIRTIO_CONSOLE, 0), "no virtio console");
    virtio_begin(&dev, 0);
    virtio_queue_setup(&dev, &in, 0, 8);
    virtio_queue_setup(&dev, &out, 1, 8);
    virtio_driver_ok(&dev);
    queue_add(&in, 0, &to_guest, 1, NULL);
    queue_kick(&in, 1);
    queue_add(&out, 0, &from_guest, 1, NULL);
    queue_kick(&out, 1);
    expect(queue_wait(&out, &id, &len), "the text was not taken");
    print("console ready\n");
    expect(queue_wait(&in, &id, &len), "nothing was typed");
    expect(len > 0 && len < 64, "used length %u", len);
    print("typed <%s>\n", text);
}

/* Gives 64 pages to the balloon, checks the acknowledgement, takes them back. */
void test_balloon(void)
{
    VirtioDev dev;
    VirtQueue inflate, deflate;
    uint32_t *pfns = page_alloc(4096), id, len;
    uint8_t *pages = page_alloc(64 * 4096);
    Part part = { pfns, 64 * 4, false };

    expect(virtio_find(&dev, VIRTIO_BALLOON, 0), "no balloon");
    virtio_begin(&dev, 0);
    virtio_queue_setup(&dev, &inflate, 0, 8);
    virtio_queue_setup(&dev, &deflate, 1, 8);
    virtio_driver_ok(&dev);
    memset(pages, 0x5a, 64 * 4096);
    for (uint32_t i = 0; i < 64; i++) {
        pfns[i] = (uint32_t)(((uint64_t)pages >> 12) + i);
    }
    queue_add(&inflate, 0, &part, 1, NULL);
    queue_kick(&inflate, 1);
    expect(queue_wait(&inflate, &id, &len), "inflation is not acknowledged");
    write32(dev.config + 4, 64);
    expect(read32(dev.config + 4) == 64, "actual does not hold");
    print("page after inflation %02x\n", pages[4096]);
    queue_add(&deflate, 0, &part, 1, NULL);
    queue_kick(&deflate, 1);
    expect(queue_wait(&deflate, &id, &len), "deflation is not acknowledged");
    write32(dev.config + 4, 0);
    pages[4096] = 1;
    expect(pages[4096] == 1, "the page is not usable after deflation");
    /* Nonsense frames are ignored. */
    for (uint32_t i = 0; i < 64; i++) {
        pfns[i] = 0xffffffff - i;
    }
    queue_add(&inflate, 0, &part, 1, NULL);
    queue_kick(&inflate, 1);
    expect(queue_wait(&inflate, &id, &len), "nonsense frames stop the balloon");
}
