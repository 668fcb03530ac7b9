/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nvme saved in the middle of its work and restored into another machine: nothing is lost, nothing
 * is completed twice. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include "block/block.h"
#include "hw/nvme/nvme.h"
#include "tests/unit/pc-machine.h"

#define NVME       0x0010 /* 02.0 */
#define BAR        0xc1000000u
#define ADMIN_SQ   0x100000
#define ADMIN_CQ   0x101000
#define IO_SQ      0x102000
#define IO_CQ      0x103000
#define DATA       0x200000
#define SHADOW     0x300000
#define DEPTH      8
#define DISK_BYTES (4 << 20)
#define WRITE_AT   4096 /* the block that the limit does not let through */
#define LIMIT      (1 << 20)
#define CC         (1u | 6u << 16 | 4u << 20)

static char *path;
static const char *const devices[] = { "nvme,addr=2,serial=s,drive=n,werror=stop", NULL };

static void no_event(const char *event, json_object *data)
{
    json_object_put(data);
}

static void stop(void)
{
    machine_request_stop(machine_get(), RUN_STATE_IO_ERROR);
}

static const BlockErrorHooks hooks = { .emit = no_event, .stop = stop };

static Machine *machine_start(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf("driver=raw,node-name=n,file.driver=file,"
                                            "file.filename=%s",
                                            path);
    Opts *opts = opts_parse(text, NULL, &error);
    block_node_open(opts, &error);
    g_assert_no_error(error);
    opts_free(opts);
    Machine *machine = pc_machine_new("q35", devices);
    machine_cont(machine, &error);
    g_assert_no_error(error);
    return machine;
}

static void machine_end(Machine *machine)
{
    machine_free(machine);
    g_assert_true(block_node_delete("n", NULL));
}

static void put(Machine *machine, uint64_t queue, unsigned slot, NvmeCommand cmd)
{
    g_assert_true(address_space_write(machine->memory, queue + slot * 64, &cmd, sizeof(cmd)));
}

static void ring(Machine *machine, unsigned index, uint32_t value)
{
    pc_write(machine->memory, BAR + 0x1000 + 4 * index, value, 4);
}

static NvmeCompletion entry(Machine *machine, uint64_t queue, unsigned slot)
{
    NvmeCompletion value;
    g_assert_true(address_space_read(machine->memory, queue + slot * 16, &value, sizeof(value)));
    return value;
}

static void settle(void)
{
    for (int i = 0; i < 40; i++) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
    }
}

/* Waits for the entry with phase 1. */
static NvmeCompletion await(Machine *machine, uint64_t queue, unsigned slot)
{
    for (int i = 0; i < 5000; i++) {
        NvmeCompletion value = entry(machine, queue, slot);
        if (value.status & 1) {
            return value;
        }
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
    }
    g_error("no completion %u", slot);
}

static unsigned admin_tail;

static void admin(Machine *machine, NvmeCommand cmd)
{
    put(machine, ADMIN_SQ, admin_tail++, cmd);
    ring(machine, 0, admin_tail);
}

static void enable(Machine *machine)
{
    pc_config_write(machine, NVME, 0x10, BAR);
    pc_config_write(machine, NVME, 0x14, 0);
    pc_config_write(machine, NVME, 0x04, 6);
    pc_write(machine->memory, BAR + 0x24, 31u << 16 | 31, 4);
    pc_write(machine->memory, BAR + 0x28, ADMIN_SQ, 8);
    pc_write(machine->memory, BAR + 0x30, ADMIN_CQ, 8);
    pc_write(machine->memory, BAR + 0x14, CC, 4);
    g_assert_cmphex(pc_read(machine->memory, BAR + 0x1c, 4), ==, 1);
    admin_tail = 0;
    admin(machine,
          (NvmeCommand){ .opcode = 5, .prp1 = IO_CQ, .cdw10 = (DEPTH - 1) << 16 | 1, .cdw11 = 1 });
    admin(machine,
          (NvmeCommand){
              .opcode = 1, .prp1 = IO_SQ, .cdw10 = (DEPTH - 1) << 16 | 1, .cdw11 = 1 | 1 << 16 });
    g_assert_cmphex(await(machine, ADMIN_CQ, 1).status, ==, 1);
}

static GByteArray *save_all(Machine *machine, uint8_t **ram)
{
    GByteArray *state = g_byte_array_new();
    machine_stop(machine, RUN_STATE_PAUSED);
    devices_save(machine, state);
    *ram = g_malloc(4 * MIB);
    g_assert_true(address_space_read(machine->memory, 0, *ram, 640 * KIB));
    g_assert_true(address_space_read(machine->memory, MIB, *ram + MIB, 3 * MIB));
    return state;
}

