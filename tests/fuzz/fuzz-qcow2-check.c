/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile qcow2 image, checked, repaired and changed as a whole: the first byte says what is done
 * with it, the rest is the file. What a repair says is mended must be found mended.
 */
#include <stdlib.h>
#include <unistd.h>
#include "block/image.h"
#include "block/internal.h"
#include "block/qcow2/qcow2.h"
#include "vmm/memory/rcu.h"
#include "vmm/util/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST (256 * KIB)

static char directory[] = "/tmp/vireo-fuzz-XXXXXX";

static void clean_up(void)
{
    unlink("q.img");
    rmdir(directory);
}

static void prepare(void)
{
    if (!mkdtemp(directory) || chdir(directory) != 0) {
        abort();
    }
    atexit(clean_up);
    rcu_thread_register();
    event_loop_main();
}

static void ignore_line(const char *line, void *opaque)
{
}

/* Whether it ran to its end; *bad: what is still wrong. */
static bool check(BlockNode *node, unsigned fix, uint64_t *bad)
{
    BlockCheckResult result = { .report = ignore_line };
    bool ok = qcow2_check(node, fix, &result, NULL);
    *bad = result.corruptions + result.leaks;
    return ok;
}

static void change(BlockNode *node, uint8_t what)
{
    g_autoptr(GPtrArray) list = qcow2_snapshot_list(node, NULL);
    const char *id = list && list->len ? ((BlockSnapshot *)list->pdata[0])->id : "1";
    BlockSnapshot about = { .name = (char *)"new" };
    BlockMeasure measure;
    g_autoptr(Opts) options = opts_new();
    switch (what & 7) {
    case 0:
        qcow2_snapshot_create(node, &about, NULL);
        g_free(about.id);
        break;
    case 1:
        qcow2_snapshot_apply(node, id, NULL);
        break;
    case 2:
        qcow2_snapshot_delete(node, id, NULL);
        break;
    case 3:
        qcow2_make_empty(node, NULL);
        break;
    case 4:
        block_resize(node, block_node_length(node) + (what >> 3) * 64 * KIB, NULL);
        break;
    case 5:
        opts_set(options, "refcount_bits", what & 8 ? "64" : "1");
        qcow2_amend(node, options, NULL, NULL, NULL);
        break;
    default:
        qcow2_measure(options, node, &measure, NULL);
        break;
    }
}

static void use(uint8_t what)
{
    BlockOpenMode mode = { .writable = true, .no_backing = true, .for_check = true };
    BlockNode *node = block_image_open("q.img", "qcow2", NULL, &mode, NULL);
    uint64_t bad, left;
    if (!node) {
        return;
    }
    if (block_node_length(node) > 64 * MIB) {
        block_node_unref(node); /* it would only take long */
        return;
    }
    if (what & 0x80) {
        bool ok = check(node, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &bad);
        if (ok && bad == 0 && (!check(node, 0, &left) || left)) {
            abort();
        }
    } else {
        check(node, 0, &bad);
    }
    change(node, what);
    block_node_unref(node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool prepared;
    if (!prepared) {
        prepare();
        prepared = true;
    }
    if (size < 1 || size > MOST || memchr(data + 1, '/', MIN(size - 1, 2048))) {
        return 0; /* no way out of the directory */
    }
    if (!g_file_set_contents("q.img", (const char *)data + 1, (gssize)size - 1, NULL)) {
        abort();
    }
    use(data[0]);
    return 0;
}
