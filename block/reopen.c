/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev-reopen: other options for open nodes: read-only, cache, discard, detect-zeroes, another
 * backing node. All nodes of a list, or none. What is not said has its default again; what belongs
 * to the driver cannot change.
 */
#include "block/graph.h"
#include "block/qmp.h"

typedef struct Settings {
    bool readonly, auto_readonly;
    bool cache_direct, no_flush, discard_unmap;
    DetectZeroes detect_zeroes;
    BlockNode *backing; /* a reference */
} Settings;

typedef struct Reopen {
    BlockNode *node; /* a reference */
    Settings old, new;
} Reopen;

static Settings present(BlockNode *node)
{
    return (Settings){ .readonly = node->readonly,
                       .auto_readonly = node->auto_readonly,
                       .cache_direct = node->cache_direct,
                       .no_flush = node->no_flush,
                       .discard_unmap = node->discard_unmap,
                       .detect_zeroes = node->detect_zeroes,
                       .backing = node->backing ? block_node_ref(node->backing) : NULL };
}

static void clear_reopen(void *data)
{
    Reopen *r = data;
    if (r->old.backing) {
        block_node_unref(r->old.backing);
    }
    if (r->new.backing) {
        block_node_unref(r->new.backing);
    }
    block_node_unref(r->node);
}

/* ---- Reading ---- */

/* What reading one node's options needs; nodes below come with their own. */
typedef struct Reader {
    GArray *list; /* of Reopen */
    BlockNode *node;
    Opts *options;
    GError **error;
    bool failed;
} Reader;

static bool read_node(GArray *list, BlockNode *node, Opts *options, const Settings *above,
                      GError **error);

static const char *const common[] = {
    "driver",         "node-name", "read-only",     "auto-read-only", "force-share", "cache.direct",
    "cache.no-flush", "discard",   "detect-zeroes", "backing",        NULL,
};

static bool same_value(const char *a, const char *b)
{
    uint64_t x, y;
    bool p, q;
    return a && b &&
           (!strcmp(a, b) || (parse_size(a, 1, &x) && parse_size(b, 1, &y) && x == y) ||
            (parse_bool(a, &p) && parse_bool(b, &q) && p == q));
}

static bool is_about_child(const BlockNode *node, const char *key)
{
    const char *file = node->driver->file_option ? node->driver->file_option : "file";
    size_t n = strcspn(key, ".");
    return (node->driver->has_file && strlen(file) == n && !strncmp(key, file, n)) ||
           (node->driver->has_backing && n == strlen("backing") && !strncmp(key, "backing", n));
}

/* What a driver was given, and is given now. */
static void check_own(const char *key, const char *value, void *opaque)
{
    Reader *r = opaque;
    if (r->failed || g_strv_contains(common, key) || is_about_child(r->node, key)) {
        return;
    }
    if (!same_value(opts_get(r->options, key), value)) {
        r->failed = !error_set(r->error, "'%s' of an open node stays as it is", key);
    }
}

static bool check_driver_options(BlockNode *node, Opts *options, GError **error)
{
    Reader was = { .node = node, .options = options, .error = error };
    Reader is = { .node = node, .options = node->given, .error = error };
    opts_foreach_unused(options, check_own, &is);
    if (!is.failed) {
        opts_foreach_unused(node->given, check_own, &was);
    }
    return !is.failed && !was.failed;
}

/* The child is the one that it was: by name, or by options of its own. */
static bool read_child(GArray *list, BlockNode *node, BlockNode *child, const char *key,
                       Opts *options, const Settings *above, GError **error)
{
    const char *name = opts_get(options, key);
    g_autoptr(Opts) nested = opts_take_prefix(options, key);
    if (name && child && !strcmp(name, child->name)) {
        return true;
    }
    if (name || (nested && !child)) {
        return error_set(error, "'%s' of an open node stays as it is", key);
    }
    if (!nested) {
        return error_set(error, "'%s' of node '%s' is missing: the node has one now", key,
                         node->name);
    }
    return read_node(list, child, nested, above, error);
}

static bool read_backing(GArray *list, BlockNode *node, Opts *options, Settings *new,
                         GError **error)
{
    const char *name = opts_get(options, "backing");
    g_autoptr(Opts) nested = opts_take_prefix(options, "backing");
    if (!name && !nested && node->backing) {
        return error_set(error, "'backing' of node '%s' is missing: name the node below, or null",
                         node->name);
    }
    new->backing = NULL;
    if (nested) {
        if (!node->backing || name) {
            return error_set(error, "'backing' of this node stays as it is");
        }
        new->backing = block_node_ref(node->backing);
        return read_node(list, node->backing, nested, NULL, error);
    }
    BlockNode *found = name && *name ? block_node_find(name) : NULL;
    if (name && *name && !found) {
        return error_set(error, "there is no node '%s' (query-named-block-nodes lists them)", name);
    }
    if (found && node_is_below(node, found)) {
        return error_set(error, "'%s' cannot be the backing node of '%s': it stands on it itself",
                         name, node->name);
    }
    new->backing = found ? block_node_ref(found) : NULL;
    return true;
}

