/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An NBD client that says anything: the server answers, hangs up, and goes on with others. */
#include "tests/unit/nbd-client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LONGEST 2048

static NbdServer *make_server(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts)
        options = opts_parse("null-co,node-name=n0,size=64K,read-zeroes=on", "driver", &error);
    NbdExportOptions o = { .name = "", .node = "n0", .writable = true, .allocation_depth = true };
    event_loop_main();
    NbdServer *server = block_node_open(options, &error) ? nbd_server_new(0, NULL, &error) : NULL;
    if (!server || !nbd_export_add(server, &o, &error)) {
        abort();
    }
    return server;
}

/* Reads what is there, so that the server never waits for room. */
static void swallow(int fd, bool wait)
{
    uint8_t buffer[65536];
    while (recv(fd, buffer, sizeof(buffer), wait ? 0 : MSG_DONTWAIT) > 0) {
    }
}

/* A proper handshake up to structured replies and both contexts. */
static void skip_handshake(int fd)
{
    client_greet(fd, 3);
    client_option(fd, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
    client_option_reply(fd, NBD_OPT_STRUCTURED_REPLY, NULL, NULL);
    client_contexts(fd, NBD_OPT_SET_META_CONTEXT, "", "base:allocation");
    client_choose(fd, NBD_OPT_GO, "");
}

/* Input: byte 0: odd to begin behind a handshake; byte 1: the length of the pieces; the rest: the
 * client's bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static NbdServer *server;
    if (size < 2 || size > LONGEST) {
        return 0;
    }
    if (!server) {
        server = make_server();
    }
    int fd = client_connect(server);
    if (data[0] & 1) {
        skip_handshake(fd);
    }
    size_t piece = data[1] ? data[1] * 4 : 1;
    for (size_t at = 2; at < size; at += piece) {
        if (!client_send(fd, data + at, MIN(piece, size - at))) {
            break;
        }
        swallow(fd, false);
    }
    shutdown(fd, SHUT_WR);
    swallow(fd, true);
    close(fd);
    while (nbd_server_client_count(server)) {
        g_thread_yield();
    }
    return 0;
}
