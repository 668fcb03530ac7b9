/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tap back ends against the kernel's interfaces, in a network namespace of the test's own; a packet
 * socket is the other side. Needs root and /dev/net/tun.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "net/net.h"
#include "tests/unit/fake-nic.h"
#include "vmm/util/bytes.h"

#define ETHERTYPE_TEST 0x88b5 /* IEEE 802 local experimental */

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static void interface_up(const char *name)
{
    struct ifreq ifr = { 0 };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    g_strlcpy(ifr.ifr_name, name, sizeof(ifr.ifr_name));
    g_assert_cmpint(ioctl(fd, SIOCGIFFLAGS, &ifr), ==, 0);
    ifr.ifr_flags |= IFF_UP;
    g_assert_cmpint(ioctl(fd, SIOCSIFFLAGS, &ifr), ==, 0);
    close(fd);
}

static void interface_delete(const char *name)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg info;
    } request = {
        .header = { .nlmsg_len = sizeof(request),
                    .nlmsg_type = RTM_DELLINK,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
        .info = { .ifi_index = if_nametoindex(name) },
    };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    g_assert_cmpint(send(fd, &request, sizeof(request), 0), ==, sizeof(request));
    char reply[256];
    g_assert_cmpint(recv(fd, reply, sizeof(reply), 0), >, 0);
    close(fd);
    g_assert_cmpuint(if_nametoindex(name), ==, 0);
}

/* A socket that hears the frames the guest sends and speaks on the interface. */
static int host_side(const char *name)
{
    interface_up(name);
    struct sockaddr_ll ll = { .sll_family = AF_PACKET,
                              .sll_protocol = htobe16(ETHERTYPE_TEST),
                              .sll_ifindex = if_nametoindex(name) };
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htobe16(ETHERTYPE_TEST));
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), ==, 0);
    struct timeval limit = { .tv_sec = 10 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

/* A frame with header_len zero bytes of virtio-net header and a number in it. */
static void numbered(Frame *f, unsigned header_len, uint32_t number, size_t len)
{
    memset(f, 0, sizeof(*f));
    uint8_t *e = f->data + header_len;
    memset(e, 0xff, 6);
    memcpy(e + 6, guest_mac, 6);
    store_be16(e + 12, ETHERTYPE_TEST);
    store_be32(e + 14, number);
    f->len = header_len + len;
}

/* The next of our frames that the NIC got: the kernel sends some of its own. */
static Frame *next_numbered(Nic *nic, unsigned header_len)
{
    for (;;) {
        g_autofree Frame *f = next_frame(nic);
        if (f->len >= header_len + 18 && load_be16(f->data + header_len + 12) == ETHERTYPE_TEST) {
            return g_steal_pointer(&f);
        }
    }
}

static void exchange(Nic *nic, int host, unsigned header_len)
{
    Frame f;
    uint8_t got[2048];
    for (uint32_t i = 0; i < 200; i++) {
        numbered(&f, header_len, i, 60 + i);
        g_assert_cmpint(nic_send(nic, &f), ==, NET_SENT);
        g_assert_cmpint(recv(host, got, sizeof(got), 0), ==, 60 + i);
        g_assert_cmpmem(got, 60 + i, f.data + header_len, 60 + i);
    }
    for (uint32_t i = 0; i < 200; i++) {
        numbered(&f, 0, 1000 + i, 100);
        g_assert_cmpint(send(host, f.data, f.len, 0), ==, 100);
        g_autofree Frame *received = next_numbered(nic, header_len);
        g_assert_cmpuint(received->len, ==, header_len + 100);
        g_assert_cmpmem(received->data + header_len, 100, f.data, 100);
    }
}

static void test_frames_pass_bare(void)
{
    Nic *nic = nic_new("tap,id=n,ifname=vt0,script=no,downscript=no,vnet_hdr=off");
    g_assert_false(net_backend_has_vnet_header(nic->backend));
    int host = host_side("vt0");
    exchange(nic, host, 0);
    close(host);
    nic_free(nic);
    g_assert_cmpuint(if_nametoindex("vt0"), ==, 0);
}

/* The header of the kernel is hidden from a NIC that wants none. */
static void test_frames_pass_bare_through_a_header(void)
{
    Nic *nic = nic_new("tap,id=n,ifname=vt0,script=no,downscript=no");
    g_assert_true(net_backend_has_vnet_header(nic->backend));
    int host = host_side("vt0");
    exchange(nic, host, 0);
    close(host);
    nic_free(nic);
}

static void test_frames_pass_with_headers_of_both_sizes(void)
{
    Nic *nic = nic_new("tap,id=n,ifname=vt0,script=no,downscript=no,vnet_hdr=on");
    int host = host_side("vt0");
    static const unsigned sizes[] = { 12, 10, 12 };
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        net_queue_stop(nic->queue);
        net_backend_set_vnet_header(nic->backend, sizes[i]);
        net_backend_set_offload(nic->backend, true, true, true, true,
                                net_backend_has_ufo(nic->backend));
        net_queue_start(nic->queue, nic->loop);
        exchange(nic, host, sizes[i]);
    }
    close(host);
    nic_free(nic);
}

