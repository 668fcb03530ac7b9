/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The handshake: fixed newstyle negotiation (doc/proto.md, "Option haggling"). */
#include "block/nbd/internal.h"

static void option_arrived(NbdClient *client);

static void put(NbdClient *client, const void *data, size_t bytes)
{
    g_byte_array_append(client->out, data, bytes);
}

static void put16(NbdClient *client, uint16_t value)
{
    uint8_t bytes[2];
    store_be16(bytes, value);
    put(client, bytes, sizeof(bytes));
}

static void put32(NbdClient *client, uint32_t value)
{
    uint8_t bytes[4];
    store_be32(bytes, value);
    put(client, bytes, sizeof(bytes));
}

static void put64(NbdClient *client, uint64_t value)
{
    uint8_t bytes[8];
    store_be64(bytes, value);
    put(client, bytes, sizeof(bytes));
}

static void put_reply(NbdClient *client, uint32_t type, uint32_t length)
{
    put64(client, NBD_OPTION_REPLY_MAGIC);
    put32(client, client->option);
    put32(client, type);
    put32(client, length);
    nbd_client_send_later(client);
}

static void put_error(NbdClient *client, uint32_t type, const char *message)
{
    size_t length = strlen(message);
    put_reply(client, type, length);
    put(client, message, length);
}

static void expect_option(NbdClient *client)
{
    g_clear_pointer(&client->option_data, g_free);
    nbd_client_expect(client, client->header, NBD_OPTION_SIZE, option_arrived);
    if (client->out->len > NBD_OPTION_OUTPUT) {
        nbd_client_pause_input(client);
    }
}

/* ---- Reading an option's data ---- */

typedef struct Reader {
    const uint8_t *data;
    size_t left;
} Reader;

static bool read_u16(Reader *r, uint16_t *value)
{
    if (r->left < 2) {
        return false;
    }
    *value = load_be16(r->data);
    r->data += 2;
    r->left -= 2;
    return true;
}

static bool read_u32(Reader *r, uint32_t *value)
{
    if (r->left < 4) {
        return false;
    }
    *value = load_be32(r->data);
    r->data += 4;
    r->left -= 4;
    return true;
}

static bool read_string(Reader *r, const char **text, uint32_t *len)
{
    if (!read_u32(r, len) || *len > NBD_MAX_STRING || *len > r->left) {
        return false;
    }
    *text = (const char *)r->data;
    r->data += *len;
    r->left -= *len;
    return true;
}

/* ---- Choosing an export ---- */

static unsigned contexts_of(const NbdExport *found)
{
    return 1U << NBD_CONTEXT_ALLOCATION | (found->allocation_depth ? 1U << NBD_CONTEXT_DEPTH : 0) |
           ((1U << found->bitmap_count) - 1) << NBD_CONTEXT_BITMAP;
}

void nbd_client_unchoose(NbdClient *client)
{
    if (client->export) {
        atomic_fetch_sub(&client->export->clients, 1);
        client->export = NULL;
    }
}

static void choose(NbdClient *client, NbdExport *found)
{
    timer_cancel(&client->timeout);
    client->export = found;
    client->chosen = true;
    client->size = block_backend_length(found->backend);
    atomic_fetch_add(&found->clients, 1);
    atomic_fetch_add(&client->server->chosen_count, 1);
    if (!client->contexts_of || strcmp(client->contexts_of, found->name) != 0) {
        client->contexts = 0;
    }
    client->contexts &= contexts_of(found);
    nbd_transmission_start(client);
}

static void export_name(NbdClient *client)
{
    static const uint8_t zeroes[124];
    NbdExport *found = nbd_server_find_export(client->server, (const char *)client->option_data,
                                              client->option_len);
    if (!found) {
        nbd_client_end(client); /* this option has no way to say no */
        return;
    }
    put64(client, block_backend_length(found->backend));
    put16(client, nbd_export_flags(client, found));
    if (!client->no_zeroes) {
        put(client, zeroes, sizeof(zeroes));
    }
    nbd_client_send_later(client);
    choose(client, found);
}

static void put_info_string(NbdClient *client, uint16_t kind, const char *text)
{
    put_reply(client, NBD_REP_INFO, 2 + strlen(text));
    put16(client, kind);
    put(client, text, strlen(text));
}

