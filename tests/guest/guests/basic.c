/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests that look at how they were started: output, boot protocol, memory map, CPUs. */
#include "tests.h"

void test_hello(void)
{
    const char *text = "hello, serial\n";

    print("hello, debug console\n");
    for (; *text != 0; text++) {
        serial_put(COM1_PORT, *text);
    }
}

void test_boot(void)
{
    static const char *const names[] = { "bad", "linux32", "linux64", "pvh", "multiboot", "rom" };

    print("booted by %s\n", names[boot_info.how]);
    print("cmdline <%s>\n", boot_info.cmdline);
    print("initrd %lu", boot_info.initrd_size);
    if (boot_info.initrd_size > 0) {
        uint32_t sum = 0;

        for (uint64_t i = 0; i < boot_info.initrd_size; i++) {
            sum = sum * 31 + read8(boot_info.initrd + i);
        }
        print(" sum %08x", sum);
    }
    print("\n");
}

void test_memmap(void)
{
    uint64_t ram = 0, above = 0;

    for (uint32_t i = 0; i < boot_info.range_count; i++) {
        MemRange *r = &boot_info.ranges[i];

        print("range %lx-%lx type %u\n", r->start, r->start + r->size, r->type);
        expect(r->start + r->size > r->start, "range wraps or is empty");
        for (uint32_t j = 0; j < i; j++) {
            MemRange *o = &boot_info.ranges[j];

            expect(r->start >= o->start + o->size || o->start >= r->start + r->size,
                   "ranges overlap at %lx", r->start);
        }
        if (r->type != 1) {
            continue;
        }
        expect(r->start >= 0x100000000 || r->start + r->size <= 0xfec00000,
               "RAM reaches into the hole below 4 GiB");
        ram += r->size;
        above += r->start >= 0x100000000 ? r->size : 0;
        if (r->start + r->size <= (uint64_t)MAPPED_GIB << 30 && r->start + r->size > 0x800000) {
            volatile uint64_t *last = (uint64_t *)(r->start + r->size - 8);

            *last = 0x1122334455667788;
            expect(*last == 0x1122334455667788, "the end of RAM at %lx does not hold",
                   (uint64_t)last);
        }
    }
    print("ram %lu MiB, %lu MiB above 4 GiB\n", (ram + 0xfffff) >> 20, above >> 20);
    if (above > 0) {
        volatile uint64_t *low = (uint64_t *)0x800000, *high = (uint64_t *)0x100800000;

        *low = 1;
        *high = 2;
        expect(*low == 1 && *high == 2, "memory above 4 GiB is an alias of the low one");
    }
}

static volatile uint8_t seen[256];
static volatile uint32_t ids_ok;

static void smp_note(uint32_t index)
{
    uint32_t id = lapic_id();

    (void)index;
    if (seen[id & 255]++ == 0) {
        __asm__ volatile("lock; incl %0" : "+m"(ids_ok)::"memory");
    }
}

void test_smp(void)
{
    uint32_t want = (uint32_t)arg_number("cpus", 1), got;

    irq_init();
    lapic_enable();
    smp_note(0);
    got = smp_start(want, smp_note);
    print("cpus %u, distinct APIC ids %u\n", got, ids_ok);
    expect(got == want, "%u of %u CPUs ran", got, want);
    expect(ids_ok == want, "APIC ids are not distinct");
}

/* Says it is alive and halts for ever with interrupts off: steered from outside. */
void test_idle(void)
{
    print("idle\n");
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

/* An instruction no hypervisor emulates on an MMIO page: the emulation fails. */
void test_bad_instruction(void)
{
    print("running into MMIO\n");
    ((void (*)(void))0xfd000000)();
}
