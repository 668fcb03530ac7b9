/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames of a hostile guest into the user network, restricted so that none leaves the process.
 *
 * Input: frames: flags, length (16 bits), bytes. Flag 1 repairs the IPv4 header's lengths and
 * checksum, flag 2 the checksum of the UDP, TCP or ICMP behind it, flag 4 takes the NIC's room,
 * flag 8 gives it back, flag 16 pulls the link for one frame, flag 32 stops and starts the queue.
 */
#include <string.h>
#include "net/net.h"
#include "vmm/util/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static NetBackend *backend;
static NetQueue *queue;
static bool room = true;

static bool can_receive(void *nic, unsigned index)
{
    return room;
}

static bool receive(void *nic, unsigned index, const struct iovec *iov, int count, size_t size)
{
    g_assert_cmpint(count, ==, 1);
    g_assert_cmpuint(iov->iov_len, ==, size);
    g_assert_cmpuint(size, <=, NET_MAX_FRAME);
    return room;
}

static const NicOps ops = { .can_receive = can_receive, .receive = receive };

static void prepare(void)
{
    g_autoptr(GError) error = NULL;
    event_loop_main();
    clock_set_manual();
    g_autofree char *folder = g_dir_make_tmp("vireo-fuzz-XXXXXX", NULL);
    g_autofree char *text = g_strdup_printf(
        "user,id=fuzz,restrict=on,tftp=%s,bootfile=b,hostname=h,dnssearch=d.example,"
        "guestfwd=tcp:10.0.2.100:7-null",
        folder);
    g_autoptr(Opts) o = opts_parse(text, "type", &error);
    backend = net_backend_new(o, &error);
    if (!backend || !net_backend_attach(backend, "nic", &ops, NULL, &error)) {
        g_error("%s", error->message);
    }
    queue = net_backend_queue(backend, 0);
    net_queue_start(queue, event_loop_main());
}

static uint16_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
    for (size_t i = 0; i < len; i++) {
        sum += i & 1 ? p[i] : p[i] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum;
}

static void repair_payload(uint8_t *ip, size_t header, size_t len)
{
    size_t n = len - header;
    uint8_t *p = ip + header;
    size_t at = ip[9] == 6 ? 16 : ip[9] == 17 ? 6 : 2;
    if (n < at + 2) {
        return;
    }
    uint32_t pseudo = ip[9] + n;
    for (int i = 12; i < 20; i += 2) {
        pseudo += load_be16(ip + i);
    }
    if (ip[9] == 17) {
        store_be16(p + 4, n);
    }
    store_be16(p + at, 0);
    store_be16(p + at, sum16(p, n, ip[9] == 1 ? 0 : pseudo));
}

static void repair(uint8_t *frame, size_t size, uint8_t flags)
{
    if (size < 14 + 20 || !(flags & 1)) {
        return;
    }
    uint8_t *ip = frame + 14;
    size_t len = size - 14, header;
    store_be16(frame + 12, 0x0800);
    ip[0] = 0x40 | MAX(ip[0] & 15, 5);
    header = (ip[0] & 15) * 4;
    if (header > len) {
        ip[0] = 0x45;
        header = 20;
    }
    store_be16(ip + 2, len);
    if (flags & 2) {
        repair_payload(ip, header, len);
    }
    store_be16(ip + 10, 0);
    store_be16(ip + 10, sum16(ip, header, 0));
}

static void send_frame(const uint8_t *data, size_t size, uint8_t flags)
{
    g_autofree uint8_t *frame = g_memdup2(data, size);
    if (!frame) {
        return;
    }
    repair(frame, size, flags);
    struct iovec iov = { .iov_base = frame, .iov_len = size };
    net_backend_set_link("fuzz", !(flags & 16), NULL);
    if (flags & 4) {
        room = false;
    }
    if (flags & 32) {
        net_queue_stop(queue);
        net_queue_start(queue, event_loop_main());
    }
    net_queue_send(queue, &iov, 1, size);
    if (flags & 8) {
        room = true;
        net_queue_resume(queue);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!backend) {
        prepare();
    }
    for (size_t at = 0; size - at >= 3;) {
        uint8_t flags = data[at];
        size_t len = MIN(load_le16(data + at + 1), size - at - 3);
        send_frame(data + at + 3, len, flags);
        at += 3 + len;
        g_main_context_iteration(NULL, FALSE);
    }
    room = true;
    net_queue_resume(queue);
    clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + 600 * NS_PER_MS);
    g_main_context_iteration(NULL, FALSE);
    return 0;
}
