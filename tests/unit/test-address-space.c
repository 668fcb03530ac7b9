/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address spaces: overlaps, splitting, the top of the address space, doorbells, remapping. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "vmm/memory/address_space.h"
#include "vmm/memory/dma.h"
#include "vmm/memory/rcu.h"

/* A window that remembers its last access and gives a value made of the offset. */
typedef struct Window {
    MemRegion region;
    MemOps ops;
    GMutex lock;
    uint64_t tag;
    uint64_t offset, value;
    unsigned size, reads, writes;
} Window;

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
    Window *window = opaque;
    window->offset = offset;
    window->size = size;
    window->reads++;
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= ((offset + i + window->tag) & 0xff) << (i * 8);
    }
    return value;
}

static void window_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Window *window = opaque;
    window->offset = offset;
    window->size = size;
    window->value = value;
    window->writes++;
}

static void window_init(Window *window, uint64_t size, unsigned min, unsigned max, uint64_t tag)
{
    memset(window, 0, sizeof(*window));
    g_mutex_init(&window->lock);
    window->tag = tag;
    window->ops =
        (MemOps){ .read = window_read, .write = window_write, .min_size = min, .max_size = max };
    mem_region_init_io(&window->region, "window", size, &window->ops, window, &window->lock);
}

static void window_done(Window *window)
{
    address_space_unmap(&window->region);
    mem_region_cleanup(&window->region);
    g_mutex_clear(&window->lock);
}

static RamBlock *make_ram(uint64_t size)
{
    GError *error = NULL;
    RamBlock *ram = ram_block_new("ram", &(RamOptions){ .size = size }, &error);
    g_assert_no_error(error);
    return ram;
}

static uint64_t load(AddressSpace *space, uint64_t addr, unsigned size)
{
    DispatchCache cache = { 0 };
    return address_space_load(space, &cache, addr, size);
}

static void test_unassigned(void)
{
    AddressSpace *space = address_space_new("memory", UINT64_MAX);
    uint32_t value = 0;
    g_assert_false(address_space_read(space, 0x1000, &value, 4));
    g_assert_cmphex(value, ==, 0xffffffff);
    g_assert_false(address_space_write(space, 0x1000, &value, 4));
    g_assert_cmphex(load(space, 0x1000, 2), ==, 0xffff);
    address_space_free(space);
}

static void test_priorities(void)
{
    AddressSpace *space = address_space_new("memory", UINT64_MAX);
    Window low, high, later;
    window_init(&low, 0x1000, 1, 4, 0);
    window_init(&high, 0x100, 1, 4, 0x40);
    window_init(&later, 0x10, 1, 4, 0x80);
    address_space_map(space, &high.region, 0x10400, 5);
    address_space_map(space, &low.region, 0x10000, 0);
    g_assert_cmphex(load(space, 0x10400, 1), ==, 0x40);
    g_assert_cmphex(load(space, 0x103ff, 1), ==, 0xff);
    g_assert_cmphex(load(space, 0x10500, 1), ==, 0x00);
    g_assert_cmpuint(low.offset, ==, 0x500);
    address_space_map(space, &later.region, 0x10000, 0);
    g_assert_cmphex(load(space, 0x10000, 1), ==, 0x80);
    address_space_unmap(&high.region);
    g_assert_cmphex(load(space, 0x10401, 1), ==, 0x01);
    window_done(&low);
    window_done(&later);
    window_done(&high);
    address_space_free(space);
}

static void list_range(const FlatRange *range, void *opaque)
{
    g_string_append_printf(opaque, "%" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x+%d ",
                           range->start, range->last, (int)range->offset);
}

static unsigned ram_events;

static void count_ram(void *opaque, const FlatRange *range)
{
    ram_events++;
}

