/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -drive and -blockdev options: whatever the text, an error or disks that can be closed again. */
#include <stdlib.h>
#include <unistd.h>
#include "block/block.h"
#include "vmm/event/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[] = "/tmp/vireo-fuzz-XXXXXX";

static void clean_up(void)
{
    unlink("a.img");
    unlink("q.img");
    rmdir(directory);
}

/* An empty directory with one image; inputs name files in it only. */
static void prepare(void)
{
    if (!mkdtemp(directory) || chdir(directory) != 0) {
        abort();
    }
    g_autofree char *zeroes = g_malloc0(65536);
    if (!g_file_set_contents("a.img", zeroes, 65536, NULL) ||
        !g_file_set_contents("q.img", "QFI\xfb\0\0\0\3", 8, NULL)) {
        abort();
    }
    atexit(clean_up);
    event_loop_main();
    event_loop_set_default_engine(LOOP_ENGINE_EPOLL);
}

static void forget_node(BlockNode *node, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(block_node_name(node)));
}

static void delete_nodes(void)
{
    for (int pass = 0; pass < 8; pass++) { /* those above first */
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        block_node_foreach(forget_node, names);
        for (guint i = 0; i < names->len; i++) {
            block_node_delete(names->pdata[i], NULL);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool prepared;
    if (!prepared) {
        prepare();
        prepared = true;
    }
    if (size == 0 || size > 4096 || memchr(data, '/', size) || memchr(data, '\\', size) ||
        memmem(data, size, "nbd", 3)) {
        return 0; /* no way out of the directory, nor to other hosts */
    }
    bool blockdev = data[0] & 1;
    g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
    g_autoptr(GError) error = NULL;
    g_autoptr(Opts) opts = opts_parse(text, NULL, &error);
    if (opts) {
        g_clear_error(&error);
        bool ok = blockdev ? block_node_open(opts, &error) != NULL
                           : drive_add(opts, "virtio", &error) != NULL;
        if (!ok && !error) {
            abort();
        }
    }
    json_object_put(block_query());
    json_object_put(block_query_nodes(true));
    json_object_put(block_query_stats(true));
    drives_close();
    delete_nodes();
    return 0;
}
