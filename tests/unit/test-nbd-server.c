/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD server against clients that know the protocol, and against those that do not. */
#include "tests/unit/nbd-client.h"

#define SIZE (4 * MIB)

typedef struct Fixture {
    NbdServer *server;
    NbdExport *disk;
    BlockNode *node;
    char *path;
} Fixture;

static BlockNode *open_node(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts) options = opts_parse(text, "driver", &error);
    BlockNode *node = options ? block_node_open(options, &error) : NULL;
    g_assert_no_error(error);
    return node;
}

static NbdExport *add_export(NbdServer *server, const char *name, const char *node, bool writable)
{
    g_autoptr(GError) error = NULL;
    NbdExportOptions o = {
        .name = name, .node = node, .writable = writable, .description = "text"
    };
    NbdExport *e = nbd_export_add(server, &o, &error);
    g_assert_no_error(error);
    return e;
}

static void set_up_with(Fixture *f, unsigned max, const char *node)
{
    g_autoptr(GError) error = NULL;
    f->path = NULL;
    f->node = open_node(node);
    f->server = nbd_server_new(max, NULL, &error);
    g_assert_no_error(error);
    f->disk = add_export(f->server, "disk", "n0", true);
}

static void set_up(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    char *path;
    int fd = g_file_open_tmp("vireo-nbd-XXXXXX", &path, &error);
    g_assert_no_error(error);
    g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
    close(fd);
    g_autofree char *text = g_strdup_printf("file,node-name=n0,discard=unmap,filename=%s", path);
    set_up_with(f, 0, text);
    f->path = path;
}

static void tear_down(Fixture *f)
{
    nbd_server_free(f->server);
    g_assert_true(block_node_delete("n0", NULL));
    if (f->path) {
        unlink(f->path);
        g_free(f->path);
    }
}

static int connect_simple(Fixture *f)
{
    int fd = client_connect(f->server);
    client_greet(fd, 3);
    g_assert_cmphex(client_choose(fd, NBD_OPT_GO, "disk"), ==, NBD_REP_ACK);
    return fd;
}

