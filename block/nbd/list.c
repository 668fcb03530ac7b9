/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-nbd -L: what a server exports, as qemu-nbd -L prints it. */
#include "block/nbd/tool.h"
#include "config.h"
#include "vmm/error.h"

#ifdef HAVE_LIBNBD
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "block/nbd/libnbd.h"
#include "block/nbd/proto.h"

typedef struct Names {
    GPtrArray *names, *descriptions;
} Names;

static bool fail(GError **error)
{
    return error_set(error, "%s", libnbd.get_error());
}

static int add_name(void *opaque, const char *name, const char *description)
{
    Names *names = opaque;
    if (names->names->len < 10000) {
        g_ptr_array_add(names->names, g_strdup(name));
        g_ptr_array_add(names->descriptions, g_strdup(description));
    }
    return 0;
}

static struct nbd_handle *open_server(const NbdToolOptions *o)
{
    struct nbd_handle *h = libnbd.create();
    if (!h) {
        return NULL;
    }
    int ret = libnbd.set_opt_mode(h, true);
    if (!ret) {
        ret = o->socket ? libnbd.connect_unix(h, o->socket)
                        : libnbd.connect_tcp(h, o->bind ? o->bind : "localhost",
                                             o->port ? o->port : NBD_DEFAULT_PORT);
    }
    if (ret < 0) {
        libnbd.close(h);
        return NULL;
    }
    return h;
}

static void print_flags(struct nbd_handle *h)
{
    const struct {
        const char *name;
        int yes;
    } flags[] = {
        { "readonly", libnbd.is_read_only(h) },
        { "flush", libnbd.can_flush(h) },
        { "fua", libnbd.can_fua(h) },
        { "rotational", libnbd.is_rotational(h) },
        { "trim", libnbd.can_trim(h) },
        { "zeroes", libnbd.can_zero(h) },
        { "df", libnbd.can_df(h) },
        { "multi", libnbd.can_multi_conn(h) },
        { "cache", libnbd.can_cache(h) },
        { "fast-zero", libnbd.can_fast_zero(h) },
    };
    printf("  flags: (");
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (flags[i].yes > 0) {
            printf(" %s", flags[i].name);
        }
    }
    printf(" )\n");
}

static int add_context(void *opaque, const char *name)
{
    g_ptr_array_add(opaque, g_strdup(name));
    return 0;
}

static void print_contexts(struct nbd_handle *h)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    nbd_context_callback callback = { .callback = add_context, .user_data = names };
    if (libnbd.opt_list_meta_context(h, callback) > 0) {
        printf("  available meta contexts: %u\n", names->len);
        for (guint i = 0; i < names->len; i++) {
            printf("   %s\n", (char *)names->pdata[i]);
        }
    }
}

static void print_export(struct nbd_handle *h, const char *name, const char *description)
{
    printf(" export: '%s'\n", name);
    if (*description) {
        printf("  description: %s\n", description);
    }
    if (libnbd.set_export_name(h, name) < 0 || libnbd.opt_info(h) < 0) {
        return;
    }
    printf("  size:  %" PRIi64 "\n", libnbd.get_size(h));
    print_flags(h);
    printf("  min block: %" PRIi64 "\n", libnbd.get_block_size(h, LIBNBD_SIZE_MINIMUM));
    printf("  opt block: %" PRIi64 "\n", libnbd.get_block_size(h, LIBNBD_SIZE_PREFERRED));
    printf("  max block: %" PRIi64 "\n", libnbd.get_block_size(h, LIBNBD_SIZE_MAXIMUM));
    print_contexts(h);
}

bool nbd_tool_list(const NbdToolOptions *o, GError **error)
{
    if (!libnbd_load(error)) {
        return false;
    }
    struct nbd_handle *h = open_server(o);
    if (!h) {
        return fail(error);
    }
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) descriptions = g_ptr_array_new_with_free_func(g_free);
    Names list = { names, descriptions };
    nbd_list_callback callback = { .callback = add_name, .user_data = &list };
    bool ok = libnbd.opt_list(h, callback) >= 0;
    if (ok) {
        printf("exports available: %u\n", names->len);
    } else {
        fail(error);
    }
    for (guint i = 0; ok && i < names->len; i++) {
        print_export(h, names->pdata[i], descriptions->pdata[i]);
    }
    libnbd.opt_abort(h);
    libnbd.close(h);
    return ok;
}
#else
bool nbd_tool_list(const NbdToolOptions *o, GError **error)
{
    return error_set(error, "-L: the NBD client is not built in (libnbd was missing)");
}
#endif
