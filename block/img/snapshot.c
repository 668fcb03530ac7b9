/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img snapshot. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "block/img/img.h"

const ImgOption img_snapshot_options[] = {
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTION_SHARE,
    IMG_OPTION_QUIET,
    IMG_OPTION_FORMAT,
    { 'l', NULL, NULL, "list the snapshots" },
    { 'a', NULL, "SNAPSHOT", "give the disk back the content that a snapshot kept" },
    { 'c', NULL, "SNAPSHOT", "make a snapshot of this name" },
    { 'd', NULL, "SNAPSHOT", "delete a snapshot" },
    IMG_OPTIONS_END,
};

static void print_snapshot(const BlockSnapshot *s)
{
    time_t seconds = (time_t)s->date_seconds;
    struct tm tm;
    char date[32] = "";
    g_autofree char *size = img_human_size(s->vm_state_size);
    g_autofree char *icount =
        s->icount == UINT64_MAX ? g_strdup("") : g_strdup_printf("%" G_GUINT64_FORMAT, s->icount);
    uint64_t clock = s->vm_clock_ns / 1000000000;
    if (localtime_r(&seconds, &tm)) {
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
    }
    g_autofree char *running = g_strdup_printf("%02u:%02u:%02u.%03u", (unsigned)(clock / 3600),
                                               (unsigned)(clock / 60 % 60), (unsigned)(clock % 60),
                                               (unsigned)(s->vm_clock_ns / 1000000 % 1000));
    printf("%-9s %-16s %8s%20s%13s%11s\n", s->id, s->name, size, date, running, icount);
}

void img_print_snapshots(GPtrArray *snapshots)
{
    printf("%-9s %-16s %8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
    for (guint i = 0; i < snapshots->len; i++) {
        print_snapshot(snapshots->pdata[i]);
    }
}

static int list(BlockNode *node)
{
    GError *error = NULL;
    g_autoptr(GPtrArray) snapshots = img_list_snapshots(node, &error);
    if (error) {
        return img_fail(error);
    }
    if (snapshots && snapshots->len) {
        printf("Snapshot list:\n");
        img_print_snapshots(snapshots);
    }
    return 0;
}

static bool create(BlockNode *node, const char *name, GError **error)
{
    const BlockImageOps *ops = block_node_image_ops(node);
    gint64 now = g_get_real_time();
    if (!ops || !ops->snapshot_create) {
        return error_set(error, "-95 (Operation not supported)");
    }
    BlockSnapshot *snapshot = g_new0(BlockSnapshot, 1); /* the format gives it an id */
    snapshot->name = g_strdup(name);
    snapshot->date_seconds = (uint64_t)(now / 1000000);
    snapshot->date_ns = (uint32_t)(now % 1000000 * 1000);
    snapshot->disk_size = block_node_length(node);
    bool ok = ops->snapshot_create(node, snapshot, error);
    block_snapshot_free(snapshot);
    return ok;
}

/* The id of the snapshot with this name; snapshots are named by their names only to delete, by
 * either to apply. NULL: there is none. */
static char *find_id(BlockNode *node, const char *name, bool by_id, GError **error)
{
    g_autoptr(GPtrArray) snapshots = img_list_snapshots(node, error);
    const char *found = NULL;
    for (guint i = 0; snapshots && i < snapshots->len; i++) {
        const BlockSnapshot *s = snapshots->pdata[i];
        if (!strcmp(s->name, name) || (by_id && !found && !strcmp(s->id, name))) {
            found = s->id;
        }
    }
    return g_strdup(found);
}

static bool apply(BlockNode *node, const char *name, GError **error)
{
    const BlockImageOps *ops = block_node_image_ops(node);
    if (!ops || !ops->snapshot_apply) {
        return error_set(error, "Block driver '%s' has no internal snapshots",
                         block_node_driver(node));
    }
    g_autofree char *id = find_id(node, name, true, error);
    if (!id) {
        return (error && *error) || error_set(error, "the image has no such snapshot");
    }
    return ops->snapshot_apply(node, id, error);
}

static bool delete (BlockNode *node, const char *name, GError **error)
{
    const BlockImageOps *ops = block_node_image_ops(node);
    GError *cause = NULL;
    g_autofree char *id = find_id(node, name, false, &cause);
    if (!id) {
        if (cause) {
            g_propagate_error(error, cause);
            return false;
        }
        return error_set(error, "snapshot not found");
    }
    return ops->snapshot_delete(node, id, error);
}

static int change(ImgImage *image, char action, const char *name)
{
    GError *error = NULL;
    bool ok = action == 'c'   ? create(image->node, name, &error)
              : action == 'a' ? apply(image->node, name, &error)
                              : delete (image->node, name, &error);
    if (!ok) {
        g_prefix_error(&error, "cannot %s snapshot '%s': ",
                       action == 'c'   ? "create"
                       : action == 'a' ? "apply"
                                       : "delete",
                       name);
        return img_fail(error);
    }
    return img_flush(image) ? 0 : 1;
}

int img_snapshot_run(ImgArgs *args)
{
    unsigned actions =
        img_times(args, "l") + img_times(args, "a") + img_times(args, "c") + img_times(args, "d");
    char action = img_has(args, "a")   ? 'a'
                  : img_has(args, "c") ? 'c'
                  : img_has(args, "d") ? 'd'
                                       : 'l';
    char key[2] = { action, 0 };
    ImgImage image;
    ImgOpen how = { .format = img_value(args, "f"),
                    .image_opts = img_has(args, "image-opts"),
                    .force_share = img_has(args, "U"),
                    .no_backing = action == 'l',
                    .writable = action != 'l' };
    if (actions > 1) {
        return img_usage_error("Cannot mix '-l', '-a', '-c', '-d'");
    }
    if (!img_expect_words(args, 1, "this command works on one image: give its file name") ||
        !img_open(&image, args->words[0], &how)) {
        return 1;
    }
    int status = 0;
    if (action != 'l') {
        status = change(&image, action, img_value(args, key));
    } else if (actions) {
        status = list(image.node);
    }
    img_close(&image);
    return status;
}
