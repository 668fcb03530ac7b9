/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters of exits: places of windows, copies while they are changed, the dispatcher's part. */
#include <glib.h>
#include <string.h>
#include "vmm/memory/address_space.h"
#include "vmm/memory/rcu.h"
#include "vmm/trace/exits.h"

static void test_places(void)
{
    VcpuExits *exits = vcpu_exits_new();
    ExitWindow *first = exit_windows_find(&exits->io, 7,
                                          "a window whose name is longer than its "
                                          "place",
                                          0x70);
    g_assert_true(first == exit_windows_find(&exits->io, 7, "other", 0x80));
    g_assert_true(first != exit_windows_find(&exits->memory, 7, "memory", 0x80));
    g_assert_cmphex(first->addr, ==, 0x70);
    g_assert_cmpuint(strlen(first->name), ==, EXIT_WINDOW_NAME - 1);
    for (uint64_t id = 1000; id < 1000 + EXIT_WINDOWS * 4; id++) {
        ExitWindow *window = exit_windows_find(&exits->io, id, NULL, id);
        g_assert_true(window == &exits->io.others || window->addr == id);
        g_assert_true(window == exit_windows_find(&exits->io, id, NULL, id));
    }
    g_assert_true(exit_windows_find(&exits->io, 5000, "late", 0) == &exits->io.others);
    g_assert_true(first == exit_windows_find(&exits->io, 7, NULL, 0));
    vcpu_exits_free(exits);
}

static void test_counts(void)
{
    VcpuExits *exits = vcpu_exits_new(), *copy = vcpu_exits_new();
    ExitWindow *window = exit_windows_find(&exits->io, 1, "w", 0);
    g_assert_cmpint(exit_begin(), ==, 0);
    exit_end(window, true, 0);
    exit_end(window, false, 0);
    exit_end(window, false, 0);
    vcpu_exits_copy(copy, exits);
    const ExitWindow *copied = exit_windows_find(&copy->io, 1, "w", 0);
    g_assert_cmpuint(copied->reads, ==, 2);
    g_assert_cmpuint(copied->writes, ==, 1);
    g_assert_cmpuint(copied->ns, ==, 0);
    exits_set_timing(true);
    int64_t begun = exit_begin();
    g_assert_cmpint(begun, >, 0);
    exit_end(window, true, begun - 1000);
    exits_set_timing(false);
    g_assert_cmpuint(window->ns, >=, 1000);
    vcpu_exits_free(exits);
    vcpu_exits_free(copy);
}

typedef struct Hammer {
    VcpuExits *exits;
    int stop;
} Hammer;

static gpointer hammer(gpointer data)
{
    Hammer *h = data;
    for (uint64_t i = 1; !g_atomic_int_get(&h->stop); i++) {
        ExitWindow *window = exit_windows_find(&h->exits->io, i % 200 + 1, "window", i);
        exit_count(&h->exits->reasons[2], 1);
        exit_end(window, i & 1, exit_begin());
    }
    return NULL;
}

static void test_copies_meanwhile(void)
{
    Hammer h = { .exits = vcpu_exits_new() };
    VcpuExits *copy = vcpu_exits_new();
    uint64_t before = 0;
    GThread *thread = g_thread_new("vcpu", hammer, &h);
    for (int i = 0; i < 2000 || before == 0; i++) {
        exits_set_timing(i & 1);
        vcpu_exits_copy(copy, h.exits);
        g_assert_cmpuint(copy->reasons[2], >=, before);
        before = copy->reasons[2];
        for (unsigned j = 0; j < EXIT_WINDOWS; j++) {
            g_assert_true(!copy->io.places[j].region ||
                          g_str_equal(copy->io.places[j].name, "window"));
        }
    }
    exits_set_timing(false);
    g_atomic_int_set(&h.stop, 1);
    g_thread_join(thread);
    vcpu_exits_free(copy);
    vcpu_exits_free(h.exits);
}

static uint64_t read_zero(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void test_dispatch_tells_windows_apart(void)
{
    static const MemOps ops = { .read = read_zero };
    AddressSpace *space = address_space_new("io", 0xffff);
    VcpuExits *exits = vcpu_exits_new();
    DispatchCache cache = { .windows = &exits->io };
    MemRegion a, b;
    mem_region_init_io(&a, "a", 4, &ops, NULL, NULL);
    mem_region_init_io(&b, "b", 4, &ops, NULL, NULL);
    g_assert_true(a.id && b.id && a.id != b.id);
    address_space_map(space, &a, 0x10, 0);
    address_space_map(space, &b, 0x20, 0);
    static const struct {
        uint64_t addr;
        const char *name;
    } accesses[] = { { 0x10, "a" }, { 0x11, "a" },          { 0x18, "unassigned" },
                     { 0x10, "a" }, { 0x20, "b" },          { 0x23, "b" },
                     { 0x10, "a" }, { 0x40, "unassigned" }, { 0x20, "b" } };
    for (size_t i = 0; i < G_N_ELEMENTS(accesses); i++) {
        address_space_load(space, &cache, accesses[i].addr, 1);
        g_assert_cmpstr(cache.window->name, ==, accesses[i].name);
    }
    address_space_unmap(&a);
    address_space_load(space, &cache, 0x10, 1);
    g_assert_cmpstr(cache.window->name, ==, "unassigned");
    address_space_unmap(&b);
    mem_region_cleanup(&a);
    mem_region_cleanup(&b);
    address_space_free(space);
    vcpu_exits_free(exits);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rcu_thread_register();
    g_test_add_func("/exits/places", test_places);
    g_test_add_func("/exits/counts", test_counts);
    g_test_add_func("/exits/copies-meanwhile", test_copies_meanwhile);
    g_test_add_func("/exits/dispatch-tells-windows-apart", test_dispatch_tells_windows_apart);
    return g_test_run();
}