static void test_a_nic_without_room_loses_no_frame(void)
{
    Nic *nic = nic_new("tap,id=n,ifname=vt0,script=no,downscript=no");
    int host = host_side("vt0");
    Frame f;
    g_atomic_int_set(&nic->room, 0);
    for (uint32_t i = 0; i < 300; i++) {
        numbered(&f, 0, i, 60);
        g_assert_cmpint(send(host, f.data, f.len, 0), ==, 60);
    }
    for (uint32_t i = 0; i < 300; i++) {
        g_atomic_int_set(&nic->room, 1);
        event_loop_call(nic->loop, resume_in_loop, nic);
        g_autofree Frame *received = next_frame(nic);
        if (load_be16(received->data + 12) != ETHERTYPE_TEST) {
            i--;
            continue;
        }
        g_assert_cmpuint(load_be32(received->data + 14), ==, i);
    }
    close(host);
    nic_free(nic);
}

static void test_a_link_that_is_down_carries_nothing(void)
{
    Nic *nic = nic_new("tap,id=n,ifname=vt0,script=no,downscript=no");
    int host = host_side("vt0");
    Frame f;
    g_assert_true(net_backend_set_link("n", false, NULL));
    numbered(&f, 0, 1, 60);
    g_assert_cmpint(nic_send(nic, &f), ==, NET_SEND_DROPPED);
    g_assert_true(net_backend_set_link("n", true, NULL));
    exchange(nic, host, 0);
    close(host);
    nic_free(nic);
}

static void test_bad_headers_are_dropped(void)
{
    Nic *nic = nic_new("tap,id=n,ifname=vt0,script=no,downscript=no");
    int host = host_side("vt0");
    net_queue_stop(nic->queue);
    net_backend_set_vnet_header(nic->backend, 12);
    net_queue_start(nic->queue, nic->loop);
    Frame f;
    for (unsigned flags = 0; flags < 256; flags += 5) {
        numbered(&f, 12, flags, 60);
        f.data[0] = flags;
        f.data[1] = 255 - flags;
        memset(f.data + 2, flags, 10);
        nic_send(nic, &f);
    }
    for (size_t len = 0; len < 30; len++) {
        numbered(&f, 12, 0, 60);
        f.len = len;
        nic_send(nic, &f);
    }
    /* In the next round of the loop what it sent is out. */
    event_loop_call(nic->loop, resume_in_loop, nic);
    uint8_t got[2048];
    while (recv(host, got, sizeof(got), MSG_DONTWAIT) > 0) {
    }
    exchange(nic, host, 12);
    close(host);
    nic_free(nic);
}

static void test_several_queues(void)
{
    Nic *nic = nic_new("tap,id=n,ifname=vt0,script=no,downscript=no,queues=4");
    g_assert_cmpuint(net_backend_queues(nic->backend), ==, 4);
    g_assert_null(net_backend_queue(nic->backend, 4));
    int host = host_side("vt0");
    for (unsigned i = 0; i < 4; i++) {
        nic->queue = net_backend_queue(nic->backend, i);
        net_queue_start(nic->queue, nic->loop);
        Frame f;
        uint8_t got[100];
        numbered(&f, 0, i, 60);
        g_assert_cmpint(nic_send(nic, &f), ==, NET_SENT);
        g_assert_cmpint(recv(host, got, sizeof(got), 0), ==, 60);
    }
    Frame f;
    numbered(&f, 0, 77, 60);
    g_assert_cmpint(send(host, f.data, f.len, 0), ==, 60);
    g_autofree Frame *received = next_numbered(nic, 0);
    g_assert_cmpuint(load_be32(received->data + 14), ==, 77);
    close(host);
    nic_free(nic);
}

static int open_tap(const char *name, int flags)
{
    struct ifreq ifr = { .ifr_flags = flags };
    int fd = open("/dev/net/tun", O_RDWR);
    g_assert_cmpint(fd, >=, 0);
    g_strlcpy(ifr.ifr_name, name, sizeof(ifr.ifr_name));
    g_assert_cmpint(ioctl(fd, TUNSETIFF, &ifr), ==, 0);
    return fd;
}