/* A second view: its own regions are over everything, and it follows the space below. */
static void test_view(void)
{
    AddressSpace *base = address_space_new("base", UINT64_MAX);
    AddressSpace *view = address_space_new_view("view", base);
    static const MemListener listener = { .ram_add = count_ram, .ram_del = count_ram };
    RamBlock *ram = make_ram(0x3000);
    MemRegion all, secret;
    Window hole;
    uint32_t value = 0x11223344;

    mem_region_init_ram(&all, "all", ram, 0, 0x3000, false);
    mem_region_init_ram(&secret, "secret", ram, 0x1000, 0x1000, false);
    window_init(&hole, 0x1000, 1, 4, 7);
    address_space_map(base, &all, 0, 0);
    g_assert_true(address_space_write(view, 0x1000, &value, 4));
    address_space_map(base, &hole.region, 0x1000, 5);
    address_space_map(view, &secret, 0x1000, 0);
    address_space_read(base, 0x1000, &value, 4);
    g_assert_cmphex(value, ==, 0x0a090807);
    address_space_read(view, 0x1000, &value, 4);
    g_assert_cmphex(value, ==, 0x11223344);
    g_assert_false(dma_read(base, 0x1000, &value, 4));

    ram_events = 0;
    address_space_set_listener(view, &listener);
    g_assert_cmpuint(ram_events, ==, 3);
    address_space_begin(base); /* the view waits for the space below */
    address_space_unmap(&secret);
    address_space_unmap(&all);
    g_assert_cmpuint(ram_events, ==, 3);
    address_space_commit(base);
    g_assert_cmpuint(ram_events, ==, 6);
    g_assert_false(address_space_read(view, 0, &value, 4));
    address_space_begin(view);
    address_space_map(base, &all, 0, 0);
    g_assert_cmpuint(ram_events, ==, 6);
    address_space_commit(view);
    g_assert_cmpuint(ram_events, ==, 8);
    address_space_set_listener(view, NULL);

    address_space_unmap(&all);
    window_done(&hole);
    address_space_free(view);
    address_space_free(base);
    ram_block_free(ram);
}

static void test_splits_around_stronger_regions(void)
{
    AddressSpace *space = address_space_new("memory", 0xffff);
    Window back, holes[3];
    window_init(&back, 0x10000, 1, 4, 0);
    address_space_map(space, &back.region, 0, -1);
    for (int i = 0; i < 3; i++) {
        window_init(&holes[i], 0x10, 1, 4, 0);
        address_space_map(space, &holes[i].region, 0x100 * (uint64_t)i, 1);
    }
    g_autoptr(GString) text = g_string_new(NULL);
    address_space_foreach(space, list_range, text);
    g_assert_cmpstr(text->str, ==, "0-f+0 10-ff+16 100-10f+0 110-1ff+272 200-20f+0 210-ffff+528 ");
    for (int i = 0; i < 3; i++) {
        window_done(&holes[i]);
    }
    g_string_truncate(text, 0);
    address_space_foreach(space, list_range, text);
    g_assert_cmpstr(text->str, ==, "0-ffff+0 ");
    window_done(&back);
    address_space_free(space);
}

static void test_top_of_the_space(void)
{
    AddressSpace *space = address_space_new("memory", UINT64_MAX);
    Window top;
    window_init(&top, 0x1000, 1, 8, 0);
    address_space_map(space, &top.region, UINT64_MAX - 0xfff, 0);
    g_assert_cmphex(load(space, UINT64_MAX, 1), ==, 0xff);
    g_assert_cmpuint(top.offset, ==, 0xfff);
    /* The access runs over the end: its inside is read, the rest is ones. */
    g_assert_cmphex(load(space, UINT64_MAX - 1, 4), ==, 0xfffffffe);
    uint8_t bytes[16];
    g_assert_false(address_space_read(space, UINT64_MAX - 3, bytes, sizeof(bytes)));
    g_assert_false(address_space_write(space, UINT64_MAX - 3, bytes, sizeof(bytes)));
    g_assert_true(address_space_read(space, UINT64_MAX - 15, bytes, sizeof(bytes)));
    window_done(&top);
    /* A guest may place a window so that it would run over the end. */
    window_init(&top, 0x10000, 1, 8, 0);
    address_space_map(space, &top.region, UINT64_MAX - 0xf, 0);
    g_assert_cmphex(load(space, UINT64_MAX, 1), ==, 0x0f);
    window_done(&top);
    address_space_free(space);
}

