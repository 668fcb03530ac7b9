/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tap devices of the kernel (Documentation/networking/tuntap.rst), scripts and bridge helpers. */
#include "net/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "vmm/sandbox/filter.h"

static bool open_failed(int fd, const char *name, GError **error)
{
    int errnum = errno;
    if (fd >= 0) {
        close(fd);
    }
    return error_set_errno(error, errnum, "cannot set up the tap interface '%s'%s",
                           *name ? name : "tap%d",
                           errnum == EPERM   ? " (it needs CAP_NET_ADMIN, or an interface made for "
                                               "this user with `ip tuntap add`)"
                           : errnum == EBUSY ? " (another process has it)"
                                             : "");
}

int tap_open_device(char *name, size_t name_size, bool *vnet_hdr, bool vnet_hdr_required,
                    bool multi_queue, GError **error)
{
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    unsigned features = 0;
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        error_set_errno(error, errno, "cannot open /dev/net/tun%s",
                        errno == ENOENT ? " (`modprobe tun` makes it)" : "");
        return -1;
    }
    ioctl(fd, TUNGETFEATURES, &features);
    if (*vnet_hdr && (features & IFF_VNET_HDR)) {
        ifr.ifr_flags |= IFF_VNET_HDR;
    } else if (vnet_hdr_required) {
        close(fd);
        error_set(error, "vnet_hdr=on: the kernel's tap devices have no header support");
        return -1;
    }
    *vnet_hdr = ifr.ifr_flags & IFF_VNET_HDR;
    if (multi_queue) {
        ifr.ifr_flags |= IFF_MULTI_QUEUE;
    }
    g_strlcpy(ifr.ifr_name, *name ? name : "tap%d", sizeof(ifr.ifr_name));
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        open_failed(fd, name, error);
        return -1;
    }
    g_strlcpy(name, ifr.ifr_name, name_size);
    return fd;
}

bool tap_probe_fd(int fd, char *name, size_t name_size, bool *vnet_hdr, GError **error)
{
    struct ifreq ifr = { 0 };
    if (ioctl(fd, TUNGETIFF, &ifr) < 0) {
        return error_set_errno(error, errno, "descriptor %d is not a tap device", fd);
    }
    if (!(ifr.ifr_flags & IFF_TAP)) {
        return error_set(error, "descriptor %d is a tun device: it carries no Ethernet frames", fd);
    }
    if (!(ifr.ifr_flags & IFF_NO_PI)) {
        return error_set(error, "descriptor %d: the tap was made without IFF_NO_PI", fd);
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        return error_set_errno(error, errno, "descriptor %d", fd);
    }
    *vnet_hdr = ifr.ifr_flags & IFF_VNET_HDR;
    g_strlcpy(name, ifr.ifr_name, name_size);
    return true;
}

bool tap_probe_ufo(int fd)
{
    bool works = ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_UFO) == 0;
    tap_set_offloads(fd, false, false, false, false, false);
    return works;
}

bool tap_set_sndbuf(int fd, uint64_t size, GError **error)
{
    int value = size && size < G_MAXINT ? size : G_MAXINT;
    if (ioctl(fd, TUNSETSNDBUF, &value) < 0 && size) {
        return error_set_errno(error, errno, "sndbuf=%d", value);
    }
    return true;
}

bool tap_set_header_len(int fd, int len)
{
    return ioctl(fd, TUNSETVNETHDRSZ, &len) == 0;
}

void tap_set_offloads(int fd, bool csum, bool tso4, bool tso6, bool ecn, bool ufo)
{
    unsigned flags = 0;
    if (csum) {
        flags = TUN_F_CSUM | (tso4 ? TUN_F_TSO4 : 0) | (tso6 ? TUN_F_TSO6 : 0) |
                (ecn && (tso4 || tso6) ? TUN_F_TSO_ECN : 0) | (ufo ? TUN_F_UFO : 0);
    }
    if (ioctl(fd, TUNSETOFFLOAD, flags) < 0) {
        ioctl(fd, TUNSETOFFLOAD, flags & ~TUN_F_UFO);
    }
}

/* Waits for a child and says how it ended when it did not end well. */
static bool wait_child(pid_t pid, const char *program, GError **error)
{
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return error_set_errno(error, errno, "waiting for '%s'", program);
        }
    }
    if (WIFSIGNALED(status)) {
        return error_set(error, "'%s' was killed by signal %d", program, WTERMSIG(status));
    }
    if (WEXITSTATUS(status) == 127) {
        return error_set(error, "'%s' could not be run", program);
    }
    return WEXITSTATUS(status) == 0 ||
           error_set(error, "'%s' failed with status %d", program, WEXITSTATUS(status));
}

/* A child with default signals; keep_fd (-1: none) survives the exec. */
static pid_t run_child(const char *const *argv, int keep_fd, GError **error)
{
    if (!sandbox_may_spawn(error)) {
        return -1;
    }
    pid_t pid = fork();
    if (pid < 0) {
        error_set_errno(error, errno, "cannot start '%s'", argv[0]);
    } else if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        signal(SIGXFSZ, SIG_DFL);
        if (keep_fd >= 0) {
            fcntl(keep_fd, F_SETFD, 0);
        }
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    return pid;
}

bool tap_run_script(const char *script, const char *ifname, GError **error)
{
    const char *argv[] = { script, ifname, NULL };
    pid_t pid = run_child(argv, -1, error);
    return pid > 0 && wait_child(pid, script, error);
}

static int receive_fd(int socket_fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof(control.bytes) };
    ssize_t n;
    do {
        n = recvmsg(socket_fd, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    int fd = -1;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(&fd, CMSG_DATA(c), sizeof(int));
    }
    return fd;
}

int tap_run_helper(const char *helper, const char *bridge, GError **error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        error_set_errno(error, errno, "cannot talk to the bridge helper");
        return -1;
    }
    g_autofree char *fd_option = g_strdup_printf("--fd=%d", pair[1]);
    g_autofree char *bridge_option = g_strdup_printf("--br=%s", bridge);
    const char *argv[] = { helper, "--use-vnet", fd_option, bridge_option, NULL };
    pid_t pid = run_child(argv, pair[1], error);
    close(pair[1]);
    int fd = pid > 0 ? receive_fd(pair[0]) : -1;
    close(pair[0]);
    if (pid > 0 && !wait_child(pid, helper, error)) {
        g_prefix_error(error, "bridge '%s': ", bridge);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    if (pid > 0 && fd < 0) {
        error_set(error, "bridge '%s': '%s' gave no tap device", bridge, helper);
    }
    return fd;
}