static int connect_structured(Fixture *f, const char *context)
{
    int fd = client_connect(f->server);
    client_greet(fd, 3);
    client_option(fd, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
    g_assert_cmphex(client_option_reply(fd, NBD_OPT_STRUCTURED_REPLY, NULL, NULL), ==, NBD_REP_ACK);
    if (context) {
        g_assert_cmphex(client_contexts(fd, NBD_OPT_SET_META_CONTEXT, "disk", context), ==,
                        NBD_REP_ACK);
    }
    g_assert_cmphex(client_choose(fd, NBD_OPT_GO, "disk"), ==, NBD_REP_ACK);
    return fd;
}

static void assert_serves(Fixture *f)
{
    uint8_t data[512];
    int fd = connect_simple(f);
    client_request(fd, NBD_CMD_READ, 0, 77, 0, sizeof(data));
    g_assert_cmpuint(client_reply(fd, 77), ==, 0);
    client_read(fd, data, sizeof(data));
    close(fd);
}

/* ---- Proper clients ---- */

static void written_data_is_read_back(void)
{
    Fixture f;
    uint8_t out[8192], in[8192];
    set_up(&f);
    int fd = connect_simple(&f);
    memset(out, 0x5a, sizeof(out));
    client_request(fd, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 1, 4096, sizeof(out));
    client_send(fd, out, sizeof(out));
    g_assert_cmpuint(client_reply(fd, 1), ==, 0);
    client_request(fd, NBD_CMD_READ, 0, 2, 4096, sizeof(in));
    g_assert_cmpuint(client_reply(fd, 2), ==, 0);
    client_read(fd, in, sizeof(in));
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
    client_request(fd, NBD_CMD_FLUSH, 0, 3, 0, 0);
    g_assert_cmpuint(client_reply(fd, 3), ==, 0);
    client_request(fd, NBD_CMD_CACHE, 0, 4, 0, SIZE);
    g_assert_cmpuint(client_reply(fd, 4), ==, 0);
    client_request(fd, NBD_CMD_DISC, 0, 5, 0, 0);
    assert_closed(fd);
    close(fd);
    tear_down(&f);
}

static void structured_replies_carry_data_errors_and_extents(void)
{
    Fixture f;
    uint8_t data[8200];
    uint32_t bytes;
    bool done;
    set_up(&f);
    int fd = connect_structured(&f, "base:allocation");
    client_request(fd, NBD_CMD_READ, NBD_CMD_FLAG_DF, 1, 512, 4096);
    g_assert_cmphex(client_chunk(fd, 1, &done, data, sizeof(data), &bytes), ==,
                    NBD_REPLY_TYPE_OFFSET_DATA);
    g_assert_true(done);
    g_assert_cmpuint(bytes, ==, 8 + 4096);
    g_assert_cmpuint(load_be64(data), ==, 512);
    client_request(fd, NBD_CMD_READ, 0, 2, SIZE, 512);
    g_assert_cmphex(client_chunk(fd, 2, &done, data, sizeof(data), &bytes), ==,
                    NBD_REPLY_TYPE_ERROR);
    g_assert_cmpuint(load_be32(data), ==, NBD_EINVAL);
    client_request(fd, NBD_CMD_BLOCK_STATUS, 0, 3, 0, SIZE);
    g_assert_cmphex(client_chunk(fd, 3, &done, data, sizeof(data), &bytes), ==,
                    NBD_REPLY_TYPE_BLOCK_STATUS);
    g_assert_true(done);
    g_assert_cmpuint(bytes, ==, 12);
    g_assert_cmpuint(load_be32(data), ==, NBD_CONTEXT_ALLOCATION);
    g_assert_cmpuint(load_be32(data + 4), ==, SIZE);
    g_assert_cmpuint(load_be32(data + 8), ==, NBD_STATE_HOLE | NBD_STATE_ZERO);
    close(fd);
    tear_down(&f);
}

static void extents_follow_what_is_written(void)
{
    Fixture f;
    uint8_t data[4096];
    uint32_t bytes;
    bool done;
    set_up(&f);
    int fd = connect_structured(&f, "base:allocation");
    memset(data, 1, sizeof(data));
    client_request(fd, NBD_CMD_WRITE, 0, 1, 1 * MIB, sizeof(data));
    client_send(fd, data, sizeof(data));
    g_assert_cmpuint(client_reply(fd, 1), ==, 0);
    client_request(fd, NBD_CMD_BLOCK_STATUS, 0, 2, 0, SIZE);
    client_chunk(fd, 2, &done, data, sizeof(data), &bytes);
    g_assert_cmpuint(bytes, ==, 4 + 3 * 8);
    g_assert_cmpuint(load_be32(data + 4), ==, 1 * MIB);
    g_assert_cmpuint(load_be32(data + 12), ==, 4096);
    g_assert_cmpuint(load_be32(data + 16), ==, 0);
    client_request(fd, NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 3, 0, SIZE);
    client_chunk(fd, 3, &done, data, sizeof(data), &bytes);
    g_assert_cmpuint(bytes, ==, 12);
    client_request(fd, NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 4, 1 * MIB, 4096);
    g_assert_cmpuint(client_reply(fd, 4), ==, 0);
    client_request(fd, NBD_CMD_BLOCK_STATUS, 0, 5, 0, SIZE);
    client_chunk(fd, 5, &done, data, sizeof(data), &bytes);
    g_assert_cmpuint(bytes, ==, 12);
    close(fd);
    tear_down(&f);
}

static void exports_are_listed_and_described(void)
{
    Fixture f;
    uint8_t data[8192];
    uint32_t bytes;
    set_up(&f);
    add_export(f.server, "other", "n0", false);
    int fd = client_connect(f.server);
    client_greet(fd, 3);
    client_option(fd, NBD_OPT_LIST, NULL, 0);
    g_assert_cmphex(client_option_reply(fd, NBD_OPT_LIST, data, &bytes), ==, NBD_REP_SERVER);
    g_assert_cmpmem(data + 4, bytes - 4, "disktext", 8);
    g_assert_cmphex(client_option_reply(fd, NBD_OPT_LIST, data, &bytes), ==, NBD_REP_SERVER);
    g_assert_cmpmem(data + 4, bytes - 4, "othertext", 9);
    g_assert_cmphex(client_option_reply(fd, NBD_OPT_LIST, data, &bytes), ==, NBD_REP_ACK);
    g_assert_cmphex(client_choose(fd, NBD_OPT_INFO, "other"), ==, NBD_REP_ACK);
    g_assert_cmphex(client_choose(fd, NBD_OPT_INFO, "none"), ==, NBD_REP_ERR_UNKNOWN);
    client_option(fd, NBD_OPT_ABORT, NULL, 0);
    g_assert_cmphex(client_option_reply(fd, NBD_OPT_ABORT, data, &bytes), ==, NBD_REP_ACK);
    assert_closed(fd);
    close(fd);
    tear_down(&f);
}

static void the_old_option_opens_an_export_with_and_without_zeroes(void)
{
    for (uint32_t flags = 0; flags <= 3; flags++) {
        Fixture f;
        uint8_t data[134];
        set_up(&f);
        int fd = client_connect(f.server);
        client_greet(fd, flags);
        client_option(fd, NBD_OPT_EXPORT_NAME, "disk", 4);
        client_read(fd, data, flags & NBD_NO_ZEROES ? 10 : 134);
        g_assert_cmpuint(load_be64(data), ==, SIZE);
        client_request(fd, NBD_CMD_FLUSH, 0, 3, 0, 0);
        g_assert_cmpuint(client_reply(fd, 3), ==, 0);
        close(fd);
        tear_down(&f);
    }
}

static void a_write_before_disconnect_is_done(void)
{
    Fixture f;
    uint8_t data[4096];
    set_up(&f);
    int fd = connect_simple(&f);
    memset(data, 0x77, sizeof(data));
    client_request(fd, NBD_CMD_WRITE, 0, 1, 8192, sizeof(data));
    client_send(fd, data, sizeof(data));
    client_request(fd, NBD_CMD_DISC, 0, 2, 0, 0);
    g_assert_cmpuint(client_reply(fd, 1), ==, 0);
    assert_closed(fd);
    close(fd);
    g_assert_cmpint(block_pread(f.node, 8192, data, 1), ==, 0);
    g_assert_cmphex(data[0], ==, 0x77);
    tear_down(&f);
}

/* ---- What is refused ---- */

static void bad_options_are_answered_with_their_error(void)
{
    static const uint8_t zeroes[64 * 1024];
    static const uint8_t go_long_name[] = { 0xff, 0xff, 0xff, 0xff, 'x', 0 };
    static const uint8_t go_count[] = { 0, 0, 0, 0, 0xff, 0xff, 0, 1 };
    const struct {
        uint32_t option;
        const void *data;
        uint32_t bytes, error;
    } cases[] = {
        { NBD_OPT_STARTTLS, NULL, 0, NBD_REP_ERR_UNSUP },
        { NBD_OPT_STARTTLS, "x", 1, NBD_REP_ERR_INVALID },
        { 4, NULL, 0, NBD_REP_ERR_UNSUP },
        { 0xffffffff, "abc", 3, NBD_REP_ERR_UNSUP },
        { NBD_OPT_LIST, "x", 1, NBD_REP_ERR_INVALID },
        { NBD_OPT_GO, NULL, 0, NBD_REP_ERR_INVALID },
        { NBD_OPT_GO, go_long_name, sizeof(go_long_name), NBD_REP_ERR_INVALID },
        { NBD_OPT_INFO, go_count, sizeof(go_count), NBD_REP_ERR_INVALID },
        { NBD_OPT_STRUCTURED_REPLY, "x", 1, NBD_REP_ERR_INVALID },
        { NBD_OPT_SET_META_CONTEXT, zeroes, 8, NBD_REP_ERR_INVALID },
        { NBD_OPT_LIST_META_CONTEXT, NULL, 0, NBD_REP_ERR_INVALID },
        { NBD_OPT_GO, zeroes, sizeof(zeroes), NBD_REP_ERR_TOO_BIG },
    };
    Fixture f;
    set_up(&f);
    int fd = client_connect(f.server);
    client_greet(fd, 3);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        client_option(fd, cases[i].option, cases[i].data, cases[i].bytes);
        g_assert_cmphex(client_option_reply(fd, cases[i].option, NULL, NULL), ==, cases[i].error);
    }
    g_assert_cmphex(client_choose(fd, NBD_OPT_GO, "disk"), ==, NBD_REP_ACK);
    close(fd);
    tear_down(&f);
}

