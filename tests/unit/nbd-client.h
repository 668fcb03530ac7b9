/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small blocking NBD client made of single messages, for tests of the server: it can say what no
 * proper client would. */
#ifndef TESTS_UNIT_NBD_CLIENT_H
#define TESTS_UNIT_NBD_CLIENT_H

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "block/nbd/internal.h"

static inline int client_connect(NbdServer *server)
{
    int fds[2];
    struct timeval limit = { .tv_sec = 60 };
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    g_assert_cmpint(fcntl(fds[1], F_SETFL, O_NONBLOCK), ==, 0);
    setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    nbd_server_add_client(server, fds[1]);
    return fds[0];
}

static inline bool client_send(int fd, const void *data, size_t bytes)
{
    while (bytes) {
        ssize_t n = send(fd, data, bytes, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return false;
        }
        data = (const char *)data + n;
        bytes -= n;
    }
    return true;
}

/* With a time limit, recv(2) is not restarted by itself. */
static inline ssize_t client_recv(int fd, void *data, size_t bytes)
{
    ssize_t n;
    do {
        n = recv(fd, data, bytes, 0);
    } while (n < 0 && errno == EINTR);
    return n;
}

static inline void client_read(int fd, void *data, size_t bytes)
{
    while (bytes) {
        ssize_t n = client_recv(fd, data, bytes);
        g_assert_cmpint(n, >, 0);
        data = (char *)data + n;
        bytes -= n;
    }
}

/* Reads what still comes until the server has hung up. */
static inline void assert_closed(int fd)
{
    char data[4096];
    ssize_t n;
    while ((n = client_recv(fd, data, sizeof(data))) > 0) {
    }
    g_assert_cmpint(n < 0 && errno != ECONNRESET ? errno : 0, ==, 0);
}

static inline void client_greet(int fd, uint32_t flags)
{
    uint8_t greeting[NBD_GREETING_SIZE], answer[4];
    client_read(fd, greeting, sizeof(greeting));
    g_assert_cmphex(load_be64(greeting), ==, NBD_INIT_MAGIC);
    g_assert_cmphex(load_be64(greeting + 8), ==, NBD_OPTION_MAGIC);
    g_assert_cmphex(load_be16(greeting + 16), ==, 3);
    store_be32(answer, flags);
    client_send(fd, answer, sizeof(answer));
}

static inline void client_option(int fd, uint32_t option, const void *data, uint32_t bytes)
{
    uint8_t header[NBD_OPTION_SIZE];
    store_be64(header, NBD_OPTION_MAGIC);
    store_be32(header + 8, option);
    store_be32(header + 12, bytes);
    client_send(fd, header, sizeof(header));
    client_send(fd, data, bytes);
}

/* The type of a reply to the option; its data, of *bytes, goes to data (of 4096). */
static inline uint32_t client_option_reply(int fd, uint32_t option, uint8_t *data, uint32_t *bytes)
{
    uint8_t header[NBD_OPTION_REPLY_SIZE], own[8192];
    client_read(fd, header, sizeof(header));
    g_assert_cmphex(load_be64(header), ==, NBD_OPTION_REPLY_MAGIC);
    g_assert_cmpuint(load_be32(header + 8), ==, option);
    uint32_t length = load_be32(header + 16);
    g_assert_cmpuint(length, <=, sizeof(own));
    client_read(fd, data ? data : own, length);
    if (bytes) {
        *bytes = length;
    }
    return load_be32(header + 12);
}

/* NBD_OPT_INFO or NBD_OPT_GO for an export: the last reply's type. */
static inline uint32_t client_choose(int fd, uint32_t option, const char *name)
{
    uint8_t data[6 + 4096] = { 0 };
    uint32_t len = strlen(name), type;
    store_be32(data, len);
    memcpy(data + 4, name, len);
    client_option(fd, option, data, 6 + len);
    do {
        type = client_option_reply(fd, option, NULL, NULL);
    } while (type == NBD_REP_INFO);
    return type;
}

static inline uint32_t client_contexts(int fd, uint32_t option, const char *name, const char *query)
{
    uint8_t data[512];
    uint32_t len = strlen(name), query_len = strlen(query), type;
    store_be32(data, len);
    memcpy(data + 4, name, len);
    store_be32(data + 4 + len, 1);
    store_be32(data + 8 + len, query_len);
    memcpy(data + 12 + len, query, query_len);
    client_option(fd, option, data, 12 + len + query_len);
    do {
        type = client_option_reply(fd, option, NULL, NULL);
    } while (type == NBD_REP_META_CONTEXT);
    return type;
}

static inline bool client_request(int fd, uint16_t command, uint16_t flags, uint64_t cookie,
                                  uint64_t offset, uint32_t bytes)
{
    uint8_t header[NBD_REQUEST_SIZE];
    store_be32(header, NBD_REQUEST_MAGIC);
    store_be16(header + 4, flags);
    store_be16(header + 6, command);
    store_be64(header + 8, cookie);
    store_be64(header + 16, offset);
    store_be32(header + 24, bytes);
    return client_send(fd, header, sizeof(header));
}

/* A simple reply: its error; the cookie must be this. */
static inline uint32_t client_reply(int fd, uint64_t cookie)
{
    uint8_t header[NBD_SIMPLE_REPLY_SIZE];
    client_read(fd, header, sizeof(header));
    g_assert_cmphex(load_be32(header), ==, NBD_SIMPLE_REPLY_MAGIC);
    g_assert_cmphex(load_be64(header + 8), ==, cookie);
    return load_be32(header + 4);
}

/* A structured chunk with its data (of at most max); its type. */
static inline uint16_t client_chunk(int fd, uint64_t cookie, bool *done, uint8_t *data,
                                    uint32_t max, uint32_t *bytes)
{
    uint8_t header[NBD_CHUNK_SIZE];
    client_read(fd, header, sizeof(header));
    g_assert_cmphex(load_be32(header), ==, NBD_STRUCTURED_REPLY_MAGIC);
    g_assert_cmphex(load_be64(header + 8), ==, cookie);
    *bytes = load_be32(header + 16);
    g_assert_cmpuint(*bytes, <=, max);
    client_read(fd, data, *bytes);
    *done = load_be16(header + 4) & NBD_REPLY_FLAG_DONE;
    return load_be16(header + 6);
}

#endif