static void put_infos(NbdClient *client, const NbdExport *found, unsigned wanted)
{
    put_reply(client, NBD_REP_INFO, 12);
    put16(client, NBD_INFO_EXPORT);
    put64(client, block_backend_length(found->backend));
    put16(client, nbd_export_flags(client, found));
    if (wanted & 1 << NBD_INFO_NAME) {
        put_info_string(client, NBD_INFO_NAME, found->name);
    }
    if (wanted & 1 << NBD_INFO_DESCRIPTION && found->description) {
        put_info_string(client, NBD_INFO_DESCRIPTION, found->description);
    }
    put_reply(client, NBD_REP_INFO, 14);
    put16(client, NBD_INFO_BLOCK_SIZE);
    put32(client, 1);
    put32(client, 4096);
    put32(client, NBD_MAX_REQUEST);
}

static void info_or_go(NbdClient *client)
{
    Reader r = { client->option_data, client->option_len };
    const char *name;
    uint32_t len;
    uint16_t count, kind;
    unsigned wanted = 0;
    if (!read_string(&r, &name, &len) || !read_u16(&r, &count) || r.left != 2U * count) {
        put_error(client, NBD_REP_ERR_INVALID, "malformed option");
        return;
    }
    while (read_u16(&r, &kind)) {
        wanted |= kind <= NBD_INFO_BLOCK_SIZE ? 1U << kind : 0;
    }
    NbdExport *found = nbd_server_find_export(client->server, name, len);
    if (!found) {
        put_error(client, NBD_REP_ERR_UNKNOWN, "no export of this name");
        return;
    }
    put_infos(client, found, wanted);
    put_reply(client, NBD_REP_ACK, 0);
    if (client->option == NBD_OPT_GO) {
        choose(client, found);
    }
}

static void list(NbdClient *client)
{
    if (client->option_len) {
        put_error(client, NBD_REP_ERR_INVALID, "this option has no data");
        return;
    }
    for (const NbdExport *e = client->server->exports; e; e = e->next) {
        size_t name = strlen(e->name), text = e->description ? strlen(e->description) : 0;
        put_reply(client, NBD_REP_SERVER, 4 + name + text);
        put32(client, name);
        put(client, e->name, name);
        put(client, e->description ? e->description : "", text);
    }
    put_reply(client, NBD_REP_ACK, 0);
}

/* ---- Metadata contexts ---- */

/* What the export calls its context i (g_free); NULL: it has none. */
static char *context_name(const NbdExport *found, unsigned i)
{
    unsigned bitmap = i - NBD_CONTEXT_BITMAP;
    switch (i) {
    case NBD_CONTEXT_ALLOCATION:
        return g_strdup("base:allocation");
    case NBD_CONTEXT_DEPTH:
        return found->allocation_depth ? g_strdup("qemu:allocation-depth") : NULL;
    default:
        return bitmap < found->bitmap_count
                   ? g_strdup_printf("qemu:dirty-bitmap:%s", found->bitmaps[bitmap]->name)
                   : NULL;
    }
}

static bool is_text(const char *query, size_t len, const char *text)
{
    return len == strlen(text) && !memcmp(query, text, len);
}

/* In a list, "base:", "qemu:" and "qemu:dirty-bitmap:" name all of theirs. */
static bool name_matches(const char *name, const char *query, size_t len, bool listing)
{
    bool whole = is_text(query, len, name);
    bool all = listing && (is_text(query, len, "base:") || is_text(query, len, "qemu:") ||
                           is_text(query, len, "qemu:dirty-bitmap:"));
    return whole || (all && len < strlen(name) && !memcmp(name, query, len));
}

/* The contexts of the export that a query names. */
static unsigned match_query(const NbdExport *nbd_export, const char *query, size_t len,
                            bool listing)
{
    unsigned found = 0;
    for (unsigned i = 0; i < NBD_CONTEXTS; i++) {
        g_autofree char *name = context_name(nbd_export, i);
        found |= name && name_matches(name, query, len, listing) ? 1U << i : 0;
    }
    return found;
}

static void put_contexts(NbdClient *client, const NbdExport *found, unsigned contexts, bool listing)
{
    for (unsigned i = 0; i < NBD_CONTEXTS; i++) {
        g_autofree char *name = contexts & 1U << i ? context_name(found, i) : NULL;
        if (name) {
            put_reply(client, NBD_REP_META_CONTEXT, 4 + strlen(name));
            put32(client, listing ? 0 : i);
            put(client, name, strlen(name));
        }
    }
    put_reply(client, NBD_REP_ACK, 0);
}