/* Another machine with the same memory and state, stopped. */
static Machine *load_all(const GByteArray *state, const uint8_t *ram)
{
    g_autoptr(GError) error = NULL;
    Machine *machine = machine_start();
    machine_stop(machine, RUN_STATE_PAUSED);
    g_assert_true(address_space_write(machine->memory, 0, ram, 640 * KIB));
    g_assert_true(address_space_write(machine->memory, MIB, ram + MIB, 3 * MIB));
    devices_load(machine, state->data, state->len, &error);
    g_assert_no_error(error);
    return machine;
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

/* An event request waits, the completion queue is full with more behind it, commands lie in the
 * queue that nobody took. */
static void test_full_queues(void)
{
    g_autofree uint8_t *ram = NULL;
    Machine *machine = machine_start();
    enable(machine);
    admin(machine, (NvmeCommand){ .opcode = NVME_ADMIN_ASYNC_EVENT, .cid = 99 });
    for (unsigned i = 0; i < 12; i++) {
        put(machine, IO_SQ, i % DEPTH, (NvmeCommand){ .cid = 50 + i, .nsid = 1 }); /* Flush */
        ring(machine, 2, (i + 1) % DEPTH);
        settle();
    }
    g_assert_cmpuint(entry(machine, IO_CQ, 6).status, ==, 1);
    g_assert_cmpuint(entry(machine, IO_CQ, 7).status, ==, 0);
    g_autoptr(GByteArray) state = save_all(machine, &ram);
    put(machine, IO_SQ, 4, (NvmeCommand){ .cid = 62, .nsid = 1 });
    machine_end(machine);

    machine = load_all(state, ram);
    g_autoptr(GByteArray) again = g_byte_array_new();
    devices_save(machine, again);
    g_assert_cmpmem(again->data, again->len, state->data, state->len);
    machine_cont(machine, NULL);
    g_assert_cmphex(pc_read(machine->memory, BAR + 0x1c, 4), ==, 1);
    /* Room for all: the rest follow in order, once. */
    ring(machine, 3, 7);
    for (unsigned i = 7; i < 12; i++) {
        unsigned slot = i % DEPTH;
        uint16_t phase = i < DEPTH;
        for (int tries = 0; (entry(machine, IO_CQ, slot).status & 1) != phase ||
                            entry(machine, IO_CQ, slot).cid != 50 + i;
             tries++) {
            g_assert_cmpint(tries, <, 200);
            settle();
        }
    }
    settle();
    g_assert_cmpuint(entry(machine, IO_CQ, 4).cid, ==, 54);
    /* The event request is still there. */
    admin_tail = 3;
    admin(machine, (NvmeCommand){ .opcode = 9, .cid = 3, .cdw10 = 0x0b, .cdw11 = 2 });
    admin(machine, (NvmeCommand){ .opcode = 9, .cid = 4, .cdw10 = 4, .cdw11 = 1 });
    await(machine, ADMIN_CQ, 4);
    bool told = false;
    for (unsigned i = 2; i < 5; i++) {
        told |= entry(machine, ADMIN_CQ, i).cid == 99;
    }
    g_assert_true(told);
    machine_end(machine);
}

/* A write that failed and was kept by werror=stop runs where it was restored. */
static void test_kept_write(void)
{
    g_autofree uint8_t *ram = NULL;
    uint8_t data[512], back[512];
    memset(data, 0x77, sizeof(data));
    Machine *machine = machine_start();
    enable(machine);
    g_assert_true(address_space_write(machine->memory, DATA, data, sizeof(data)));
    limit_files(LIMIT);
    put(machine, IO_SQ, 0,
        (NvmeCommand){ .opcode = 1, .cid = 7, .nsid = 1, .prp1 = DATA, .cdw10 = WRITE_AT });
    ring(machine, 2, 1);
    for (int i = 0; i < 500 && machine_is_running(machine); i++) {
        settle();
    }
    g_assert_false(machine_is_running(machine));
    g_assert_cmphex(entry(machine, IO_CQ, 0).status, ==, 0);
    g_autoptr(GByteArray) state = save_all(machine, &ram);
    machine_end(machine);

    limit_files(RLIM_INFINITY);
    machine = load_all(state, ram);
    machine_cont(machine, NULL);
    NvmeCompletion done = await(machine, IO_CQ, 0);
    g_assert_cmphex(done.status, ==, 1);
    g_assert_cmpuint(done.cid, ==, 7);
    machine_end(machine);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(pread(fd, back, sizeof(back), WRITE_AT * 512), ==, sizeof(back));
    close(fd);
    g_assert_cmpmem(back, sizeof(back), data, sizeof(data));
}

static void test_shadow_doorbells(void)
{
    g_autofree uint8_t *ram = NULL;
    Machine *machine = machine_start();
    enable(machine);
    admin(machine, (NvmeCommand){ .opcode = 0x7c, .prp1 = SHADOW, .prp2 = SHADOW + 4096 });
    g_assert_cmphex(await(machine, ADMIN_CQ, 2).status, ==, 1);
    g_autoptr(GByteArray) state = save_all(machine, &ram);
    machine_end(machine);
    machine = load_all(state, ram);
    machine_cont(machine, NULL);
    uint32_t tail = 1;
    put(machine, IO_SQ, 0, (NvmeCommand){ .cid = 5, .nsid = 1 });
    g_assert_true(address_space_write(machine->memory, SHADOW + 8, &tail, 4));
    ring(machine, 2, 0x55); /* the register's value says nothing */
    g_assert_cmpuint(await(machine, IO_CQ, 0).cid, ==, 5);
    machine_end(machine);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGXFSZ, SIG_IGN);
    block_set_error_hooks(&hooks);
    path = g_strdup("test-nvme-state-XXXXXX");
    int fd = g_mkstemp(path);
    g_assert_cmpint(ftruncate(fd, DISK_BYTES), ==, 0);
    close(fd);
    g_test_add_func("/nvme-state/full-queues-and-events", test_full_queues);
    g_test_add_func("/nvme-state/kept-write-runs-again", test_kept_write);
    g_test_add_func("/nvme-state/shadow-doorbells", test_shadow_doorbells);
    int status = g_test_run();
    g_unlink(path);
    g_free(path);
    return status;
}
