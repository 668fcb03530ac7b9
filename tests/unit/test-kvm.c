/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The KVM accelerator with a board of its own: RAM, a ROM at the reset vector, a debug port, a
 * register window. Guests are a few real-mode instructions. Skipped without /dev/kvm. */
#include <sched.h>
#include <string.h>
#include <unistd.h>
#include <urcu.h>
#include "vmm/log.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/life.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/monitor.h"
#include "vmm/util/bytes.h"

#define RAM_SIZE   (16 * MIB)
#define ROM_SIZE   (64 * KIB)
#define ROM_BASE   (4 * GIB - ROM_SIZE)
#define DEBUG_PORT 0xe9
#define WINDOW     0xd0000u /* below 1 MiB, so that real mode reaches it */
#define COUNTER    0x500u

static struct {
    MemRegion ram, rom, debug, window;
    RamBlock *rom_block;
    GMutex lock; /* protects what follows */
    GCond changed;
    GString *output;
    struct {
        uint64_t offset, value;
        unsigned size;
    } last_write;
} board;

static MachineConfig config;

/* Events go nowhere here. */
void __attribute__((weak)) monitor_emit(const char *name, json_object *data)
{
    json_object_put(data);
}

static uint64_t debug_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0x4b;
}

static void debug_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    g_mutex_lock(&board.lock);
    g_string_append_c(board.output, (char)value);
    g_cond_broadcast(&board.changed);
    g_mutex_unlock(&board.lock);
}

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0x11223344 + offset;
}

static void window_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    g_mutex_lock(&board.lock);
    board.last_write.offset = offset;
    board.last_write.value = value;
    board.last_write.size = size;
    g_mutex_unlock(&board.lock);
}

static const MemOps debug_ops = { .read = debug_read, .write = debug_write, .max_size = 1 };
static const MemOps window_ops = { .read = window_read, .write = window_write, .max_size = 4 };

static bool board_build(Machine *machine, GError **error)
{
    RamOptions options = { .size = ROM_SIZE };
    board.rom_block = ram_block_new("rom", &options, error);
    if (!board.rom_block) {
        return false;
    }
    mem_region_init_ram(&board.ram, "ram", machine->ram, 0, RAM_SIZE, false);
    mem_region_init_ram(&board.rom, "rom", board.rom_block, 0, ROM_SIZE, true);
    mem_region_init_io(&board.debug, "debug", 1, &debug_ops, NULL, NULL);
    mem_region_init_io(&board.window, "window", 4096, &window_ops, NULL, NULL);
    address_space_map(machine->memory, &board.ram, 0, 0);
    address_space_map(machine->memory, &board.rom, ROM_BASE, 0);
    address_space_map(machine->memory, &board.window, WINDOW, 1);
    address_space_map(machine->io, &board.debug, DEBUG_PORT, 0);
    machine->ram_below_4g = RAM_SIZE;
    machine->gsi_count = 24;
    return true;
}

static bool board_finish(Machine *machine, GError **error)
{
    return true;
}

static bool board_reset(Machine *machine)
{
    return true;
}

static void board_destroy(Machine *machine)
{
    address_space_unmap(&board.ram);
    address_space_unmap(&board.rom);
    address_space_unmap(&board.window);
    address_space_unmap(&board.debug);
}

static const MachineClass board_class = {
    .name = "test",
    .desc = "test board",
    .max_cpus = 255,
    .build = board_build,
    .finish = board_finish,
    .reset = board_reset,
    .destroy = board_destroy,
};

/* A machine whose reset vector jumps to `code`, which stands at 0xf000:0 of the ROM. */
static Machine *machine_with(const uint8_t *code, size_t len)
{
    static const uint8_t jump[] = { 0xe9, 0x0d, 0x00 }; /* jmp 0x0000 from 0xfff0 */
    GError *error = NULL;
    config.cls = &board_class;
    config.accel = "kvm";
    config.ram_size = RAM_SIZE;
    if (!config.smp.cpus) {
        config.smp = (SmpConfig){ 1, 1, 1, 1, 1, 1 };
    }
    board.output = g_string_new(NULL);
    Machine *machine = machine_new(&config, &error);
    g_assert_no_error(error);
    memcpy(board.rom_block->host, code, len);
    memcpy(board.rom_block->host + 0xfff0, jump, sizeof(jump));
    g_assert_true(machine_finish(machine, &error));
    g_assert_no_error(error);
    return machine;
}