static bool read_common(BlockNode *node, Opts *options, Settings *new, GError **error)
{
    static const char *const discard_names[] = { "ignore", "unmap", "off", "on", NULL };
    static const char *const zeroes_names[] = { "off", "on", "unmap", NULL };
    int discard = new->discard_unmap, zeroes = DETECT_ZEROES_OFF;
    bool share = false;
    if (!opts_get_bool(options, "read-only", &new->readonly, error) ||
        !opts_get_bool(options, "auto-read-only", &new->auto_readonly, error) ||
        !opts_get_bool(options, "force-share", &share, error) ||
        !opts_get_bool(options, "cache.direct", &new->cache_direct, error) ||
        !opts_get_bool(options, "cache.no-flush", &new->no_flush, error) ||
        !opts_get_enum(options, "discard", discard_names, &discard, error) ||
        !opts_get_enum(options, "detect-zeroes", zeroes_names, &zeroes, error)) {
        return false;
    }
    new->discard_unmap = discard & 1;
    new->detect_zeroes = zeroes;
    if (zeroes == DETECT_ZEROES_UNMAP && !new->discard_unmap) {
        return error_set(error,
                         "detect-zeroes=unmap needs discard=unmap: else nothing may be unmapped");
    }
    return share == node->force_share ||
           error_set(error, "'force-share' of an open node stays as it is");
}

static bool check_driver(BlockNode *node, Opts *options, GError **error)
{
    const char *driver = opts_get(options, "driver"), *name = opts_get(options, "node-name");
    if (driver && strcmp(driver, node->driver->name) != 0) {
        return error_set(error, "'driver' of an open node stays as it is");
    }
    return !name || !strcmp(name, node->name) ||
           error_set(error, "'node-name' of an open node stays as it is");
}

/* above: whose nested options these are, and whose settings they inherit; or NULL. */
static bool read_node(GArray *list, BlockNode *node, Opts *options, const Settings *above,
                      GError **error)
{
    Reopen r = { .node = block_node_ref(node), .old = present(node) };
    if (above) {
        r.new = (Settings){ .readonly = above->readonly,
                            .auto_readonly = above->auto_readonly,
                            .cache_direct = above->cache_direct,
                            .no_flush = above->no_flush,
                            .discard_unmap = true };
    }
    const char *key = node->driver->file_option ? node->driver->file_option : "file";
    bool ok = check_driver(node, options, error) && read_common(node, options, &r.new, error) &&
              (!node->driver->has_backing || read_backing(list, node, options, &r.new, error)) &&
              (!node->driver->has_file ||
               read_child(list, node, node->file, key, options, &r.new, error)) &&
              check_driver_options(node, options, error);
    g_array_append_val(list, r);
    return ok;
}

static bool read_list(GArray *list, json_object *array, GError **error)
{
    for (size_t i = 0; i < json_object_array_length(array); i++) {
        g_autoptr(Opts) options = opts_from_json(json_object_array_get_idx(array, i), error);
        const char *name = options ? opts_get(options, "node-name") : NULL;
        BlockNode *node = name ? block_node_find(name) : NULL;
        if (!options) {
            return false;
        }
        if (!node) {
            return error_set(error,
                             name ? "there is no node '%s' (query-named-block-nodes lists them)"
                                  : "'node-name' is missing: which node shall be reopened?",
                             name);
        }
        if (!read_node(list, node, options, NULL, error)) {
            return false;
        }
    }
    return true;
}

/* ---- Doing ---- */

typedef struct WriterSearch {
    const BlockNode *node;
    bool found;
} WriterSearch;

static bool writes_to(const BlockNode *top, const BlockNode *node)
{
    return top && (top == node || writes_to(top->file, node) || writes_to(top->data_file, node));
}

static void find_writer(BlockBackend *backend, void *opaque)
{
    WriterSearch *search = opaque;
    search->found |= !backend->readonly && writes_to(backend->node, search->node);
}

static bool set_readonly(BlockNode *node, bool readonly, GError **error)
{
    WriterSearch search = { .node = node };
    if (readonly && !node->readonly) {
        backend_foreach(find_writer, &search);
    }
    if (search.found) {
        return error_set(error, "node '%s' cannot become read-only: somebody writes to it",
                         node->name);
    }
    return graph_set_readonly(node, readonly, error);
}

/* With O_DIRECT, or without: the driver opens its file once more. */
static bool set_direct(BlockNode *node, bool direct, GError **error)
{
    if (node->cache_direct == direct) {
        return true;
    }
    node->cache_direct = direct;
    if (node->file || !node->driver->reopen || node->driver->reopen(node, node->readonly, error)) {
        return true;
    }
    node->cache_direct = !direct;
    return false;
}

static bool apply(BlockNode *node, const Settings *s, GError **error)
{
    if (!set_direct(node, s->cache_direct, error) || !set_readonly(node, s->readonly, error) ||
        (node->backing != s->backing && !graph_set_backing(node, s->backing, error))) {
        return false;
    }
    node->auto_readonly = s->auto_readonly;
    node->no_flush = s->no_flush;
    node->discard_unmap = s->discard_unmap;
    node->detect_zeroes = s->detect_zeroes;
    return true;
}

static bool apply_all(GArray *list, GError **error)
{
    guint done = 0;
    while (done < list->len) {
        Reopen *r = &g_array_index(list, Reopen, done);
        done++;
        if (!apply(r->node, &r->new, error)) {
            for (; done > 0; done--) {
                r = &g_array_index(list, Reopen, done - 1);
                apply(r->node, &r->old, NULL);
            }
            return false;
        }
    }
    return true;
}

static json_object *blockdev_reopen(const void *opaque, GError **error)
{
    const QmpBlockdevReopenArgs *args = opaque;
    GArray *list = g_array_new(FALSE, FALSE, sizeof(Reopen));
    g_array_set_clear_func(list, clear_reopen);
    bool ok = read_list(list, args->options, error);
    if (ok) {
        graph_change_begin();
        ok = apply_all(list, error);
        graph_change_end();
    }
    g_array_unref(list);
    return ok ? qmp_ok() : NULL;
}

static const QmpHandler qmp[] = {
    { "blockdev-reopen", blockdev_reopen },
    { NULL },
};

const MonitorCommands reopen_commands = { .qmp = qmp };