static void test_beyond_the_limit(void)
{
    AddressSpace *space = address_space_new("io", 0xffff);
    Window window;
    window_init(&window, 0x100, 1, 4, 0);
    address_space_map(space, &window.region, 0x10000, 0);
    g_assert_cmphex(load(space, 0x10000, 1), ==, 0xff);
    g_assert_cmpuint(window.reads, ==, 0);
    address_space_unmap(&window.region);
    address_space_map(space, &window.region, 0xfffe, 0);
    g_assert_cmphex(load(space, 0xfffe, 4), ==, 0xffff0100);
    window_done(&window);
    address_space_free(space);
}

static void test_access_sizes(void)
{
    AddressSpace *space = address_space_new("memory", UINT64_MAX);
    Window window;
    DispatchCache cache = { 0 };
    window_init(&window, 0x1000, 2, 4, 0);
    address_space_map(space, &window.region, 0x1000, 0);
    /* wide: two of four bytes */
    g_assert_cmphex(load(space, 0x1008, 8), ==, 0x0f0e0d0c0b0a0908);
    g_assert_cmpuint(window.reads, ==, 2);
    /* narrow: widened for reads, dropped for writes */
    g_assert_cmphex(load(space, 0x1003, 1), ==, 0x03);
    g_assert_cmpuint(window.offset, ==, 2);
    g_assert_cmpuint(window.size, ==, 2);
    address_space_store(space, &cache, 0x1003, 0xaa, 1);
    g_assert_cmpuint(window.writes, ==, 0);
    /* misaligned: aligned pieces only */
    g_assert_cmphex(load(space, 0x1002, 4), ==, 0x05040302);
    g_assert_cmphex(load(space, 0x1001, 4), ==, 0x04030201);
    address_space_store(space, &cache, 0x1002, 0x44332211, 4);
    g_assert_cmpuint(window.writes, ==, 2);
    g_assert_cmpuint(window.offset, ==, 4);
    g_assert_cmphex(window.value, ==, 0x4433);
    address_space_store(space, &cache, 0x1004, 0xffffffff44332211, 4);
    g_assert_cmphex(window.value, ==, 0x44332211);
    window_done(&window);
    address_space_free(space);
}

static void test_window_smaller_than_its_accesses(void)
{
    AddressSpace *space = address_space_new("memory", UINT64_MAX);
    Window window;
    window_init(&window, 6, 4, 4, 0);
    address_space_map(space, &window.region, 0, 0);
    g_assert_cmphex(load(space, 4, 2), ==, 0xffff);
    g_assert_cmpuint(window.reads, ==, 0);
    window_done(&window);
    address_space_free(space);
}

static void test_ram_and_rom(void)
{
    AddressSpace *space = address_space_new("memory", UINT64_MAX);
    RamBlock *ram = make_ram(0x10000);
    MemRegion low, rom;
    DispatchCache cache = { 0 };
    mem_region_init_ram(&low, "ram", ram, 0, 0x8000, false);
    mem_region_init_ram(&rom, "rom", ram, 0x8000, 0x8000, true);
    address_space_map(space, &low, 0x100000, 0);
    address_space_map(space, &rom, 0x108000, 0);
    address_space_store(space, &cache, 0x107fff, 0xbbaa, 2);
    g_assert_cmphex(ram->host[0x7fff], ==, 0xaa);
    g_assert_cmphex(ram->host[0x8000], ==, 0);
    ram->host[0x8000] = 0x55;
    g_assert_cmphex(address_space_load(space, &cache, 0x107ffe, 4), ==, 0x0055aa00);
    uint8_t data[4] = { 1, 2, 3, 4 };
    g_assert_true(dma_write(space, 0x107ff0, data, 4));
    g_assert_false(dma_write(space, 0x108000, data, 4));
    g_assert_false(dma_write(space, 0x107ffe, data, 4));
    g_assert_true(dma_read(space, 0x107ffe, data, 4));
    g_assert_cmphex(data[2], ==, 0x55);
    address_space_unmap(&low);
    address_space_unmap(&rom);
    address_space_free(space);
    ram_block_free(ram);
}