static void machine_end(Machine *machine)
{
    if (machine_is_running(machine)) {
        machine_stop(machine, RUN_STATE_PAUSED);
    }
    machine_free(machine);
    ram_block_free(board.rom_block);
    mem_region_cleanup(&board.ram);
    mem_region_cleanup(&board.rom);
    mem_region_cleanup(&board.debug);
    mem_region_cleanup(&board.window);
    g_string_free(board.output, TRUE);
    memset(&config, 0, sizeof(config));
}

static void wait_output(const char *expected)
{
    g_mutex_lock(&board.lock);
    while (board.output->len < strlen(expected)) {
        g_cond_wait(&board.changed, &board.lock);
    }
    g_assert_cmpstr(board.output->str, ==, expected);
    g_mutex_unlock(&board.lock);
}

static void cont(Machine *machine)
{
    GError *error = NULL;
    g_assert_true(machine_cont(machine, &error));
    g_assert_no_error(error);
}

static uint32_t counter(Machine *machine)
{
    return load_le32(machine->ram->host + COUNTER);
}

/* mov al, 'V'; out 0xe9, al; hlt; jmp -3 */
static const uint8_t prints_v[] = { 0xb0, 'V', 0xe6, DEBUG_PORT, 0xf4, 0xeb, 0xfd };

static void test_reset_vector(void)
{
    Machine *machine = machine_with(prints_v, sizeof(prints_v));
    cont(machine);
    wait_output("V");
    machine_end(machine);
}

static void test_port_string(void)
{
    static const uint8_t code[] = {
        0x8c, 0xc8,       /* mov ax, cs */
        0x8e, 0xd8,       /* mov ds, ax */
        0xfc,             /* cld */
        0xbe, 0x20, 0x00, /* mov si, 0x20 */
        0xb9, 0x05, 0x00, /* mov cx, 5 */
        0xba, 0xe9, 0x00, /* mov dx, 0xe9 */
        0xf3, 0x6e,       /* rep outsb */
        0xe4, 0xe9,       /* in al, 0xe9 */
        0xe6, 0xe9,       /* out 0xe9, al */
        0xf4, 0xeb, 0xfd, [0x20] = 'h', 'e', 'l', 'l', 'o',
    };
    Machine *machine = machine_with(code, sizeof(code));
    /* The reset CS base is 0xffff0000; ds loaded from cs is 0xf000, whose base is 0xf0000. */
    memcpy(machine->ram->host + 0xf0020, "hello", 5);
    cont(machine);
    wait_output("helloK");
    machine_end(machine);
}

static void test_mmio(void)
{
    static const uint8_t code[] = {
        0xb8, 0x00, 0xd0,             /* mov ax, 0xd000 */
        0x8e, 0xd8,                   /* mov ds, ax */
        0x66, 0xa1, 0x04, 0x00,       /* mov eax, [4] */
        0x66, 0xa3, 0x10, 0x00,       /* mov [0x10], eax */
        0xb0, 'D',  0xe6, DEBUG_PORT, /* out */
        0xf4, 0xeb, 0xfd,
    };
    Machine *machine = machine_with(code, sizeof(code));
    cont(machine);
    wait_output("D");
    g_assert_cmphex(board.last_write.offset, ==, 0x10);
    g_assert_cmphex(board.last_write.value, ==, 0x11223348);
    g_assert_cmpuint(board.last_write.size, ==, 4);
    machine_end(machine);
}

/* A counter at COUNTER that never stops; prints 'C' first. */
static const uint8_t counts[] = {
    0x31, 0xc0,                         /* xor ax, ax */
    0x8e, 0xd8,                         /* mov ds, ax */
    0xb0, 'C',  0xe6, DEBUG_PORT,       /* out */
    0x66, 0xff, 0x06, 0x00,       0x05, /* inc dword [0x500] */
    0xeb, 0xf9,                         /* jmp -7 */
};

static void test_pause(void)
{
    Machine *machine = machine_with(counts, sizeof(counts));
    cont(machine);
    wait_output("C");
    for (int i = 0; i < 300; i++) {
        machine->accel->vcpus_pause(machine);
        uint32_t before = counter(machine);
        g_thread_yield();
        g_assert_cmpuint(counter(machine), ==, before);
        machine->accel->vcpus_resume(machine);
    }
    uint32_t before = counter(machine);
    while (counter(machine) == before) {
        g_thread_yield();
    }
    machine_end(machine);
}

static void test_reset(void)
{
    Machine *machine = machine_with(counts, sizeof(counts));
    cont(machine);
    wait_output("C");
    machine_reset_now(machine);
    wait_output("CC");
    machine_reset_now(machine);
    wait_output("CCC");
    machine_end(machine);
}