static void contexts_of_another_export_are_forgotten(void)
{
    Fixture f;
    uint8_t data[512];
    uint32_t bytes;
    bool done;
    set_up(&f);
    add_export(f.server, "other", "n0", false);
    int fd = client_connect(f.server);
    client_greet(fd, 3);
    client_option(fd, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
    client_option_reply(fd, NBD_OPT_STRUCTURED_REPLY, NULL, NULL);
    g_assert_cmphex(client_contexts(fd, NBD_OPT_LIST_META_CONTEXT, "other", "base:"), ==,
                    NBD_REP_ACK);
    g_assert_cmphex(client_contexts(fd, NBD_OPT_SET_META_CONTEXT, "other", "base:allocation"), ==,
                    NBD_REP_ACK);
    g_assert_cmphex(client_choose(fd, NBD_OPT_GO, "disk"), ==, NBD_REP_ACK);
    client_request(fd, NBD_CMD_BLOCK_STATUS, 0, 3, 0, SIZE);
    g_assert_cmphex(client_chunk(fd, 3, &done, data, sizeof(data), &bytes), ==,
                    NBD_REPLY_TYPE_ERROR);
    close(fd);
    tear_down(&f);
}

static void garbage_ends_the_connection(void)
{
    static const struct {
        const char *bytes;
        size_t length;
    } streams[] = {
        { "\xff\xff\xff\xff", 4 },
        { "\0\0\0\3GET / HTTP/1.1\r\n", 20 },
        { "\0\0\0\3IHAVEOPT\0\0\0\7\xff\xff\xff\xff", 20 },
        { "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\x20\0", 20 },
        { "\0\0\0\0IHAVEOPT\0\0\0\3\0\0\0\0", 20 },
        { "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\4nope", 24 },
        { "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\4disk\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
          "\0\0",
          52 },
    };
    Fixture f;
    set_up(&f);
    for (size_t i = 0; i < G_N_ELEMENTS(streams); i++) {
        int fd = client_connect(f.server);
        client_send(fd, streams[i].bytes, streams[i].length);
        assert_closed(fd);
        close(fd);
    }
    assert_serves(&f);
    tear_down(&f);
}

static void bad_requests_are_answered_and_the_stream_goes_on(void)
{
    const struct {
        uint16_t command, flags;
        uint64_t offset;
        uint32_t bytes, error;
    } cases[] = {
        { NBD_CMD_READ, 0, SIZE - 1, 2, NBD_EINVAL },
        { NBD_CMD_READ, 0, UINT64_MAX, UINT32_MAX, NBD_EINVAL },
        { NBD_CMD_READ, 0, 0, NBD_MAX_REQUEST + 1, NBD_EINVAL },
        { NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 512, NBD_EINVAL },
        { NBD_CMD_WRITE, 0, SIZE, 512, NBD_ENOSPC },
        { NBD_CMD_WRITE, 0x8000, 0, 512, NBD_EINVAL },
        { NBD_CMD_WRITE, 0, 0, NBD_MAX_REQUEST + 1, NBD_EINVAL },
        { NBD_CMD_TRIM, 0, SIZE - 511, 512, NBD_EINVAL },
        { NBD_CMD_WRITE_ZEROES, 0, 1, SIZE, NBD_ENOSPC },
        { NBD_CMD_FLUSH, 0, 1, 0, NBD_EINVAL },
        { NBD_CMD_BLOCK_STATUS, 0, 0, 512, NBD_EINVAL },
        { 8, 0, 0, 0, NBD_EINVAL },
        { 0xffff, 0, 0, 512, NBD_EINVAL },
        { NBD_CMD_READ, 0, 0, 0, 0 },
        { NBD_CMD_TRIM, 0, 0, SIZE, 0 },
    };
    Fixture f;
    set_up(&f);
    int fd = connect_simple(&f);
    g_autofree uint8_t *zeroes = g_malloc0(NBD_MAX_REQUEST + 1);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        client_request(fd, cases[i].command, cases[i].flags, i, cases[i].offset, cases[i].bytes);
        if (cases[i].command == NBD_CMD_WRITE) {
            client_send(fd, zeroes, cases[i].bytes);
        }
        g_assert_cmpuint(client_reply(fd, i), ==, cases[i].error);
    }
    close(fd);
    tear_down(&f);
}

