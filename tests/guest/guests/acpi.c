/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest that walks the ACPI tables: signatures, lengths, checksums. */
#include "tests.h"

static void check_sum(const char *what, uint64_t at, uint32_t length)
{
    uint8_t sum = 0;

    for (uint32_t i = 0; i < length; i++) {
        sum = (uint8_t)(sum + read8(at + i));
    }
    expect(sum == 0, "checksum of %s at %lx is wrong", what, at);
}

static void table_check(uint64_t at)
{
    char name[5] = { 0 };
    uint32_t length = read32(at + 4);

    memcpy(name, (void *)at, 4);
    expect(length >= 36 && length < 0x100000, "table %s has length %u", name, length);
    check_sum(name, at, length);
    print("table %s\n", name);
    if (strcmp(name, "FACP") == 0) {
        uint64_t dsdt = read32(at + 40);

        if (dsdt == 0 && length >= 148) {
            dsdt = read32(at + 140) | (uint64_t)read32(at + 144) << 32;
        }
        expect(dsdt != 0 && read32(dsdt) == 0x54445344, "FADT names no DSDT");
        check_sum("DSDT", dsdt, read32(dsdt + 4));
    }
    if (strcmp(name, "APIC") == 0) {
        uint32_t cpus = 0;

        for (uint32_t i = 44; i + 1 < length && read8(at + i + 1) >= 2; i += read8(at + i + 1)) {
            uint8_t type = read8(at + i);

            cpus += (type == 0 && (read8(at + i + 4) & 1)) ||
                    (type == 9 && (read8(at + i + 8) & 1));
        }
        print("madt cpus %u\n", cpus);
    }
}

static uint64_t rsdp_search(void)
{
    for (uint64_t at = 0xe0000; at < 0x100000; at += 16) {
        if (memcmp((void *)at, "RSD PTR ", 8) == 0) {
            return at;
        }
    }
    return 0;
}

void test_acpi(void)
{
    uint64_t rsdp = boot_info.rsdp != 0 ? boot_info.rsdp : rsdp_search();
    uint64_t root;
    uint32_t step;

    expect(rsdp != 0 && memcmp((void *)rsdp, "RSD PTR ", 8) == 0, "no RSDP");
    check_sum("RSDP", rsdp, 20);
    step = read8(rsdp + 15) >= 2 && (read32(rsdp + 24) | read32(rsdp + 28)) != 0 ? 8 : 4;
    root = step == 8 ? read32(rsdp + 24) | (uint64_t)read32(rsdp + 28) << 32 : read32(rsdp + 16);
    check_sum("root table", root, read32(root + 4));
    for (uint32_t i = 36; i < read32(root + 4); i += step) {
        table_check(read32(root + i) | (step == 8 ? (uint64_t)read32(root + i + 4) << 32 : 0));
    }
}