/* Starts the first vCPU in flat 32-bit mode on code at 1 MiB. */
static void boot_protected(Machine *machine, const uint8_t *code, size_t len)
{
    const BootCpu boot = { .mode = BOOT_CPU_PROTECTED, .rip = MIB, .rsp = 0x8000 };
    memcpy(machine->ram->host + MIB, code, len);
    machine->accel->vcpu_set_boot(machine, &boot);
}

static void test_triple_fault(void)
{
    /* There is no interrupt table. */
    static const uint8_t code[] = { 0x31, 0xc0, 0xf7, 0xf0 }; /* xor eax, eax; div eax */
    config.actions.reboot_exits = true;
    Machine *machine = machine_with(prints_v, sizeof(prints_v));
    boot_protected(machine, code, sizeof(code));
    cont(machine);
    g_assert_cmpint(machine_run(machine), ==, 0);
    machine_end(machine);
}

static void test_protected_boot(void)
{
    static const uint8_t code[] = { 0xb0, 'P', 0xe6, DEBUG_PORT, 0xf4, 0xeb, 0xfd };
    Machine *machine = machine_with(prints_v, sizeof(prints_v));
    boot_protected(machine, code, sizeof(code));
    cont(machine);
    wait_output("P");
    machine_end(machine);
}

static void test_save_load(void)
{
    GError *error = NULL;
    Machine *machine = machine_with(counts, sizeof(counts));
    g_autoptr(GByteArray) first = g_byte_array_new(), second = g_byte_array_new();
    cont(machine);
    wait_output("C");
    machine->accel->vcpus_pause(machine);
    machine->accel->save(machine, first);
    machine->accel->vcpus_resume(machine);
    g_usleep(1000);
    machine->accel->vcpus_pause(machine);
    const uint8_t *cursor = first->data;
    g_assert_true(machine->accel->load(machine, &cursor, first->data + first->len, &error));
    g_assert_no_error(error);
    g_assert_true(cursor == first->data + first->len);
    machine->accel->save(machine, second);
    g_assert_cmpuint(first->len, ==, second->len);
    /* A stream that ends early is refused at every length. */
    for (guint len = 0; len < first->len; len += 97) {
        cursor = first->data;
        g_assert_false(machine->accel->load(machine, &cursor, first->data + len, &error));
        g_assert_nonnull(error);
        g_clear_error(&error);
    }
    cursor = first->data;
    g_assert_true(machine->accel->load(machine, &cursor, first->data + first->len, &error));
    machine->accel->vcpus_resume(machine);
    uint32_t before = counter(machine);
    while (counter(machine) == before) {
        g_thread_yield();
    }
    machine_end(machine);
}

static void test_pic_interrupt(void)
{
    static const uint8_t code[] = {
        0x31, 0xc0,                                           /* xor ax, ax */
        0x8e, 0xd8,                                           /* mov ds, ax */
        0x8e, 0xd0,                                           /* mov ss, ax */
        0xbc, 0x00, 0x7c,                                     /* mov sp, 0x7c00 */
        0xc7, 0x06, 0x90, 0x00,       0x40, 0x00,             /* vector 0x24 = f000:0040 */
        0xc7, 0x06, 0x92, 0x00,       0x00, 0xf0,             /* */
        0xb0, 0x11, 0xe6, 0x20,       0xb0, 0x20, 0xe6, 0x21, /* ICW1, ICW2 */
        0xb0, 0x04, 0xe6, 0x21,       0xb0, 0x01, 0xe6, 0x21, /* ICW3, ICW4 */
        0xb0, 0xef, 0xe6, 0x21,                               /* only IRQ 4 */
        0xb0, 'R',  0xe6, DEBUG_PORT, 0xfb,                   /* ready; sti */
        0xf4, 0xeb, 0xfd,                                     /* hlt */
    };
    static const uint8_t handler[] = {
        0xb0, 'I', 0xe6, DEBUG_PORT, 0xb0, 0x20, 0xe6, 0x20, 0xcf, /* out, EOI, iret */
    };
    Machine *machine = machine_with(code, sizeof(code));
    memcpy(machine->ram->host + 0xf0040, handler, sizeof(handler));
    cont(machine);
    wait_output("R");
    machine->accel->gsi_set(machine, 4, 1);
    machine->accel->gsi_set(machine, 4, 0);
    wait_output("RI");
    machine->accel->gsi_set(machine, 4, 1);
    machine->accel->gsi_set(machine, 4, 0);
    wait_output("RII");
    machine_end(machine);
}