static void test_dma_is_bounded_to_ram(void)
{
    AddressSpace *space = address_space_new("memory", UINT64_MAX);
    RamBlock *ram = make_ram(0x20000);
    Window window;
    MemRegion a, b, c;
    mem_region_init_ram(&a, "a", ram, 0, 0x8000, false);
    mem_region_init_ram(&b, "b", ram, 0x8000, 0x8000, false);
    mem_region_init_ram(&c, "c", ram, 0x18000, 0x8000, false);
    window_init(&window, 0x1000, 1, 4, 0);
    address_space_map(space, &a, 0, 0);
    address_space_map(space, &b, 0x8000, 0);
    address_space_map(space, &c, 0x10000, 0);
    address_space_map(space, &window.region, 0x18000, 0);
    /* contiguous neighbours are one piece; others are not */
    g_assert_true(dma_translate(space, 0x7000, 0x2000, true) == ram->host + 0x7000);
    g_assert_null(dma_translate(space, 0xf000, 0x2000, true));
    g_assert_null(dma_translate(space, 0, 0, true));
    g_assert_null(dma_translate(space, 0x18000, 4, false));
    g_assert_null(dma_translate(space, UINT64_MAX - 1, 4, false));
    struct iovec iov[4];
    unsigned count = 0;
    g_assert_true(dma_map(space, 0x7000, 0xa000, true, iov, 4, &count));
    g_assert_cmpuint(count, ==, 2);
    g_assert_cmpuint(iov[0].iov_len, ==, 0x9000);
    g_assert_true(iov[1].iov_base == ram->host + 0x18000);
    g_assert_false(dma_map(space, 0xf000, 0x2000, true, iov, 3, &count));
    g_assert_cmpuint(count, ==, 2);
    g_assert_false(dma_map(space, 0x17fff, 2, true, iov, 4, &count));
    g_assert_false(dma_map(space, 0, UINT64_MAX, true, iov, 4, &count));
    uint8_t byte = 0;
    g_assert_false(dma_write(space, 0x18000, &byte, 1));
    g_assert_cmpuint(window.writes, ==, 0);
    window_done(&window);
    address_space_unmap(&a);
    address_space_unmap(&b);
    address_space_unmap(&c);
    address_space_free(space);
    ram_block_free(ram);
}

static void test_dirty_log(void)
{
    GError *error = NULL;
    AddressSpace *space = address_space_new("memory", UINT64_MAX);
    RamBlock *ram = make_ram(64 * 4096);
    MemRegion region;
    DispatchCache cache = { 0 };
    uint64_t bits = 0;
    mem_region_init_ram(&region, "ram", ram, 0, ram->size, false);
    address_space_map(space, &region, 0, 0);
    address_space_store(space, &cache, 0, 1, 4);
    g_assert_true(ram_block_dirty_start(ram, &error));
    g_assert_false(ram_block_dirty_start(ram, NULL));
    address_space_store(space, &cache, 0x3ffe, 1, 4);
    g_assert_true(dma_write(space, 0x8000, "x", 1));
    dma_dirty(space, 63 * 4096, 4096);
    ram_block_dirty_fetch(ram, &bits);
    g_assert_cmphex(bits, ==, 1ULL << 3 | 1 << 4 | 1 << 8 | 1ULL << 63);
    ram_block_dirty_fetch(ram, &bits);
    g_assert_cmphex(bits, ==, 0);
    ram_block_dirty_stop(ram);
    address_space_unmap(&region);
    address_space_free(space);
    ram_block_free(ram);
}

static bool rang(int fd)
{
    uint64_t count;
    return read(fd, &count, sizeof(count)) == sizeof(count);
}

static void test_doorbells(void)
{
    AddressSpace *space = address_space_new("memory", UINT64_MAX);
    Window window;
    DispatchCache cache = { 0 };
    int any = eventfd(0, EFD_NONBLOCK), two = eventfd(0, EFD_NONBLOCK);
    window_init(&window, 0x1000, 1, 4, 0);
    mem_region_add_ioeventfd(&window.region, 0x10, 0, false, 0, any);
    address_space_map(space, &window.region, 0x4000, 0);
    mem_region_add_ioeventfd(&window.region, 0x20, 2, true, 7, two);
    address_space_store(space, &cache, 0x4010, 1, 1);
    g_assert_true(rang(any));
    address_space_store(space, &cache, 0x4020, 7, 2);
    g_assert_true(rang(two));
    g_assert_cmpuint(window.writes, ==, 0);
    address_space_store(space, &cache, 0x4020, 8, 2);
    address_space_store(space, &cache, 0x4020, 7, 4);
    g_assert_false(rang(two));
    g_assert_cmpuint(window.writes, ==, 2);
    uint16_t seven = 7;
    g_assert_true(address_space_write(space, 0x4020, &seven, 2));
    g_assert_true(rang(two));
    /* It follows the window. */
    address_space_unmap(&window.region);
    address_space_map(space, &window.region, 0x8000, 0);
    address_space_store(space, &cache, 0x8010, 1, 4);
    g_assert_true(rang(any));
    mem_region_del_ioeventfd(&window.region, 0x10, 0, false, 0, any);
    address_space_store(space, &cache, 0x8010, 1, 4);
    g_assert_false(rang(any));
    window_done(&window);
    address_space_free(space);
    close(any);
    close(two);
}

