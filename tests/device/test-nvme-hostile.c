/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nvme against a hostile driver, row by row of HARDENING: wild doorbells and queues, lists that
 * loop, DMA at the controller itself, resets with requests out, commands kept by an error policy.
 */
#include <glib/gstdio.h>
#include <linux/pci_regs.h>
#include <string.h>
#include "tests/device/libqtest-nvme.h"

#define SLOW_DISK "driver=null-co,node-name=a,size=64M,read-zeroes=on,latency-ns=30000000"
#define FAST_DISK "driver=null-co,node-name=a,size=64M,read-zeroes=on"

static QNvme *open_disk(const char *disk, const char *props)
{
    QTest *qts = qtest_start("-blockdev %s -device nvme,id=n,serial=s,drive=a%s", disk, props);
    QNvme *nvme = qnvme_new(qts, 0);
    qnvme_enable(nvme);
    qnvme_make_queue(nvme, 1, QNVME_DEPTH, -1);
    return nvme;
}

static void close_disk(QNvme *nvme)
{
    QTest *qts = nvme->qts;
    qnvme_free(nvme);
    qtest_stop(qts);
}

static void assert_works(QNvme *nvme)
{
    g_assert_cmphex(qnvme_identify(nvme, 1, 0), ==, 0);
    g_assert_cmphex(qnvme_rw(nvme, NVME_IO_READ, 0, 8), ==, 0);
}

/* 1: registers of queues change while the controller runs. */
static void test_registers_after_enable(void)
{
    QNvme *nvme = open_disk(FAST_DISK, "");
    qnvme_set_reg(nvme, NVME_REG_AQA, 0xffffffff);
    qpci_write(nvme->pci, 0, NVME_REG_ASQ, UINT64_MAX, 8);
    qpci_write(nvme->pci, 0, NVME_REG_ACQ, 0, 8);
    assert_works(nvme);
    qnvme_set_reg(nvme, NVME_REG_CC, qnvme_reg(nvme, NVME_REG_CC) ^ 0x00f80000);
    assert_works(nvme);
    close_disk(nvme);
}

/* 2: one command identifier many times at once. */
static void test_same_identifier(void)
{
    QNvme *nvme = open_disk(SLOW_DISK, "");
    NvmeCommand read = { .opcode = NVME_IO_READ, .nsid = 1, .prp1 = nvme->data };
    for (int i = 0; i < 8; i++) {
        nvme->next_cid = 77;
        qnvme_put(nvme, 1, read);
    }
    qnvme_ring(nvme, 1);
    for (int i = 0; i < 8; i++) {
        NvmeCompletion entry;
        g_assert_cmphex(qnvme_wait(nvme, 1, &entry), ==, 0);
        g_assert_cmpuint(entry.cid, ==, 77);
    }
    close_disk(nvme);
}

/* 3: a driver that never takes completions gets no more than its queue holds, and the rest when it
 * does. */
static void test_completion_queue_full(void)
{
    QNvme *nvme = open_disk(FAST_DISK, "");
    QNvmeQueue *q = &nvme->queues[1];
    NvmeCommand flush = { .opcode = NVME_IO_FLUSH, .nsid = 1 };
    uint64_t head_doorbell = NVME_REG_DOORBELLS + 12;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < QNVME_DEPTH - 1; i++) {
            qnvme_put(nvme, 1, flush);
        }
        qnvme_ring(nvme, 1);
        g_usleep(20000);
    }
    /* 31 fit; the entry behind them still has the old phase. */
    g_assert_cmphex(qtest_read(nvme->qts, q->cq + 30 * 16 + 14, 2) & 1, ==, 1);
    g_assert_cmphex(qtest_read(nvme->qts, q->cq + 31 * 16 + 14, 2) & 1, ==, 0);
    unsigned taken = 0;
    while (taken < 2 * (QNVME_DEPTH - 1)) {
        g_assert_cmphex(qnvme_wait(nvme, 1, NULL), ==, 0);
        taken++;
        if (taken % 7 == 0) {
            qnvme_set_reg(nvme, (uint32_t)head_doorbell, 5000); /* nonsense is passed over */
            qnvme_set_reg(nvme, (uint32_t)head_doorbell, q->head);
        }
    }
    g_assert_false(qnvme_poll(nvme, 1, NULL));
    assert_works(nvme);
    close_disk(nvme);
}

