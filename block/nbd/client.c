/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client's bytes and its life. Input is a row of expectations: so many bytes to some place, then
 * a step. It is read only while there is room for what it asks, and in turns, so that no client
 * keeps the loop from the others. Output is handshake bytes, then replies in the order of their
 * completion.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include "block/nbd/internal.h"

#define STEPS_A_TURN   64
#define REPLIES_A_CALL 16

int64_t nbd_handshake_ns = 10 * NS_PER_SEC;

static void input_run(void *opaque);
static void output_run(void *opaque);
static void socket_ready(void *opaque, unsigned revents);

static void update_watch(NbdClient *client)
{
    bool output = (client->out && client->out->len) || client->replies;
    if (client->watch.loop) {
        fd_watch_set_events(&client->watch,
                            (client->input_paused ? 0 : POLLIN) | (output ? POLLOUT : 0));
    }
}

/* ---- Life ---- */

static void handshake_timeout(void *opaque)
{
    nbd_client_close(opaque);
}

NbdClient *nbd_client_new(NbdServer *server, int fd)
{
    NbdClient *client = g_new0(NbdClient, 1);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* TCP only: else it fails */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    client->server = server;
    client->fd = fd;
    client->out = g_byte_array_new();
    client->input_task = (LoopTask)LOOP_TASK_INIT(input_run, client);
    client->output_task = (LoopTask)LOOP_TASK_INIT(output_run, client);
    client->replies_tail = &client->replies;
    for (unsigned i = 0; i < NBD_SLOTS; i++) {
        client->slots[i].client = client;
        client->slots[i].next = client->free_slots;
        client->free_slots = &client->slots[i];
    }
    timer_init(&client->timeout, server->loop, VM_CLOCK_REALTIME, NULL, handshake_timeout, client);
    timer_arm(&client->timeout, clock_now(VM_CLOCK_REALTIME) + nbd_handshake_ns);
    fd_watch_start(&client->watch, server->loop, fd, POLLIN, socket_ready, client);
    nbd_handshake_start(client);
    return client;
}

static void client_free(NbdClient *client)
{
    nbd_client_unchoose(client);
    event_loop_cancel_task(client->server->loop, &client->input_task);
    event_loop_cancel_task(client->server->loop, &client->output_task);
    for (unsigned i = 0; i < NBD_SLOTS; i++) {
        nbd_status_free(&client->slots[i]);
        free(client->slots[i].data);
    }
    nbd_server_client_gone(client->server, client);
    g_byte_array_unref(client->out);
    g_free(client->option_data);
    g_free(client->contexts_of);
    g_free(client);
}

static void drop_replies(NbdClient *client)
{
    while (client->replies) {
        NbdSlot *slot = client->replies;
        client->replies = slot->next;
        nbd_slot_release(slot);
    }
    client->replies_tail = &client->replies;
}

static void free_if_unused(NbdClient *client)
{
    if (client->phase == NBD_CLOSED && !client->in_flight) {
        client_free(client);
    }
}

void nbd_client_close(NbdClient *client)
{
    if (client->phase != NBD_CLOSED) {
        client->phase = NBD_CLOSED;
        timer_cancel(&client->timeout);
        fd_watch_stop(&client->watch);
        close(client->fd);
        client->fd = -1;
        drop_replies(client);
        if (client->incoming) {
            nbd_slot_release(client->incoming);
            client->incoming = NULL;
        }
    }
    /* Not here: the caller may be deep in the client's own steps. */
    event_loop_defer(client->server->loop, &client->output_task);
}

void nbd_client_end(NbdClient *client)
{
    if (client->phase != NBD_CLOSED) {
        client->phase = NBD_ENDING;
        client->end_when_sent = true;
        nbd_client_pause_input(client);
        nbd_client_send_later(client);
    }
}

/* ---- Input ---- */

void nbd_client_expect(NbdClient *client, uint8_t *target, uint64_t bytes,
                       void (*step)(NbdClient *client))
{
    client->target = target;
    client->wanted = bytes;
    client->got = 0;
    client->step = step;
}

void nbd_client_pause_input(NbdClient *client)
{
    client->input_paused = true;
    update_watch(client);
}

void nbd_client_resume_input(NbdClient *client)
{
    if (client->input_paused && client->phase <= NBD_TRANSMISSION) {
        client->input_paused = false;
        update_watch(client);
        event_loop_defer(client->server->loop, &client->input_task);
    }
}