static void test_dump(void)
{
    Machine *machine = machine_with(prints_v, sizeof(prints_v));
    cont(machine);
    wait_output("V");
    machine_stop(machine, RUN_STATE_PAUSED);
    g_autoptr(GString) dump = g_string_new(NULL);
    machine->accel->vcpu_dump(machine, 0, dump);
    g_assert_nonnull(strstr(dump->str, "EAX=00000056"));
    g_assert_nonnull(strstr(dump->str, "CS =f000 ffff0000 0000ffff"));
    g_assert_nonnull(strstr(dump->str, "b0 56 e6 e9"));
    machine_end(machine);
}

static void test_reset_log(void)
{
    g_autofree char *text = NULL;
    Machine *machine = machine_with(prints_v, sizeof(prints_v));
    cont(machine);
    wait_output("V");
    machine_stop(machine, RUN_STATE_PAUSED);
    g_assert_true(log_open("test-kvm-reset.log", NULL));
    log_items = LOG_CPU_RESET;
    machine_reset_now(machine);
    log_items = 0;
    machine_reset_now(machine);
    log_close();
    machine_end(machine);
    g_assert_true(g_file_get_contents("test-kvm-reset.log", &text, NULL, NULL));
    unlink("test-kvm-reset.log");
    g_assert_true(g_str_has_prefix(text, "before a reset:\n"));
    g_assert_nonnull(strstr(text, "CPU#0\nEAX=00000056"));
    g_assert_null(strstr(text + 1, "before a reset"));
}

static void test_many_vcpus(void)
{
    config.smp = (SmpConfig){
        .cpus = 64, .maxcpus = 64, .sockets = 1, .dies = 1, .cores = 32, .threads = 2
    };
    Machine *machine = machine_with(prints_v, sizeof(prints_v));
    cont(machine);
    wait_output("V");
    g_assert_cmpint(machine->accel->vcpu_thread_id(machine, 63), >, 0);
    g_assert_cmpint(machine->accel->vcpu_thread_id(machine, 64), ==, 0);
    machine_end(machine);
}

/* The thread's name and where it may run, as /proc tells. */
static void assert_thread(int tid, const char *name, const char *cpus)
{
    g_autofree char *comm_path = g_strdup_printf("/proc/self/task/%d/comm", tid);
    g_autofree char *status_path = g_strdup_printf("/proc/self/task/%d/status", tid);
    g_autofree char *comm = NULL, *status = NULL;
    g_autofree char *line = g_strdup_printf("\nCpus_allowed_list:\t%s\n", cpus);
    g_assert_true(g_file_get_contents(comm_path, &comm, NULL, NULL));
    g_assert_true(g_file_get_contents(status_path, &status, NULL, NULL));
    g_assert_cmpstr(g_strchomp(comm), ==, name);
    g_assert_nonnull(strstr(status, line));
}

static void test_pinned_vcpus(void)
{
    cpu_set_t all;
    HostCpus mine = { 0 };
    if (sched_getaffinity(0, sizeof(mine), (cpu_set_t *)mine.bits) < 0 ||
        sched_getaffinity(0, sizeof(all), &all) < 0 || CPU_COUNT(&all) < 2) {
        g_test_skip("there is one CPU for this test");
        return;
    }
    unsigned last = host_cpus_last(&mine);
    g_autofree char *list = g_strdup_printf("%u", last);
    VcpuPin pin;
    GPtrArray *pins = g_ptr_array_new();
    g_assert_true(host_cpus_parse(&pin.vcpus, "1", NULL));
    g_assert_true(host_cpus_parse(&pin.cpus, list, NULL));
    g_ptr_array_add(pins, &pin);
    config.vcpu_pins = pins;
    config.smp =
        (SmpConfig){ .cpus = 2, .maxcpus = 2, .sockets = 1, .dies = 1, .cores = 2, .threads = 1 };
    g_autofree char *before = NULL;
    g_assert_true(g_file_get_contents("/proc/self/status", &before, NULL, NULL));
    char *anywhere = strstr(before, "Cpus_allowed_list:\t") + strlen("Cpus_allowed_list:\t");
    *strchr(anywhere, '\n') = '\0';
    Machine *machine = machine_with(prints_v, sizeof(prints_v));
    assert_thread(machine->accel->vcpu_thread_id(machine, 0), "CPU 0/KVM", anywhere);
    assert_thread(machine->accel->vcpu_thread_id(machine, 1), "CPU 1/KVM", list);
    machine_end(machine);
    g_ptr_array_unref(pins);
}