/* 4: doorbells out of range, of queues that are not there, in the middle of nowhere. */
static void test_doorbells(void)
{
    QNvme *nvme = open_disk(FAST_DISK, "");
    static const uint32_t values[] = { 32, 33, 0xffff, 0x10000, 0xffffffff, 0x80000000 };
    qnvme_put(nvme, 0, (NvmeCommand){ .opcode = NVME_ADMIN_ASYNC_EVENT });
    qnvme_ring(nvme, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        qnvme_set_reg(nvme, NVME_REG_DOORBELLS + 8, values[i]);
    }
    NvmeCompletion entry;
    g_assert_cmphex(qnvme_wait(nvme, 0, &entry), ==, 0);
    g_assert_cmphex(entry.dw0, ==, 0x010100); /* invalid doorbell value, error log */
    qnvme_ring(nvme, 1);
    assert_works(nvme);
    NvmeCommand log = { .opcode = NVME_ADMIN_GET_LOG, .cdw10 = NVME_LOG_ERROR | 15 << 16 };
    g_assert_cmphex(qnvme_run(nvme, 0, log, NULL), ==, 0);
    g_assert_cmpuint(qtest_read(nvme->qts, nvme->data, 8), >, 0);
    for (uint32_t offset = 0x1010; offset < 0x2000; offset += 4) {
        qnvme_set_reg(nvme, offset, offset);
    }
    for (unsigned i = 0; i < 1000; i++) {
        qnvme_set_reg(nvme, 0x1000 + 8 * 60, i);
    }
    assert_works(nvme);
    close_disk(nvme);
}

static uint16_t create(QNvme *nvme, uint8_t opcode, uint32_t cdw10, uint32_t cdw11, uint64_t prp1)
{
    NvmeCommand cmd = { .opcode = opcode, .prp1 = prp1, .cdw10 = cdw10, .cdw11 = cdw11, .prp2 = 1 };
    return qnvme_run(nvme, 0, cmd, NULL);
}

static void test_queue_creation(void)
{
    enum { CQ = NVME_ADMIN_CREATE_CQ, SQ = NVME_ADMIN_CREATE_SQ };
    QNvme *nvme = open_disk(FAST_DISK, "");
    uint64_t page = nvme->data;
    g_assert_cmphex(create(nvme, CQ, 7 << 16, 1, page), ==, NVME_INVALID_QID | NVME_DNR);
    g_assert_cmphex(create(nvme, CQ, 7 << 16 | 65, 1, page), ==, NVME_INVALID_QID | NVME_DNR);
    g_assert_cmphex(create(nvme, CQ, 7 << 16 | 1, 1, page), ==, NVME_INVALID_QID | NVME_DNR);
    g_assert_cmphex(create(nvme, CQ, 2, 1, page), ==, NVME_INVALID_QUEUE_SIZE | NVME_DNR);
    g_assert_cmphex(create(nvme, CQ, 2048u << 16 | 2, 1, page), ==,
                    NVME_INVALID_QUEUE_SIZE | NVME_DNR);
    g_assert_cmphex(create(nvme, CQ, 7 << 16 | 2, 1, page + 64), ==, NVME_INVALID_PRP | NVME_DNR);
    g_assert_cmphex(create(nvme, CQ, 7 << 16 | 2, 3 | 65u << 16, page), ==,
                    NVME_INVALID_VECTOR | NVME_DNR);
    g_assert_cmphex(create(nvme, CQ, 7 << 16 | 2, 0, page), ==, NVME_INVALID_FIELD | NVME_DNR);
    g_assert_cmphex(create(nvme, CQ, 7 << 16 | 2, 1, 1ULL << 50), ==,
                    NVME_DATA_TRANSFER | NVME_DNR);
    g_assert_cmphex(create(nvme, CQ, 7 << 16 | 2, 1, nvme->pci->bar[0]), ==,
                    NVME_DATA_TRANSFER | NVME_DNR);
    g_assert_cmphex(create(nvme, CQ, 7 << 16 | 2, 1, page), ==, 0);
    g_assert_cmphex(create(nvme, SQ, 7 << 16 | 2, 1 | 9 << 16, page), ==,
                    NVME_INVALID_CQ | NVME_DNR);
    g_assert_cmphex(create(nvme, SQ, 7 << 16 | 2, 1 | 2 << 16, -4096ULL), ==,
                    NVME_DATA_TRANSFER | NVME_DNR);
    g_assert_cmphex(create(nvme, SQ, 7 << 16 | 2, 1 | 2 << 16, page + 4096), ==, 0);
    g_assert_cmphex(create(nvme, NVME_ADMIN_DELETE_CQ, 2, 0, 0), ==, NVME_INVALID_DELETION);
    g_assert_cmphex(create(nvme, NVME_ADMIN_DELETE_SQ, 0, 0, 0), ==, NVME_INVALID_QID | NVME_DNR);
    g_assert_cmphex(create(nvme, NVME_ADMIN_DELETE_SQ, 2, 0, 0), ==, 0);
    g_assert_cmphex(create(nvme, NVME_ADMIN_DELETE_CQ, 2, 0, 0), ==, 0);
    g_assert_cmphex(create(nvme, NVME_ADMIN_DELETE_CQ, 2, 0, 0), ==, NVME_INVALID_QID | NVME_DNR);
    assert_works(nvme);
    close_disk(nvme);
}

