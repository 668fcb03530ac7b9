/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-nbd, the program. */
#include <urcu.h>
#include "block/image.h"
#include "block/nbd/tool.h"
#include "vmm/error.h"

int main(int argc, char **argv)
{
    char *name = g_path_get_basename(argv[0]);
    argv[0] = name;
    report_set_program("vireo-nbd");
    rcu_register_thread();
    block_allow_legacy_encryption(true);
    int status = nbd_tool_main(argc, argv);
    rcu_unregister_thread();
    g_free(name);
    return status;
}