static void test_remap_while_running(void)
{
    Machine *machine = machine_with(counts, sizeof(counts));
    cont(machine);
    wait_output("C");
    for (int i = 0; i < 50; i++) {
        /* The window comes and goes: the RAM slot under it is split and joined again. */
        machine_topology_lock(machine);
        address_space_unmap(&board.window);
        address_space_map(machine->memory, &board.window, WINDOW + (i & 1) * 4096, 1);
        machine_topology_unlock(machine);
    }
    uint32_t before = counter(machine);
    while (counter(machine) == before) {
        g_thread_yield();
    }
    machine_end(machine);
}

static bool page_dirty(const uint64_t *bits, uint64_t addr)
{
    return bits[addr / 4096 / 64] >> (addr / 4096 % 64) & 1;
}

/* What the guest writes is in the log, once each time, across a change of its memory slots. */
static void test_dirty_log(void)
{
    static const uint8_t code[] = {
        0x31, 0xc0, 0x8e, 0xd8,             /* ds = 0 */
        0xc6, 0x06, 0x00, 0x30,       0x01, /* mov byte [0x3000], 1 */
        0xc6, 0x06, 0x00, 0x90,       0x01, /* mov byte [0x9000], 1 */
        0xb0, 'D',  0xe6, DEBUG_PORT,       /* out */
        0xf4, 0xeb, 0xfd,
    };
    enum { WORDS = RAM_SIZE / 4096 / 64 };
    GError *error = NULL;
    uint64_t bits[WORDS];
    Machine *machine = machine_with(code, sizeof(code));
    g_assert_true(ram_block_dirty_start(machine->ram, &error));
    g_assert_no_error(error);
    cont(machine);
    wait_output("D");
    ram_block_dirty_fetch(machine->ram, bits);
    g_assert_true(page_dirty(bits, 0x3000) && page_dirty(bits, 0x9000));
    g_assert_false(page_dirty(bits, 0x4000) || page_dirty(bits, MIB));
    ram_block_dirty_fetch(machine->ram, bits);
    g_assert_false(page_dirty(bits, 0x3000) || page_dirty(bits, 0x9000));
    /* It runs again; then its slot is taken away before anybody asked. */
    machine_reset_now(machine);
    wait_output("DD");
    machine_topology_lock(machine);
    address_space_unmap(&board.window);
    machine_topology_unlock(machine);
    ram_block_dirty_fetch(machine->ram, bits);
    g_assert_true(page_dirty(bits, 0x3000) && page_dirty(bits, 0x9000));
    /* The slot that took its place logs too. */
    machine_reset_now(machine);
    wait_output("DDD");
    ram_block_dirty_fetch(machine->ram, bits);
    g_assert_true(page_dirty(bits, 0x3000) && page_dirty(bits, 0x9000));
    g_assert_false(page_dirty(bits, 0x4000));
    machine_stop(machine, RUN_STATE_PAUSED);
    ram_block_dirty_stop(machine->ram);
    machine_topology_lock(machine);
    address_space_map(machine->memory, &board.window, WINDOW, 1);
    machine_topology_unlock(machine);
    machine_end(machine);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (access("/dev/kvm", R_OK | W_OK) != 0) {
        g_test_message("no usable /dev/kvm");
        return 77;
    }
    rcu_register_thread();
    event_loop_main();
    g_test_add_func("/kvm/the-first-instruction-is-at-the-reset-vector", test_reset_vector);
    g_test_add_func("/kvm/string-io-moves-every-element", test_port_string);
    g_test_add_func("/kvm/register-windows-see-address-size-and-value", test_mmio);
    g_test_add_func("/kvm/nothing-runs-while-paused", test_pause);
    g_test_add_func("/kvm/reset-starts-over", test_reset);
    g_test_add_func("/kvm/a-kernel-can-start-in-flat-protected-mode", test_protected_boot);
    g_test_add_func("/kvm/a-triple-fault-asks-for-a-reset", test_triple_fault);
    g_test_add_func("/kvm/state-is-saved-and-loaded-and-hostile-streams-refused", test_save_load);
    g_test_add_func("/kvm/a-gsi-interrupts-through-the-pic", test_pic_interrupt);
    g_test_add_func("/kvm/dump-shows-registers-and-code", test_dump);
    g_test_add_func("/kvm/reset-log", test_reset_log);
    g_test_add_func("/kvm/64-vcpus-start", test_many_vcpus);
    g_test_add_func("/kvm/pinned-vcpus", test_pinned_vcpus);
    g_test_add_func("/kvm/memory-slots-change-under-a-running-vcpu", test_remap_while_running);
    g_test_add_func("/kvm/what-vcpus-write-is-in-the-dirty-log", test_dirty_log);
    return g_test_run();
}