/* 5, 8: data that leaves RAM, wraps, is misaligned; lists that lead to themselves. */
static void test_prp(void)
{
    QNvme *nvme = open_disk(FAST_DISK, "");
    QTest *qts = nvme->qts;
    NvmeCommand read = { .opcode = NVME_IO_READ, .nsid = 1, .cdw12 = 127 };
    uint64_t list = qtest_alloc(qts, 4096, 4096);
    read.prp1 = nvme->data;
    read.prp2 = list + 4088; /* the last entry of a page: a pointer to the next list, itself */
    qtest_write(qts, list + 4088, list + 4088, 8);
    g_assert_cmphex(qnvme_run(nvme, 1, read, NULL), ==, NVME_INVALID_PRP | NVME_DNR);
    qtest_write(qts, list + 4088, list, 8);
    for (unsigned i = 0; i < 511; i++) {
        qtest_write(qts, list + 8 * i, list, 8);
    }
    read.prp2 = list + 4088;
    g_assert_cmphex(qnvme_run(nvme, 1, read, NULL), ==, 0); /* every page is the list's */
    qtest_write(qts, list, list + 8, 8);
    read.prp2 = list;
    g_assert_cmphex(qnvme_run(nvme, 1, read, NULL), ==, NVME_INVALID_PRP | NVME_DNR);
    read.prp2 = list + 4;
    g_assert_cmphex(qnvme_run(nvme, 1, read, NULL), ==, NVME_INVALID_PRP | NVME_DNR);
    static const uint64_t wild[] = { 1ULL << 45, UINT64_MAX & ~4095ULL, 0xfee00000, 0xa0000000 };
    for (unsigned i = 0; i < G_N_ELEMENTS(wild); i++) {
        read.prp1 = wild[i];
        g_assert_cmphex(qnvme_run(nvme, 1, read, NULL), ==, NVME_DATA_TRANSFER);
        read.prp1 = nvme->data;
        read.prp2 = wild[i];
        g_assert_cmphex(qnvme_run(nvme, 1, read, NULL), ==, NVME_DATA_TRANSFER);
    }
    read.prp1 = nvme->data + 3;
    g_assert_cmphex(qnvme_run(nvme, 1, read, NULL), ==, NVME_INVALID_PRP | NVME_DNR);
    assert_works(nvme);
    close_disk(nvme);
}

/* 6: data and queues aimed at the controller's own registers. */
static void test_dma_at_itself(void)
{
    QNvme *nvme = open_disk(FAST_DISK, "");
    uint32_t cc = qnvme_reg(nvme, NVME_REG_CC);
    NvmeCommand read = { .opcode = NVME_IO_READ, .nsid = 1, .cdw12 = 15 };
    for (uint64_t offset = 0; offset < 0x4000; offset += 0x1000) {
        read.prp1 = nvme->pci->bar[0] + offset;
        read.prp2 = nvme->data;
        g_assert_cmphex(qnvme_run(nvme, 1, read, NULL), ==, NVME_DATA_TRANSFER);
        read.prp1 = nvme->data;
        read.prp2 = nvme->pci->bar[0] + offset;
        g_assert_cmphex(qnvme_run(nvme, 1, read, NULL), ==, NVME_DATA_TRANSFER);
    }
    NvmeCommand config = { .opcode = NVME_ADMIN_DOORBELL_BUFFER,
                           .prp1 = nvme->pci->bar[0] + 0x1000,
                           .prp2 = nvme->data };
    g_assert_cmphex(qnvme_run(nvme, 0, config, NULL), ==, NVME_INVALID_FIELD | NVME_DNR);
    g_assert_cmphex(qnvme_reg(nvme, NVME_REG_CC), ==, cc);
    qnvme_disable(nvme);
    qpci_write(nvme->pci, 0, NVME_REG_ASQ, nvme->pci->bar[0], 8);
    qpci_write(nvme->pci, 0, NVME_REG_ACQ, nvme->pci->bar[0], 8);
    qnvme_set_reg(nvme, NVME_REG_CC, cc);
    g_assert_cmphex(qnvme_reg(nvme, NVME_REG_CSTS), ==, NVME_CSTS_CFS);
    qnvme_disable(nvme);
    qnvme_enable(nvme);
    close_disk(nvme);
}