/* ---- The listener ---- */

static void log_ram(GString *log, char sign, const FlatRange *range)
{
    g_string_append_printf(log, "%c%" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x ", sign,
                           range->start, range->last);
}

static void on_ram_add(void *opaque, const FlatRange *range)
{
    log_ram(opaque, '+', range);
}

static void on_ram_del(void *opaque, const FlatRange *range)
{
    log_ram(opaque, '-', range);
}

static void on_bell_add(void *opaque, const IoEventFd *bell)
{
    g_string_append_printf(opaque, "+bell@%" G_GINT64_MODIFIER "x ", bell->addr);
}

static void on_bell_del(void *opaque, const IoEventFd *bell)
{
    g_string_append_printf(opaque, "-bell@%" G_GINT64_MODIFIER "x ", bell->addr);
}

static void on_commit(void *opaque)
{
    g_string_append(opaque, ". ");
}

static void test_listener_gets_differences(void)
{
    AddressSpace *space = address_space_new("memory", UINT64_MAX);
    g_autoptr(GString) log = g_string_new(NULL);
    MemListener listener = { .ram_add = on_ram_add,
                             .ram_del = on_ram_del,
                             .ioeventfd_add = on_bell_add,
                             .ioeventfd_del = on_bell_del,
                             .commit = on_commit,
                             .opaque = log };
    RamBlock *ram = make_ram(0x10000);
    MemRegion low, high;
    Window window;
    mem_region_init_ram(&low, "low", ram, 0, 0x8000, false);
    mem_region_init_ram(&high, "high", ram, 0x8000, 0x8000, false);
    window_init(&window, 0x1000, 1, 4, 0);
    address_space_map(space, &low, 0, 0);
    address_space_map(space, &high, 0x100000, 0);
    address_space_set_listener(space, &listener);
    g_assert_cmpstr(log->str, ==, "+0-7fff +100000-107fff . ");
    g_string_truncate(log, 0);
    address_space_begin(space);
    mem_region_add_ioeventfd(&window.region, 4, 4, false, 0, 1);
    address_space_map(space, &window.region, 0x2000, 1);
    g_assert_cmpstr(log->str, ==, "");
    address_space_commit(space);
    g_assert_cmpstr(log->str, ==, "-0-7fff +0-1fff +3000-7fff +bell@2004 . ");
    g_string_truncate(log, 0);
    address_space_begin(space);
    address_space_unmap(&window.region);
    address_space_map(space, &window.region, 0x3000, 1);
    address_space_commit(space);
    g_assert_cmpstr(log->str, ==, "-bell@2004 -0-1fff -3000-7fff +0-2fff +4000-7fff +bell@3004 . ");
    address_space_set_listener(space, NULL);
    window_done(&window);
    address_space_unmap(&low);
    address_space_unmap(&high);
    address_space_free(space);
    ram_block_free(ram);
}

/* ---- Readers while the map changes ---- */

#define READERS 3
#define ROUNDS  2000

typedef struct Race {
    AddressSpace *space;
    RamBlock *ram;
    int stop;
} Race;

static gpointer race_reader(gpointer opaque)
{
    Race *race = opaque;
    DispatchCache cache = { 0 };
    rcu_thread_register();
    while (!__atomic_load_n(&race->stop, __ATOMIC_ACQUIRE)) {
        uint64_t value = address_space_load(race->space, &cache, 0x5004, 4);
        g_assert_true(value == 0x07060504 || value == 0xffffffff);
        void *host = dma_translate(race->space, 0x1000, 16, true);
        g_assert_true(host == race->ram->host + 0x1000);
    }
    rcu_thread_unregister();
    return NULL;
}

