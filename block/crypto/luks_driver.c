/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The format "luks": a LUKS header, and behind it the disk in encrypted sectors. */
#include <errno.h>
#include "block/crypto/luks.h"
#include "vmm/util/bytes.h"

typedef struct LuksState {
    LuksHeader h;
    Sectors *sectors; /* NULL: opened without a key, to be described */
    uint64_t payload; /* bytes before the data */
    char *key_secret;
} LuksState;

/* ---- Opening ---- */

static void set_length(BlockNode *node)
{
    LuksState *s = node->state;
    uint64_t below = block_node_length(node->file);
    uint64_t length = below > s->payload ? below - s->payload : 0;
    atomic_store(&node->length, length / SECTOR_BYTES * SECTOR_BYTES);
}

static bool open_header(BlockNode *node, GError **error)
{
    LuksState *s = node->state;
    uint64_t room = block_node_length(node->file);
    if (!s->key_secret && node->no_io) {
        return luks_read(&s->h, node->file, 0, room, error);
    }
    s->sectors = luks_open(&s->h, node->file, 0, room, "key-secret", s->key_secret, error);
    return s->sectors != NULL;
}

static bool luks_node_open(BlockNode *node, Opts *options, GError **error)
{
    LuksState *s = node->state;
    s->key_secret = g_strdup(opts_get(options, "key-secret"));
    node->filename = g_strdup(node->file->filename);
    if (!open_header(node, error)) {
        g_prefix_error(error, "'%s' (luks): ", node->filename ? node->filename : node->file->name);
        g_free(s->key_secret);
        return false;
    }
    s->payload = (uint64_t)s->h.payload_sector * SECTOR_BYTES;
    node->limits = node->file->limits;
    node->limits.request_alignment = MAX(node->limits.request_alignment, SECTOR_BYTES);
    node->limits.discard_granularity = 0;
    node->limits.has_write_zeroes = false;
    set_length(node);
    return true;
}

static void luks_node_close(BlockNode *node)
{
    LuksState *s = node->state;
    sectors_free(s->sectors);
    g_free(s->key_secret);
}

/* ---- Requests ---- */

static void luks_submit(BlockNode *node, BlockRequest *request)
{
    LuksState *s = node->state;
    switch (request->kind) {
    case BLOCK_FLUSH:
        block_node_submit(node->file, request);
        return;
    case BLOCK_DISCARD: /* a hint, and zeroes would not come of it */
    case BLOCK_POPULATE:
        block_request_complete_later(request, 0);
        return;
    case BLOCK_STATUS:
        *request->status = (BlockStatus){ .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED,
                                          .bytes = request->bytes };
        block_request_complete_later(request, 0);
        return;
    case BLOCK_WRITE_ZEROES:
        if (request->kflags & BLOCK_REQ_NO_FALLBACK) {
            block_request_complete_later(request, -ENOTSUP);
            return;
        }
        break;
    default:
        break;
    }
    if (!s->sectors) {
        block_request_complete_later(request, -EACCES);
        return;
    }
    sectors_submit(s->sectors, node->file, request, s->payload + request->position,
                   request->position);
}

static int luks_flush(BlockNode *node)
{
    return node_flush(node->file);
}

static bool luks_resize(BlockNode *node, uint64_t size, GError **error)
{
    LuksState *s = node->state;
    if (size > INT64_MAX - s->payload) {
        return error_set(error, "with its LUKS header the image would be larger than 2^63 bytes");
    }
    return block_resize(node->file, size + s->payload, error);
}

/* ---- Images ---- */

static const BlockCreateOption luks_create_options[] = {
    { "cipher-alg", BLOCK_OPTION_STRING, "Cipher: aes-256, serpent-256, twofish-256 ...", NULL },
    { "cipher-mode", BLOCK_OPTION_STRING, "Mode of the cipher: xts, cbc, ecb, ctr", NULL },
    { "hash-alg", BLOCK_OPTION_STRING, "Hash of passwords: sha256, sha512, sha1 ...", NULL },
    { "iter-time", BLOCK_OPTION_NUMBER, "Milliseconds to spend in PBKDF", NULL },
    { "ivgen-alg", BLOCK_OPTION_STRING, "How initialisation vectors are made", NULL },
    { "ivgen-hash-alg", BLOCK_OPTION_STRING, "Hash algorithm of their generator", NULL },
    { "key-secret", BLOCK_OPTION_STRING, "ID of the secret with the password", NULL },
    { "size", BLOCK_OPTION_SIZE, "Size of the disk that the guest sees", NULL },
    { NULL },
};

