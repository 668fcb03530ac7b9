/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The benchmark guest: bench=NAME on the command line picks the measurement. */
#include "bench.h"

static const struct {
    const char *name;
    void (*run)(void);
} benches[] = {
    { "exits", bench_exits }, { "blk", bench_blk },       { "ahci", bench_ahci },
    { "nvme", bench_nvme },   { "net-tx", bench_net_tx }, { "net-arp", bench_net_arp },
};

void guest_main(void)
{
    const char *name = arg_string("bench");

    for (uint32_t i = 0; name != NULL && i < ARRAY_LEN(benches); i++) {
        if (strcmp(benches[i].name, name) == 0) {
            benches[i].run();
            guest_exit(0);
        }
    }
    fail("no benchmark of that name");
}