static void test_inherited_descriptors(void)
{
    int fd = open_tap("vt1", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
    g_autofree char *text = g_strdup_printf("tap,id=n,fd=%d", fd);
    Nic *nic = nic_new(text);
    g_assert_true(net_backend_has_vnet_header(nic->backend));
    g_autofree char *info = net_backend_info(nic->backend);
    g_assert_cmpstr(info, ==, "n: index=0,type=tap,ifname=vt1,queues=1,vnet_hdr=on");
    int host = host_side("vt1");
    exchange(nic, host, 0);
    close(host);
    nic_free(nic);

    int first = open_tap("vt2", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE);
    int second = open_tap("vt2", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE);
    g_autofree char *two = g_strdup_printf("tap,id=n,fds=%d:%d", first, second);
    nic = nic_new(two);
    g_assert_cmpuint(net_backend_queues(nic->backend), ==, 2);
    nic_free(nic);
}

static char *write_script(const char *folder, const char *name, const char *text)
{
    char *path = g_build_filename(folder, name, NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(chmod(path, 0755), ==, 0);
    return path;
}

static void test_scripts_run_with_the_name(void)
{
    g_autofree char *folder = g_dir_make_tmp("vireo-tap-XXXXXX", NULL);
    g_autofree char *out = g_build_filename(folder, "out", NULL);
    g_autofree char *up_text = g_strdup_printf("#!/bin/sh\necho up $1 >>%s\n", out);
    g_autofree char *down_text = g_strdup_printf("#!/bin/sh\necho down $1 >>%s\n", out);
    g_autofree char *up = write_script(folder, "up", up_text);
    g_autofree char *down = write_script(folder, "down", down_text);
    g_autofree char *text =
        g_strdup_printf("tap,id=n,ifname=vt0,script=%s,downscript=%s", up, down);
    Nic *nic = nic_new(text);
    nic_free(nic);
    g_autofree char *contents = NULL;
    g_assert_true(g_file_get_contents(out, &contents, NULL, NULL));
    g_assert_cmpstr(contents, ==, "up vt0\ndown vt0\n");
    g_unlink(out);
    g_unlink(up);
    g_unlink(down);
    g_rmdir(folder);
}

/* vhost=on falls back to the tap's own queues, and what came for it is closed. */
static void test_vhost_is_done_without(void)
{
    int fd = open("/dev/null", O_RDWR); /* inherited, as for a program that is started with it */
    g_autofree char *text =
        g_strdup_printf("tap,id=n,ifname=vt0,script=no,downscript=no,vhost=on,vhostfd=%d", fd);
    Nic *nic = nic_new(text);
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autofree char *what = g_file_read_link(link, NULL); /* by now the tap's, perhaps */
    g_assert_cmpstr(what, !=, "/dev/null");
    nic_free(nic);
    nic = nic_new("tap,id=n,ifname=vt0,script=no,downscript=no,vhost=on");
    nic_free(nic);
}

static void test_bad_options_are_refused(void)
{
    assert_refused("tap,id=n,vhost=on,vhostforce=on", "vhostforce=on");
    assert_refused("tap,id=n,poll-us=50", "poll-us");
    assert_refused("tap,id=n,vhost=maybe", "vhost");
    assert_refused("tap,id=n,vhost=on,vhostfds=9999:9998", "9999");
    assert_refused("tap,id=n,ifname=a-name-that-is-too-long", "too long");
    assert_refused("tap,id=n,queues=0", "queues");
    assert_refused("tap,id=n,queues=100000", "queues");
    assert_refused("tap,id=n,fd=9999", "9999");
    assert_refused("tap,id=n,fd=x", "descriptor number");
    assert_refused("tap,id=n,fd=0,ifname=x", "exclude each other");
    assert_refused("tap,id=n,fd=0,fds=1:2", "exclude each other");
    assert_refused("tap,id=n,ifname=vt0,script=/nonexistent,downscript=no", "could not be run");
    assert_refused("tap,id=n,ifname=vt0,script=/bin/false,downscript=no", "status 1");
    assert_refused("tap,id=n,ifname=vt0,script=no,downscript=no,wat=1", "wat");
    assert_refused("bridge,id=n,helper=/bin/true", "no tap device");
    assert_refused("bridge,id=n,helper=/bin/false,br=br7", "br7");
    int fd = open_tap("vt3", IFF_TUN | IFF_NO_PI);
    g_autofree char *text = g_strdup_printf("tap,id=n,fd=%d", fd);
    assert_refused(text, "tun device");
    close(fd);
}

static void test_a_taken_interface_is_an_error(void)
{
    int fd = open_tap("vt0", IFF_TAP | IFF_NO_PI);
    assert_refused("tap,id=n,ifname=vt0,script=no,downscript=no", "another process");
    close(fd);
}

/* The interface is deleted under the running back end. */
static void test_a_vanished_interface_does_no_harm(void)
{
    Nic *nic = nic_new("tap,id=n,ifname=vt0,script=no,downscript=no");
    interface_up("vt0");
    interface_delete("vt0");
    Frame f;
    for (uint32_t i = 0; i < 200; i++) {
        numbered(&f, 0, i, i % 2 ? 60 : 1900);
        g_assert_cmpint(nic_send(nic, &f), !=, NET_SEND_BUSY);
    }
    nic_free(nic);
}

/* Bursts of small frames among large ones, as one queue's kick brings them. */
typedef struct Burst {
    Nic *nic;
    unsigned count, sent;
} Burst;

static void send_burst(void *opaque)
{
    Burst *b = opaque;
    for (unsigned i = 0; i < b->count; i++) {
        Frame f;
        numbered(&f, 0, i, i % 7 == 3 ? 1500 : 60);
        struct iovec iov = { .iov_base = f.data, .iov_len = f.len };
        b->sent += net_queue_send(b->nic->queue, &iov, 1, f.len) == NET_SENT;
    }
}

static void test_bursts_keep_their_order(void)
{
    static const char *const options[] = { "", ",vnet_hdr=off" };
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        g_autofree char *text =
            g_strdup_printf("tap,id=n,ifname=vt0,script=no,downscript=no%s", options[i]);
        Nic *nic = nic_new(text);
        int host = host_side("vt0"), size = 8 << 20;
        setsockopt(host, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
        Burst b = { .nic = nic, .count = 1000 };
        event_loop_call(nic->loop, send_burst, &b);
        g_assert_cmpuint(b.sent, ==, 1000);
        for (uint32_t n = 0; n < 1000; n++) {
            uint8_t got[2048];
            g_assert_cmpint(recv(host, got, sizeof(got), 0), ==, n % 7 == 3 ? 1500 : 60);
            g_assert_cmpuint(load_be32(got + 14), ==, n);
        }
        close(host);
        nic_free(nic);
    }
}

static void test_bursts_keep_their_order_on_epoll(void)
{
    engine = LOOP_ENGINE_EPOLL;
    test_bursts_keep_their_order();
    engine = LOOP_ENGINE_AUTO;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (unshare(CLONE_NEWNET) < 0) {
        g_printerr("this test needs root: unshare(CLONE_NEWNET): %s\n", g_strerror(errno));
        return 1;
    }
    event_loop_main();
    engine = LOOP_ENGINE_AUTO;
    g_test_add_func("/net-tap/frames-pass-bare", test_frames_pass_bare);
    g_test_add_func("/net-tap/frames-pass-bare-through-a-header",
                    test_frames_pass_bare_through_a_header);
    g_test_add_func("/net-tap/frames-pass-with-headers",
                    test_frames_pass_with_headers_of_both_sizes);
    g_test_add_func("/net-tap/a-nic-without-room-loses-nothing",
                    test_a_nic_without_room_loses_no_frame);
    g_test_add_func("/net-tap/a-link-that-is-down", test_a_link_that_is_down_carries_nothing);
    g_test_add_func("/net-tap/bad-headers-are-dropped", test_bad_headers_are_dropped);
    g_test_add_func("/net-tap/several-queues", test_several_queues);
    g_test_add_func("/net-tap/inherited-descriptors", test_inherited_descriptors);
    g_test_add_func("/net-tap/scripts-run-with-the-name", test_scripts_run_with_the_name);
    g_test_add_func("/net-tap/vhost-is-done-without", test_vhost_is_done_without);
    g_test_add_func("/net-tap/bad-options-are-refused", test_bad_options_are_refused);
    g_test_add_func("/net-tap/a-taken-interface", test_a_taken_interface_is_an_error);
    g_test_add_func("/net-tap/a-vanished-interface", test_a_vanished_interface_does_no_harm);
    g_test_add_func("/net-tap/bursts-keep-their-order", test_bursts_keep_their_order);
    g_test_add_func("/net-tap/bursts-keep-their-order-on-epoll",
                    test_bursts_keep_their_order_on_epoll);
    return g_test_run();
}