static void nothing_is_written_through_a_read_only_export(void)
{
    static const uint16_t commands[] = { NBD_CMD_WRITE, NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES };
    Fixture f;
    uint8_t data[512] = { 1 };
    set_up(&f);
    add_export(f.server, "ro", "n0", false);
    int fd = client_connect(f.server);
    client_greet(fd, 3);
    g_assert_cmphex(client_choose(fd, NBD_OPT_GO, "ro"), ==, NBD_REP_ACK);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        client_request(fd, commands[i], 0, i, 0, sizeof(data));
        if (commands[i] == NBD_CMD_WRITE) {
            client_send(fd, data, sizeof(data));
        }
        g_assert_cmpuint(client_reply(fd, i), ==, NBD_EPERM);
    }
    close(fd);
    g_assert_cmpint(block_pread(f.node, 0, data, sizeof(data)), ==, 0);
    g_assert_cmpuint(data[0], ==, 0);
    tear_down(&f);
}

/* ---- Slow, half-open and many ---- */

static void a_handshake_that_stands_still_is_ended(void)
{
    Fixture f;
    set_up(&f);
    nbd_handshake_ns = 20 * NS_PER_MS;
    int fd = client_connect(f.server), other = client_connect(f.server);
    client_greet(other, 3);
    client_send(other, "IHAV", 4);
    assert_closed(fd);
    assert_closed(other);
    nbd_handshake_ns = 10 * NS_PER_SEC;
    close(fd);
    close(other);
    while (nbd_server_client_count(f.server)) {
        g_thread_yield();
    }
    assert_serves(&f);
    tear_down(&f);
}

