/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-nbd, which is also `vireo-img nbd`: exports one image, with qemu-nbd's options. */
#ifndef BLOCK_NBD_TOOL_H
#define BLOCK_NBD_TOOL_H

#include <stdbool.h>
#include "vmm/cli/opts.h"

typedef struct NbdToolOptions {
    const char *program;
    const char *port, *bind, *socket, *pid_file;
    const char *export_name, *description;
    const char *filename, *format, *bitmap;
    const char *aio, *detect_zeroes, *cache;
    bool discard, readonly, persistent, verbose, fork, list, image_opts, allocation_depth;
    uint64_t shared, offset;
    bool has_offset;
    bool help_shown;
} NbdToolOptions;

/* tool_options.c; what it cannot do is an error that says so. */
bool nbd_tool_parse(NbdToolOptions *options, int argc, char **argv, GError **error);
/* list.c: the exports of a server on standard output, as qemu-nbd -L. */
bool nbd_tool_list(const NbdToolOptions *options, GError **error);

/* tool.c: returns the exit status. argv[0] is the name for messages. Main thread, before others
 * exist. */
int nbd_tool_main(int argc, char **argv);

#endif
