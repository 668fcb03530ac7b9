/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening an image by its name: the protocol that the name or the options say, and above it the
 * format that is given or found out. -drive, media changes, backing files and tools come here.
 */
#include <errno.h>
#include <linux/major.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "block/internal.h"

/* ---- The protocol node ---- */

/* Length of "proto" in "proto:rest", or 0: a path. */
static size_t protocol_length(const char *file)
{
    size_t n = strspn(file, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-_.");
    return n > 1 && file[n] == ':' ? n : 0;
}

static bool is_scsi_generic(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && major(st->st_rdev) == SCSI_GENERIC_MAJOR;
}

static bool set_driver_of_path(Opts *options, const char *path)
{
    struct stat st;
    bool device = stat(path, &st) == 0 && (S_ISBLK(st.st_mode) || is_scsi_generic(&st));
    opts_set(options, "driver", device ? "host_device" : "file");
    opts_set(options, "filename", path);
    return true;
}

/* file=TEXT in options of the protocol node. */
static bool set_file_text(Opts *options, const char *file, GError **error)
{
    size_t n = protocol_length(file);
    g_autofree char *protocol = g_strndup(file, n);
    const char *rest = file + n + (n ? 1 : 0);
    if (!n || !strcmp(protocol, "file")) {
        return set_driver_of_path(options, rest);
    }
    if (!strcmp(protocol, "host_device")) {
        opts_set(options, "driver", "host_device");
        opts_set(options, "filename", rest);
        return true;
    }
    if (!strcmp(protocol, "null-co") || !strcmp(protocol, "null-aio")) {
        opts_set(options, "driver", protocol);
        return true;
    }
    if (block_nbd_is_filename(file)) {
        return block_nbd_parse_filename(options, file, error);
    }
    return error_set(error,
                     "protocol '%s:' is not known to this version of Vireo (a file of this name is "
                     "written ./%s)",
                     protocol, file);
}

static BlockNode *open_protocol(Opts *options, const char *file, const NodeDefaults *defaults,
                                GError **error)
{
    g_autoptr(Opts) nested = opts_take_prefix(options, "file");
    if (!nested) {
        nested = opts_new();
    }
    if (file) {
        BlockNode *named = block_node_find(file);
        if (named) {
            return block_node_ref(named);
        }
        if (g_str_has_prefix(file, "json:")) {
            g_autoptr(Opts) parsed = opts_parse_json(file + strlen("json:"), error);
            return parsed ? node_open(parsed, NULL, defaults, error) : NULL;
        }
        if (!set_file_text(nested, file, error)) {
            return NULL;
        }
    } else if (!opts_has(nested, "driver") && opts_has(nested, "filename")) {
        g_autofree char *path = g_strdup(opts_get(nested, "filename"));
        if (!set_file_text(nested, path, error)) {
            return NULL;
        }
    }
    const char *aio = opts_get(options, "aio"), *locking = opts_get(options, "locking");
    if (aio) {
        opts_set(nested, "aio", aio);
    }
    if (locking) {
        opts_set(nested, "locking", locking);
    }
    return node_open(nested, NULL, defaults, error);
}

/* ---- The format node ---- */

static bool probe_format(BlockNode *protocol, const char **format, GError **error)
{
    uint8_t data[PROBE_BYTES] = { 0 };
    uint64_t bytes = MIN(sizeof(data), block_node_length(protocol));
    int ret = block_pread(protocol, 0, data, bytes);
    if (ret < 0) {
        return error_set_errno(error, -ret, "'%s': cannot read its first sector",
                               protocol->filename);
    }
    *format = block_probe_format(data, bytes);
    if (*format && !block_driver_find(*format)) {
        return error_set(
            error,
            "'%s' looks like a %s image, a format this version of Vireo does not have; "
            "say format=raw if it is a plain disk",
            protocol->filename, *format);
    }
    *format = *format ? *format : "raw";
    return true;
}

typedef struct FormatOptions {
    Opts *from, *to;
    const BlockDriver *driver;
} FormatOptions;

static bool is_option_of(const BlockDriver *driver, const char *key)
{
    static const char *const common[] = { "node-name", "discard", "detect-zeroes", NULL };
    size_t n = strcspn(key, ".");
    for (int i = 0; driver->options && driver->options[i]; i++) {
        const char *known = driver->options[i];
        if (!strcmp(known, key) || (!strncmp(known, key, n) && !known[n])) {
            return strncmp(key, "file", n) != 0;
        }
    }
    return g_strv_contains(common, key);
}

static void pass_option(const char *key, const char *value, void *opaque)
{
    FormatOptions *pass = opaque;
    if (is_option_of(pass->driver, key)) {
        opts_set(pass->to, key, opts_get(pass->from, key));
    }
}

static BlockNode *open_format(Opts *options, const char *format, BlockNode *protocol,
                              const NodeDefaults *defaults, GError **error)
{
    g_autoptr(Opts) nested = opts_new();
    const char *found = format;
    if (!format && !probe_format(protocol, &found, error)) {
        return NULL;
    }
    FormatOptions pass = { options, nested, block_driver_find(found) };
    opts_foreach_unused(options, pass_option, &pass);
    opts_set(nested, "file", protocol->name);
    NodeDefaults own = *defaults;
    own.guessed |= !format;
    BlockNode *node = node_open(nested, found, &own, error);
    if (node && !format && !strcmp(found, "raw") && !node->readonly) {
        node->probed = true;
        report_warning("'%s': its format was not given and it looks raw. Writes that would turn "
                       "its first sector into another format's header are refused; format=raw "
                       "lifts that",
                       protocol->filename);
    }
    return node;
}

/* format= names a protocol, which is a disk by itself. */
static BlockNode *open_plain(Opts *options, const char *driver, const NodeDefaults *defaults,
                             GError **error)
{
    g_autoptr(Opts) nested = opts_new();
    const char *file = opts_get(options, "file");
    const char *keys[] = { "filename", "aio", "locking" };
    FormatOptions pass = { options, nested, block_driver_find(driver) };
    opts_foreach_unused(options, pass_option, &pass);
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        const char *value = opts_get(options, keys[i]);
        if (value) {
            opts_set(nested, keys[i], value);
        }
    }
    if (file && block_nbd_is_filename(file)) {
        if (!block_nbd_parse_filename(nested, file, error)) {
            return NULL;
        }
    } else if (file) {
        opts_set(nested, "filename", file);
    }
    return node_open(nested, driver, defaults, error);
}

BlockNode *node_open_image(Opts *options, const NodeDefaults *defaults, GError **error)
{
    const char *file = opts_get(options, "file"), *format = opts_get(options, "format");
    const char *driver = opts_get(options, "driver");
    if (format && driver) {
        error_set(error, "format= and driver= mean the same: give one of them");
        return NULL;
    }
    format = format ? format : driver;
    if (format && !block_driver_find(format)) {
        block_driver_unknown("format", format, error);
        return NULL;
    }
    const BlockDriver *found = format ? block_driver_find(format) : NULL;
    if (found && (!found->has_file || found->file_option)) {
        return open_plain(options, format, defaults, error);
    }
    NodeDefaults below = *defaults;
    below.discard_unmap = true;
    BlockNode *protocol = open_protocol(options, file, &below, error);
    if (!protocol) {
        return NULL;
    }
    NodeDefaults above = *defaults;
    above.readonly |= protocol->readonly;
    BlockNode *node = open_format(options, format, protocol, &above, error);
    block_node_unref(protocol);
    return node;
}