static void one_byte_at_a_time_is_enough(void)
{
    Fixture f;
    uint8_t data[512], request[] = "\x25\x60\x95\x13\0\0\0\0COOKIE!!\0\0\0\0\0\0\0\0\0\0\2";
    set_up(&f);
    int fd = connect_simple(&f);
    for (size_t i = 0; i < NBD_REQUEST_SIZE; i++) {
        client_send(fd, request + i, 1);
    }
    client_read(fd, data, 16);
    client_read(fd, data, 512);
    close(fd);
    tear_down(&f);
}

typedef struct Measure {
    NbdServer *server;
    size_t most;
} Measure;

static void measure(void *opaque)
{
    Measure *m = opaque;
    for (NbdClient *client = m->server->clients; client; client = client->next) {
        m->most = MAX(m->most, client->bytes);
    }
}

/* Its requests stay where they are: the server's memory for it is bounded, others are served. */
static void a_client_that_never_reads_hinders_nobody(void)
{
    Fixture f;
    set_up(&f);
    int fd = connect_simple(&f);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 100000 && client_request(fd, NBD_CMD_READ, 0, i, 0, 2 * MIB); i++) {
    }
    assert_serves(&f);
    Measure m = { .server = f.server };
    event_loop_call(f.server->loop, measure, &m);
    g_assert_cmpuint(m.most, >, 0);
    g_assert_cmpuint(m.most, <=, NBD_CLIENT_BYTES + NBD_MAX_REQUEST);
    close(fd);
    tear_down(&f);
}

static int connect_path(const char *path)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    return fd;
}

static void connections_above_the_limit_wait_for_their_turn(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_dir_make_tmp("vireo-nbd-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "s", NULL);
    g_autoptr(Opts) options = opts_new();
    CharAddress address;
    uint8_t byte;
    int fds[20];
    set_up_with(&f, 2, "null-co,node-name=n0,read-zeroes=on");
    opts_set(options, "path", path);
    g_assert_true(char_address_parse(&address, options, &error));
    g_assert_true(nbd_server_listen(f.server, &address, &error));
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = connect_path(path);
    }
    client_greet(fds[0], 3);
    client_greet(fds[1], 3);
    g_assert_cmpuint(nbd_server_client_count(f.server), ==, 2);
    g_assert_cmpint(recv(fds[2], &byte, 1, MSG_DONTWAIT), ==, -1);
    for (size_t i = 2; i < G_N_ELEMENTS(fds); i++) {
        close(fds[i - 2]);
        client_greet(fds[i], 3);
    }
    close(fds[18]);
    close(fds[19]);
    tear_down(&f);
    char_address_clear(&address);
    rmdir(folder);
}

