/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The user-mode network: what its files share. */
#ifndef NET_USER_H
#define NET_USER_H

#include <slirp/libslirp.h>
#include "net/fragments.h"
#include "net/internal.h"
#include "vmm/chardev/chardev.h"

#define USER_MAX_WAITING 512 /* frames kept for a NIC without room */

typedef struct UserBackend UserBackend;

/* One descriptor of slirp's, watched in the NIC's loop. */
typedef struct UserWatch {
    UserBackend *user;
    FdWatch watch;
    int fd;
    unsigned wanted;  /* poll(2) events of the last fill */
    unsigned revents; /* since the last slirp_pollfds_poll */
    uint32_t stamp;   /* the fill that named it last */
    struct UserWatch *next;
} UserWatch;

typedef struct UserTimer {
    UserBackend *user;
    SlirpTimerId id;
    void *cb_opaque;
    int64_t expires_ms; /* -1: not armed */
    Timer timer;
    struct UserTimer *next;
} UserTimer;

typedef struct UserFrame {
    struct UserFrame *next;
    size_t len;
    uint8_t data[];
} UserFrame;

typedef struct GuestForward GuestForward; /* guestfwd.c */

/* Everything is the loop's while the queue runs, else the main thread's. */
struct UserBackend {
    NetBackend base;
    Slirp *slirp;
    struct in_addr net, mask, host, dhcp_start, dns;
    bool restricted;
    GPtrArray *forwards; /* GuestForward * */

    bool running;
    bool busy; /* inside libslirp, which is not re-entrant */
    bool send_blocked;
    UserWatch *watches;
    UserWatch **by_fd;
    size_t by_fd_count;
    uint32_t stamp;
    UserTimer *timers;
    Timer poll_timer; /* slirp's own timeouts */
    LoopTask update;
    bool events_pending;
    UserFrame *waiting, **waiting_tail;
    unsigned waiting_count;
    uint8_t *linear; /* the guest's frame: it cannot change under libslirp */
    Fragments *fragments;
};

/* ---- user.c: options ---- */
extern const SlirpCb user_slirp_callbacks; /* user-loop.c */

/* ---- user-loop.c ---- */
void user_loop_init(UserBackend *user);
void user_loop_cleanup(UserBackend *user);
void user_start(NetQueue *queue);
void user_stop(NetQueue *queue);
void user_resume(NetQueue *queue);
NetSendResult user_send(NetQueue *queue, const struct iovec *iov, int iov_count, size_t size);
/* Enters and leaves libslirp: its globals are shared by all back ends. */
void user_enter(UserBackend *user);
void user_leave(UserBackend *user);
void user_update_soon(UserBackend *user); /* slirp's descriptors or timeouts may have changed */
/* Runs fn in the queue's loop, or here while it is stopped; inside libslirp's lock. Main thread. */
void user_call(UserBackend *user, void (*fn)(UserBackend *user, void *opaque), void *opaque);

/* ---- hostfwd.c, guestfwd.c: main thread ---- */
bool user_hostfwd_rule(UserBackend *user, const char *rule, bool add, GError **error);
bool user_guestfwd_rule(UserBackend *user, const char *rule, GError **error);
void user_guestfwd_free_all(UserBackend *user);
void user_guestfwd_poll(UserBackend *user);                  /* the loop, inside libslirp */
void user_guestfwd_stop(UserBackend *user, EventLoop *loop); /* the loop */

#endif
