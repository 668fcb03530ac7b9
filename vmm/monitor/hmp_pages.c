/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's looks at the guest's page tables, in QEMU's forms. */
#include "vmm/monitor/hmp.h"

#include "vmm/machine/machine.h"

#define ENTRIES_MAX (4u << 20) /* table entries that one command reads: 32 MiB of tables */
#define LINES_MAX   (64u << 10)

#define CR0_PG         (1u << 31)
#define ENTRY_WRITE    (1u << 1)
#define ENTRY_USER     (1u << 2)
#define ENTRY_THROUGH  (1u << 3)
#define ENTRY_UNCACHED (1u << 4)
#define ENTRY_ACCESSED (1u << 5)
#define ENTRY_DIRTY    (1u << 6)
#define ENTRY_LARGE    (1u << 7)
#define ENTRY_GLOBAL   (1u << 8)
#define ENTRY_NX       (1ULL << 63)

typedef struct PageList {
    GString *out;
    unsigned lines;
    DebugPage range; /* info mem: pages side by side with the same access; size 0: none */
} PageList;

static bool tlb_line(const DebugPage *page, void *opaque)
{
    static const struct {
        uint64_t bit;
        char letter;
    } flags[] = { { ENTRY_NX, 'X' },      { ENTRY_GLOBAL, 'G' },   { ENTRY_LARGE, 'P' },
                  { ENTRY_DIRTY, 'D' },   { ENTRY_ACCESSED, 'A' }, { ENTRY_UNCACHED, 'C' },
                  { ENTRY_THROUGH, 'T' }, { ENTRY_USER, 'U' },     { ENTRY_WRITE, 'W' } };
    PageList *list = opaque;
    g_string_append_printf(list->out, "%016" G_GINT64_MODIFIER "x: %016" G_GINT64_MODIFIER "x ",
                           page->linear, page->physical);
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        bool set = page->entry & flags[i].bit &&
                   (flags[i].bit != ENTRY_LARGE || page->size > 4096); /* PAT in small ones */
        g_string_append_c(list->out, set ? flags[i].letter : '-');
    }
    g_string_append_c(list->out, '\n');
    return ++list->lines < LINES_MAX;
}

static void put_range(PageList *list)
{
    const DebugPage *range = &list->range;
    if (!range->size) {
        return;
    }
    g_string_append_printf(
        list->out,
        "%016" G_GINT64_MODIFIER "x-%016" G_GINT64_MODIFIER "x %016" G_GINT64_MODIFIER "x %cr%c\n",
        range->linear, range->linear + range->size, range->size,
        range->access & ENTRY_USER ? 'u' : '-', range->access & ENTRY_WRITE ? 'w' : '-');
    list->lines++;
}

static bool mem_page(const DebugPage *page, void *opaque)
{
    PageList *list = opaque;
    DebugPage *range = &list->range;
    uint64_t shown = ENTRY_USER | ENTRY_WRITE;
    if (range->size && range->linear + range->size == page->linear &&
        (range->access & shown) == (page->access & shown)) {
        range->size += page->size;
        return true;
    }
    put_range(list);
    *range = *page;
    return list->lines < LINES_MAX;
}

static void show(GString *out, bool (*fn)(const DebugPage *page, void *opaque))
{
    DebugRegs regs = { 0 };
    GError *error = NULL;
    PageList list = { .out = out };
    if (!hmp_registers(&regs, DEBUG_REGS_SYSTEM, &error)) {
        hmp_error(out, error);
        return;
    }
    if (!(regs.cr0 & CR0_PG)) {
        g_string_append(out, "PG disabled\n");
        return;
    }
    bool all = debug_pages_foreach(machine_get(), &regs, ENTRIES_MAX, fn, &list);
    if (list.lines < LINES_MAX) {
        put_range(&list);
    }
    if (!all || list.lines >= LINES_MAX) {
        g_string_append(out, "... and more: these page tables are too large to be shown\n");
    }
}

static void hmp_info_tlb(GString *out, char **args)
{
    show(out, tlb_line);
}

static void hmp_info_mem(GString *out, char **args)
{
    show(out, mem_page);
}

static const HmpCommand hmp[] = {
    { "info tlb", NULL, "each page that the guest's page tables map, and its flags", hmp_info_tlb },
    { "info mem", NULL, "the ranges that the guest's page tables map", hmp_info_mem },
    { NULL },
};

const MonitorCommands hmp_pages_commands = { .hmp = hmp };
