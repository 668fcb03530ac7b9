/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest whose exits can be counted: it reads the clock's port and the HPET's counter as often as
 * it is told, or for ever, then rests. */
#include "tests.h"

#define RTC_DATA 0x71
#define HPET     0xfed00000
#define NOBODY   0x5c0 /* a port that no device has */

void test_exits(void)
{
    uint64_t ports = arg_number("ports", 0), registers = arg_number("registers", 0);
    uint64_t nobody = arg_number("nobody", 0);

    print("exits begin\n");
    do {
        for (uint64_t i = 0; i < ports; i++) {
            inb(RTC_DATA);
        }
        for (uint64_t i = 0; i < registers; i++) {
            read32(HPET + 0xf0);
        }
        for (uint64_t i = 0; i < nobody; i++) {
            outb(NOBODY, 0);
        }
    } while (arg_number("forever", 0));
    print("exits end\n");
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}