static const BlockCreateOption luks_amend_options[] = {
    { "iter-time", BLOCK_OPTION_NUMBER, "Milliseconds to spend in PBKDF", NULL },
    { "keyslot", BLOCK_OPTION_NUMBER, "The key slot that is changed", NULL },
    { "new-secret", BLOCK_OPTION_STRING, "ID of the secret with a password to add", NULL },
    { "old-secret", BLOCK_OPTION_STRING, "Slots of this secret's password are erased", NULL },
    { "state", BLOCK_OPTION_STRING, "What slots become: active, inactive", NULL },
    { NULL },
};

typedef struct LuksCreation {
    BlockCreation creation;
    BlockNode *file;
    LuksOptions luks;
    LuksPassword password;
} LuksCreation;

static bool fill_creation(BlockCreation *creation, BlockGoOn *go_on, void *opaque, GError **error)
{
    LuksCreation *c = (LuksCreation *)creation;
    return luks_create(c->file, 0, &c->luks, &c->password, error);
}

static void free_creation(BlockCreation *creation)
{
    luks_forget_password(&((LuksCreation *)creation)->password);
    g_free(creation);
}

static bool plan_creation(LuksCreation *c, Opts *options, GError **error)
{
    uint64_t size = 0;
    const char *secret = opts_get(options, "key-secret");
    if (!luks_take_options(&c->luks, options, "", error) ||
        !opts_get_size(options, "size", &size, error)) {
        return false;
    }
    if (!secret) {
        return error_set(
            error, "'key-secret' is missing: it names the -object secret that has the password");
    }
    uint64_t header = luks_header_bytes(&c->luks);
    if (size > INT64_MAX - header - SECTOR_BYTES) {
        return error_set(error, "with its LUKS header the image would be larger than 2^63 bytes");
    }
    return luks_take_password(&c->password, secret, error) &&
           block_resize(c->file, header + ALIGN_UP(size, SECTOR_BYTES), error);
}

static BlockCreation *luks_node_plan(BlockNode *file, Opts *options, GError **error)
{
    LuksCreation *c = g_new0(LuksCreation, 1);
    c->creation = (BlockCreation){ fill_creation, free_creation };
    c->file = file;
    if (!plan_creation(c, options, error)) {
        free_creation(&c->creation);
        return NULL;
    }
    return &c->creation;
}

static bool luks_node_create(BlockNode *file, Opts *options, GError **error)
{
    return block_creation_run(luks_node_plan(file, options, error), error);
}

static bool luks_measure(Opts *options, BlockNode *in, BlockMeasure *measure, GError **error)
{
    LuksOptions luks;
    uint64_t size = in ? block_node_length(in) : 0;
    if (!luks_take_options(&luks, options, "", error) ||
        !opts_get_size(options, "size", &size, error)) {
        return false;
    }
    opts_get(options, "key-secret");
    if (size > INT64_MAX - luks_header_bytes(&luks)) {
        return error_set(error, "The image size is too large");
    }
    size += luks_header_bytes(&luks);
    *measure = (BlockMeasure){ .required = size, .fully_allocated = size, .bitmaps = UINT64_MAX };
    return true;
}

static void luks_info(BlockNode *node, BlockImageInfo *info)
{
    LuksState *s = node->state;
    info->encrypted = true;
    info->specific = json_object_new_object();
    luks_describe(&s->h, NULL, info->specific);
}

static bool luks_node_amend(BlockNode *node, Opts *options, BlockProgress *progress, void *opaque,
                            GError **error)
{
    LuksState *s = node->state;
    bool ok = luks_amend(&s->h, node->file, 0, s->key_secret, options, "", error);
    if (ok && progress) {
        progress(100, opaque);
    }
    return ok;
}

static const BlockImageOps luks_image_ops = {
    .create_options = luks_create_options,
    .amend_options = luks_amend_options,
    .create = luks_node_create,
    .plan = luks_node_plan,
    .info = luks_info,
    .measure = luks_measure,
    .amend = luks_node_amend,
};

static const char *const luks_options[] = { "file", "key-secret", NULL };

const BlockDriver luks_driver = {
    .name = "luks",
    .desc = "Encrypted disk, LUKS version 1",
    .state_size = sizeof(LuksState),
    .has_file = true,
    .options = luks_options,
    .open = luks_node_open,
    .close = luks_node_close,
    .submit = luks_submit,
    .flush = luks_flush,
    .resize = luks_resize,
    .refresh = set_length,
    .image = &luks_image_ops,
};