/* 10: sector arithmetic, transfers longer than the limit. */
static void test_ranges(void)
{
    QNvme *nvme = open_disk(FAST_DISK, ",mdts=4");
    const uint64_t blocks = (64 << 20) / 512;
    const struct {
        uint64_t slba;
        unsigned count;
    } bad[] = { { blocks, 1 },     { blocks - 1, 2 }, { UINT64_MAX, 1 },
                { UINT64_MAX, 2 }, { 1ULL << 55, 8 }, { UINT64_MAX - 7, 8 } };
    static const uint8_t ops[] = { NVME_IO_READ, NVME_IO_WRITE, NVME_IO_WRITE_ZEROES,
                                   NVME_IO_COMPARE, NVME_IO_VERIFY };
    for (unsigned op = 0; op < G_N_ELEMENTS(ops); op++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
            g_assert_cmphex(qnvme_rw(nvme, ops[op], bad[i].slba, bad[i].count), ==,
                            NVME_LBA_RANGE | NVME_DNR);
        }
    }
    g_assert_cmphex(qnvme_rw(nvme, NVME_IO_READ, 0, 129), ==, NVME_INVALID_FIELD | NVME_DNR);
    g_assert_cmphex(qnvme_rw(nvme, NVME_IO_READ, 0, 65536), ==, NVME_INVALID_FIELD | NVME_DNR);
    g_assert_cmphex(qnvme_rw(nvme, NVME_IO_WRITE_ZEROES, 0, 65536), ==, 0);
    close_disk(nvme);
}

/* Unknown commands, all of them, with every kind of data pointer. */
static void test_every_opcode(void)
{
    QNvme *nvme = open_disk(FAST_DISK, "");
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        NvmeCommand cmd = { .opcode = (uint8_t)opcode,
                            .flags = (uint8_t)(opcode << 5),
                            .nsid = opcode & 1 ? 1 : NVME_NSID_ALL,
                            .prp1 = UINT64_MAX - opcode,
                            .prp2 = nvme->data + opcode,
                            .cdw10 = opcode * 0x01010101u,
                            .cdw11 = opcode * 0x10101010u,
                            .cdw12 = opcode };
        if (opcode != NVME_ADMIN_ASYNC_EVENT && opcode != NVME_ADMIN_DELETE_SQ) {
            qnvme_run(nvme, 0, cmd, NULL);
        }
        qnvme_run(nvme, 1, cmd, NULL);
    }
    assert_works(nvme);
    close_disk(nvme);
}

/* 11: resets with requests out, of the controller, of the machine, of its bus mastering. */
static void put_reads(QNvme *nvme, unsigned count)
{
    NvmeCommand read = { .opcode = NVME_IO_READ, .nsid = 1, .prp1 = nvme->data };
    for (unsigned i = 0; i < count; i++) {
        qnvme_put(nvme, 1, read);
    }
    qnvme_ring(nvme, 1);
}

static void test_controller_reset(void)
{
    QNvme *nvme = open_disk(SLOW_DISK, "");
    for (int i = 0; i < 8; i++) {
        put_reads(nvme, 24);
        if (i & 1) {
            g_usleep(5000 * i);
        }
        qnvme_disable(nvme);
        /* Nothing of the old queues is written any more. */
        uint64_t old = nvme->queues[1].cq;
        qtest_memset(nvme->qts, old, 0x5a, QNVME_DEPTH * 16);
        qnvme_enable(nvme);
        qnvme_make_queue(nvme, 1, QNVME_DEPTH, -1);
        g_usleep(40000);
        g_assert_cmphex(qtest_read(nvme->qts, old + 8, 8), ==, 0x5a5a5a5a5a5a5a5a);
    }
    assert_works(nvme);
    close_disk(nvme);
}