static void test_concurrent_readers(void)
{
    Race race = { .space = address_space_new("memory", UINT64_MAX), .ram = make_ram(0x4000) };
    MemRegion region;
    mem_region_init_ram(&region, "ram", race.ram, 0, 0x4000, false);
    address_space_map(race.space, &region, 0, 0);
    GThread *threads[READERS];
    for (int i = 0; i < READERS; i++) {
        threads[i] = g_thread_new("reader", race_reader, &race);
    }
    for (int i = 0; i < ROUNDS; i++) {
        Window *window = g_new(Window, 1);
        window_init(window, 0x1000, 1, 4, 0);
        address_space_map(race.space, &window->region, 0x5000, i % 3);
        address_space_unmap(&window->region);
        address_space_synchronize();
        window_done(window);
        g_free(window);
        while (g_main_context_iteration(NULL, FALSE)) {
        }
    }
    __atomic_store_n(&race.stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < READERS; i++) {
        g_thread_join(threads[i]);
    }
    address_space_unmap(&region);
    address_space_free(race.space);
    ram_block_free(race.ram);
}

static void test_a_terabyte_costs_nothing(void)
{
#ifdef RCU_TSAN
    g_test_skip("ThreadSanitizer's address space has no room for it");
    return;
#endif
    RamBlock *ram = make_ram(1ULL << 40);
    ram->host[(1ULL << 40) - 1] = 1;
    g_assert_cmpint(ram_block_discard(ram, 0, ram->size), ==, 0);
    g_assert_cmpint(ram->host[(1ULL << 40) - 1], ==, 0);
    g_assert_cmpint(ram_block_discard(ram, 1, UINT64_MAX), ==, -EINVAL);
    ram_block_free(ram);
}

static void test_shared_ram_discards_from_its_file(void)
{
    GError *error = NULL;
    RamOptions options = {
        .size = 1 << 20, .memfd = true, .share = true, .prealloc = true, .prealloc_threads = 2
    };
    RamBlock *ram = ram_block_new("shared", &options, &error);
    g_assert_no_error(error);
    g_assert_cmpint(ram->fd, >=, 0);
    ram->host[5000] = 7;
    g_assert_cmpint(ram_block_discard(ram, 4097, 8191), ==, 0);
    uint8_t byte = 1;
    g_assert_cmpint(pread(ram->fd, &byte, 1, 5000), ==, 1);
    g_assert_cmpint(byte, ==, 7); /* rounded inwards: only the third page went */
    g_assert_cmpint(ram_block_discard(ram, 4096, 4096), ==, 0);
    g_assert_cmpint(pread(ram->fd, &byte, 1, 5000), ==, 1);
    g_assert_cmpint(byte, ==, 0);
    ram_block_free(ram);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rcu_thread_register();
    g_test_add_func("/memory/unassigned-reads-ones", test_unassigned);
    g_test_add_func("/memory/stronger-then-later-wins", test_priorities);
    g_test_add_func("/memory/view-follows-the-space-below", test_view);
    g_test_add_func("/memory/splits-around-stronger", test_splits_around_stronger_regions);
    g_test_add_func("/memory/top-of-the-space", test_top_of_the_space);
    g_test_add_func("/memory/beyond-the-limit", test_beyond_the_limit);
    g_test_add_func("/memory/wide-narrow-misaligned", test_access_sizes);
    g_test_add_func("/memory/small-window", test_window_smaller_than_its_accesses);
    g_test_add_func("/memory/ram-and-rom", test_ram_and_rom);
    g_test_add_func("/memory/dma-is-bounded-to-ram", test_dma_is_bounded_to_ram);
    g_test_add_func("/memory/dirty-log", test_dirty_log);
    g_test_add_func("/memory/doorbells", test_doorbells);
    g_test_add_func("/memory/listener-gets-differences", test_listener_gets_differences);
    g_test_add_func("/memory/readers-while-remapping", test_concurrent_readers);
    g_test_add_func("/memory/terabyte-costs-nothing", test_a_terabyte_costs_nothing);
    g_test_add_func("/memory/shared-discard", test_shared_ram_discards_from_its_file);
    int status = g_test_run();
    rcu_thread_unregister();
    return status;
}