/* ---- The end, at any moment ---- */

static void an_export_goes_while_requests_are_under_way(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    set_up_with(&f, 0, "null-co,node-name=n0,latency-ns=3000000");
    int fd = connect_simple(&f);
    for (int i = 0; i < 40; i++) {
        client_request(fd, NBD_CMD_READ, 0, i, 0, 4096);
    }
    client_reply(fd, 0);
    g_assert_false(nbd_export_remove(f.disk, false, &error));
    g_assert_nonnull(error);
    g_assert_true(nbd_export_remove(f.disk, true, NULL));
    assert_closed(fd);
    close(fd);
    int other = client_connect(f.server);
    client_greet(other, 3);
    g_assert_cmphex(client_choose(other, NBD_OPT_INFO, "disk"), ==, NBD_REP_ERR_UNKNOWN);
    tear_down(&f);
    close(other);
}

static void hanging_up_at_any_byte_leaves_the_server_whole(void)
{
    Fixture f;
    uint8_t stream[4 + 16 + 4 + NBD_REQUEST_SIZE + 512 + 2 * NBD_REQUEST_SIZE] =
        "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\4disk";
    uint8_t *p = stream + 24;
    memcpy(p, "\x25\x60\x95\x13\0\0\0\1COOKIE!!\0\0\0\0\0\0\0\0\0\0\2\0", NBD_REQUEST_SIZE);
    p += NBD_REQUEST_SIZE + 512;
    memcpy(p, "\x25\x60\x95\x13\0\0\0\0COOKIE!!\0\0\0\0\0\0\0\0\0\1\0\0", NBD_REQUEST_SIZE);
    p += NBD_REQUEST_SIZE;
    memcpy(p, "\x25\x60\x95\x13\0\0\0\5COOKIE!!\0\0\0\0\0\0\0\0\0\1\0\0", NBD_REQUEST_SIZE);
    set_up(&f);
    for (size_t n = 0; n <= sizeof(stream); n++) {
        int fd = client_connect(f.server);
        client_send(fd, stream, n);
        close(fd);
    }
    assert_serves(&f);
    tear_down(&f);
}

static void random_bytes_break_nothing(void)
{
    Fixture f;
    uint8_t data[300];
    set_up_with(&f, 0, "null-co,node-name=n0,read-zeroes=on,size=1M");
    for (int round = 0; round < 300; round++) {
        int fd = round & 1 ? connect_structured(&f, "base:allocation") : client_connect(f.server);
        size_t n = g_test_rand_int_range(1, sizeof(data));
        for (size_t i = 0; i < n; i++) {
            data[i] = g_test_rand_int_range(0, 256);
        }
        if (round & 1) { /* a request of its kind, then anything */
            client_request(fd, data[0] % 9, data[1] % 32, 1, data[2] * 4096, data[3] * 4096);
        } else {
            memcpy(data, "\0\0\0\3IHAVEOPT\0\0\0", MIN(n, 15));
        }
        client_send(fd, data, n);
        shutdown(fd, SHUT_WR);
        assert_closed(fd);
        close(fd);
    }
    assert_serves(&f);
    tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
#define TEST(f) g_test_add_func("/nbd-server/" #f, f)
    TEST(written_data_is_read_back);
    TEST(structured_replies_carry_data_errors_and_extents);
    TEST(extents_follow_what_is_written);
    TEST(exports_are_listed_and_described);
    TEST(the_old_option_opens_an_export_with_and_without_zeroes);
    TEST(a_write_before_disconnect_is_done);
    TEST(bad_options_are_answered_with_their_error);
    TEST(contexts_of_another_export_are_forgotten);
    TEST(garbage_ends_the_connection);
    TEST(bad_requests_are_answered_and_the_stream_goes_on);
    TEST(nothing_is_written_through_a_read_only_export);
    TEST(a_handshake_that_stands_still_is_ended);
    TEST(one_byte_at_a_time_is_enough);
    TEST(a_client_that_never_reads_hinders_nobody);
    TEST(connections_above_the_limit_wait_for_their_turn);
    TEST(an_export_goes_while_requests_are_under_way);
    TEST(hanging_up_at_any_byte_leaves_the_server_whole);
    TEST(random_bytes_break_nothing);
    return g_test_run();
}