static void test_machine_reset(void)
{
    QNvme *nvme = open_disk(SLOW_DISK, "");
    for (int i = 0; i < 3; i++) {
        put_reads(nvme, 24);
        json_object_put(qtest_qmp_ok(nvme->qts, "{'execute':'system_reset'}"));
        json_object_put(qtest_event(nvme->qts, "RESET"));
        g_free(nvme->pci);
        nvme->pci = qpci_find(nvme->qts, 0x1b36, 0x0010, 0);
        qnvme_enable(nvme);
        qnvme_make_queue(nvme, 1, QNVME_DEPTH, -1);
    }
    assert_works(nvme);
    close_disk(nvme);
}

static void test_queue_deletion(void)
{
    QNvme *nvme = open_disk(SLOW_DISK, "");
    put_reads(nvme, 24);
    g_assert_cmphex(create(nvme, NVME_ADMIN_DELETE_SQ, 1, 0, 0), ==, 0);
    for (int i = 0; i < 24; i++) {
        /* What was taken has completed before the queue went. */
        if (!qnvme_poll(nvme, 1, NULL)) {
            break;
        }
    }
    g_assert_cmphex(create(nvme, NVME_ADMIN_DELETE_CQ, 1, 0, 0), ==, 0);
    qnvme_make_queue(nvme, 1, 8, -1);
    /* A controller reset while a deletion waits. */
    put_reads(nvme, 6);
    qnvme_put(nvme, 0, (NvmeCommand){ .opcode = NVME_ADMIN_DELETE_SQ, .cdw10 = 1 });
    qnvme_ring(nvme, 0);
    qnvme_disable(nvme);
    qnvme_enable(nvme);
    qnvme_make_queue(nvme, 1, 8, -1);
    assert_works(nvme);
    close_disk(nvme);
}

static void test_bus_mastering(void)
{
    QNvme *nvme = open_disk(FAST_DISK, "");
    qpci_config_write(nvme->qts, 0, nvme->pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    put_reads(nvme, 3);
    g_usleep(20000);
    g_assert_false(qnvme_poll(nvme, 1, NULL));
    qpci_config_write(nvme->qts, 0, nvme->pci->devfn, PCI_COMMAND,
                      PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    for (int i = 0; i < 3; i++) {
        g_assert_cmphex(qnvme_wait(nvme, 1, NULL), ==, 0);
    }
    close_disk(nvme);
}

/* 24: CC in every value and order. */
static void test_controller_configuration(void)
{
    QNvme *nvme = open_disk(FAST_DISK, "");
    for (unsigned i = 0; i < 400; i++) {
        qnvme_set_reg(nvme, NVME_REG_AQA, i * 0x00510013);
        qnvme_set_reg(nvme, NVME_REG_CC, i * 0x2545f491);
        qpci_write(nvme->pci, 0, NVME_REG_ASQ + (i & 12), i * 0x1234567, 4);
        qpci_read(nvme->pci, 0, i & ~3u, 4);
    }
    qnvme_disable(nvme);
    qnvme_enable(nvme);
    qnvme_make_queue(nvme, 1, 8, -1);
    assert_works(nvme);
    close_disk(nvme);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nvme/hostile/registers-after-enable", test_registers_after_enable);
    g_test_add_func("/nvme/hostile/same-identifier", test_same_identifier);
    g_test_add_func("/nvme/hostile/completion-queue-full", test_completion_queue_full);
    g_test_add_func("/nvme/hostile/doorbells", test_doorbells);
    g_test_add_func("/nvme/hostile/queue-creation", test_queue_creation);
    g_test_add_func("/nvme/hostile/prp", test_prp);
    g_test_add_func("/nvme/hostile/dma-at-itself", test_dma_at_itself);
    g_test_add_func("/nvme/hostile/ranges", test_ranges);
    g_test_add_func("/nvme/hostile/every-opcode", test_every_opcode);
    g_test_add_func("/nvme/hostile/controller-reset", test_controller_reset);
    g_test_add_func("/nvme/hostile/machine-reset", test_machine_reset);
    g_test_add_func("/nvme/hostile/queue-deletion", test_queue_deletion);
    g_test_add_func("/nvme/hostile/bus-mastering", test_bus_mastering);
    g_test_add_func("/nvme/hostile/controller-configuration", test_controller_configuration);
    return g_test_run();
}