/* Bytes, 0 at the end of the stream, -EAGAIN or another error. */
static ssize_t socket_read(NbdClient *client, void *data, size_t bytes)
{
    ssize_t n;
    do {
        n = recv(client->fd, data, bytes, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t read_some(NbdClient *client)
{
    uint8_t scratch[NBD_STAGE_SIZE];
    uint64_t left = client->wanted - client->got;
    if (client->stage_at == client->stage_len) {
        if (client->target && left >= NBD_STAGE_SIZE) {
            return socket_read(client, client->target + client->got, MIN(left, 1 * MIB));
        }
        if (left >= NBD_STAGE_SIZE) {
            return socket_read(client, scratch, NBD_STAGE_SIZE);
        }
        ssize_t n = socket_read(client, client->stage, NBD_STAGE_SIZE);
        if (n <= 0) {
            return n;
        }
        client->stage_at = 0;
        client->stage_len = n;
    }
    size_t n = MIN(left, client->stage_len - client->stage_at);
    if (client->target) {
        memcpy(client->target + client->got, client->stage + client->stage_at, n);
    }
    client->stage_at += n;
    return n;
}

static void input_run(void *opaque)
{
    NbdClient *client = opaque;
    for (int turn = 0; turn < STEPS_A_TURN; turn++) {
        if (client->phase > NBD_TRANSMISSION || client->input_paused) {
            return;
        }
        while (client->got == client->wanted) {
            client->step(client);
            if (client->phase > NBD_TRANSMISSION || client->input_paused) {
                return;
            }
        }
        ssize_t n = read_some(client);
        if (n == -EAGAIN) {
            return;
        }
        if (n <= 0) {
            nbd_client_close(client);
            return;
        }
        client->got += n;
    }
    /* The socket may be silent while bytes wait in the stage. */
    event_loop_defer(client->server->loop, &client->input_task);
}

/* ---- Output ---- */

void nbd_client_send_later(NbdClient *client)
{
    event_loop_defer(client->server->loop, &client->output_task);
}

static ssize_t socket_send(NbdClient *client, struct iovec *iov, int count)
{
    struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
    ssize_t n;
    do {
        n = sendmsg(client->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* True when all of the handshake's bytes are away. */
static bool send_handshake(NbdClient *client)
{
    while (client->out->len) {
        struct iovec iov = { client->out->data + client->out_sent,
                             client->out->len - client->out_sent };
        ssize_t n = socket_send(client, &iov, 1);
        if (n < 0) {
            if (n != -EAGAIN) {
                nbd_client_close(client);
            }
            return false;
        }
        client->out_sent += n;
        if (client->out_sent == client->out->len) {
            g_byte_array_set_size(client->out, 0);
            client->out_sent = 0;
        }
    }
    return true;
}

static void add_part(struct iovec *iov, int *count, void *data, size_t bytes, size_t *skip)
{
    size_t n = MIN(*skip, bytes);
    *skip -= n;
    if (bytes > n) {
        iov[(*count)++] = (struct iovec){ (uint8_t *)data + n, bytes - n };
    }
}

/* Replies that went out whole give their slots back. */
static void replies_sent(NbdClient *client, size_t sent)
{
    sent += client->reply_sent;
    while (client->replies) {
        NbdSlot *slot = client->replies;
        size_t whole = slot->header_len + slot->payload_len;
        if (sent < whole) {
            break;
        }
        sent -= whole;
        client->replies = slot->next;
        if (!client->replies) {
            client->replies_tail = &client->replies;
        }
        nbd_slot_release(slot);
    }
    client->reply_sent = sent;
}

static bool send_replies(NbdClient *client)
{
    while (client->replies) {
        struct iovec iov[2 * REPLIES_A_CALL];
        int count = 0, replies = 0;
        size_t skip = client->reply_sent;
        for (NbdSlot *slot = client->replies; slot && replies < REPLIES_A_CALL;
             slot = slot->next, replies++) {
            add_part(iov, &count, slot->header, slot->header_len, &skip);
            add_part(iov, &count, slot->data, slot->payload_len, &skip);
        }
        ssize_t n = socket_send(client, iov, count);
        if (n < 0) {
            if (n != -EAGAIN) {
                nbd_client_close(client);
            }
            return false;
        }
        replies_sent(client, n);
    }
    return true;
}

static void output_run(void *opaque)
{
    NbdClient *client = opaque;
    if (client->phase == NBD_CLOSED) {
        free_if_unused(client);
        return;
    }
    bool all = send_handshake(client) && send_replies(client);
    if (client->phase == NBD_CLOSED) {
        return;
    }
    if (all && client->end_when_sent && !client->in_flight) {
        nbd_client_close(client);
        return;
    }
    if (client->phase == NBD_HANDSHAKE && all) {
        nbd_client_resume_input(client);
    }
    update_watch(client);
}

static void socket_ready(void *opaque, unsigned revents)
{
    NbdClient *client = opaque;
    if (revents & POLLOUT) {
        output_run(client);
    }
    if (client->phase == NBD_CLOSED) {
        return;
    }
    if (revents & POLLIN || (revents & (POLLHUP | POLLERR) && !client->input_paused)) {
        input_run(client);
    } else if (revents & (POLLHUP | POLLERR)) {
        nbd_client_close(client); /* nobody is there to read the answers */
    }
}