static void meta_context(NbdClient *client)
{
    bool listing = client->option == NBD_OPT_LIST_META_CONTEXT;
    Reader r = { client->option_data, client->option_len };
    const char *name, *query;
    uint32_t len, count, query_len;
    if (!listing) {
        client->contexts = 0; /* a failed choice leaves none */
        g_clear_pointer(&client->contexts_of, g_free);
    }
    if (!client->structured) {
        put_error(client, NBD_REP_ERR_INVALID, "structured replies must be negotiated first");
        return;
    }
    if (!read_string(&r, &name, &len) || !read_u32(&r, &count)) {
        put_error(client, NBD_REP_ERR_INVALID, "malformed option");
        return;
    }
    NbdExport *found = nbd_server_find_export(client->server, name, len);
    unsigned contexts = listing && count == 0 ? ~0U : 0;
    for (; count; count--) {
        if (!read_string(&r, &query, &query_len)) {
            put_error(client, NBD_REP_ERR_INVALID, "malformed query");
            return;
        }
        contexts |= found ? match_query(found, query, query_len, listing) : 0;
    }
    if (r.left || !found) {
        put_error(client, r.left ? NBD_REP_ERR_INVALID : NBD_REP_ERR_UNKNOWN,
                  r.left ? "bytes behind the last query" : "no export of this name");
        return;
    }
    contexts &= contexts_of(found);
    if (!listing) {
        client->contexts = contexts;
        client->contexts_of = g_strdup(found->name);
    }
    put_contexts(client, found, contexts, listing);
}

/* ---- Options ---- */

static void structured_reply(NbdClient *client)
{
    if (client->option_len) {
        put_error(client, NBD_REP_ERR_INVALID, "this option has no data");
    } else if (client->structured) {
        put_error(client, NBD_REP_ERR_INVALID, "structured replies were negotiated already");
    } else {
        client->structured = true;
        put_reply(client, NBD_REP_ACK, 0);
    }
}

static void run_option(NbdClient *client)
{
    switch (client->option) {
    case NBD_OPT_EXPORT_NAME:
        export_name(client);
        break;
    case NBD_OPT_ABORT:
        put_reply(client, NBD_REP_ACK, 0);
        nbd_client_end(client);
        break;
    case NBD_OPT_LIST:
        list(client);
        break;
    case NBD_OPT_STARTTLS:
        put_error(client, client->option_len ? NBD_REP_ERR_INVALID : NBD_REP_ERR_UNSUP,
                  "this server has no TLS");
        break;
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        info_or_go(client);
        break;
    case NBD_OPT_STRUCTURED_REPLY:
        structured_reply(client);
        break;
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
        meta_context(client);
        break;
    default:
        put_error(client, NBD_REP_ERR_UNSUP, "unknown option");
        break;
    }
}

static void option_complete(NbdClient *client)
{
    run_option(client);
    if (client->phase == NBD_HANDSHAKE) {
        expect_option(client);
    }
}

static void option_skipped(NbdClient *client)
{
    put_error(client, NBD_REP_ERR_TOO_BIG, "the option is too long");
    expect_option(client);
}

static void option_arrived(NbdClient *client)
{
    client->option = load_be32(client->header + 8);
    client->option_len = load_be32(client->header + 12);
    bool name = client->option == NBD_OPT_EXPORT_NAME;
    if (load_be64(client->header) != NBD_OPTION_MAGIC || client->option_len > NBD_OPTION_SKIP ||
        (name && client->option_len > NBD_MAX_STRING) || (!name && !client->fixed)) {
        nbd_client_close(client);
    } else if (client->option_len > NBD_OPTION_MAX) {
        nbd_client_expect(client, NULL, client->option_len, option_skipped);
    } else {
        client->option_data = g_malloc(MAX(client->option_len, 1));
        nbd_client_expect(client, client->option_data, client->option_len, option_complete);
    }
}

static void flags_arrived(NbdClient *client)
{
    uint32_t flags = load_be32(client->header);
    if (flags & ~(uint32_t)(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES)) {
        nbd_client_close(client);
        return;
    }
    client->fixed = flags & NBD_FIXED_NEWSTYLE;
    client->no_zeroes = flags & NBD_NO_ZEROES;
    expect_option(client);
}

void nbd_handshake_start(NbdClient *client)
{
    put64(client, NBD_INIT_MAGIC);
    put64(client, NBD_OPTION_MAGIC);
    put16(client, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
    nbd_client_expect(client, client->header, NBD_CLIENT_FLAGS_SIZE, flags_arrived);
    nbd_client_send_later(client);
}
