/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device test kit: an NVMe driver. */
#include "tests/device/libqtest-nvme.h"

#include <string.h>

#define CC_VALUE (NVME_CC_EN | 6u << 16 | 4u << 20)
#define TRIES    20000

QNvme *qnvme_new(QTest *qts, unsigned n)
{
    QNvme *nvme = g_new0(QNvme, 1);
    nvme->qts = qts;
    nvme->pci = qpci_find(qts, 0x1b36, 0x0010, n);
    g_assert_nonnull(nvme->pci);
    nvme->data = qtest_alloc(qts, 65536, 4096);
    return nvme;
}

void qnvme_free(QNvme *nvme)
{
    g_free(nvme->pci);
    g_free(nvme);
}

uint32_t qnvme_reg(QNvme *nvme, uint32_t offset)
{
    return (uint32_t)qpci_read(nvme->pci, 0, offset, 4);
}

void qnvme_set_reg(QNvme *nvme, uint32_t offset, uint32_t value)
{
    qpci_write(nvme->pci, 0, offset, value, 4);
}

static void queue_memory(QNvme *nvme, unsigned id, unsigned size)
{
    QNvmeQueue *q = &nvme->queues[id];
    *q = (QNvmeQueue){ .sq = qtest_alloc(nvme->qts, size * 64, 4096),
                       .cq = qtest_alloc(nvme->qts, size * 16, 4096),
                       .sq_size = size,
                       .cq_size = size,
                       .phase = true };
    qtest_memset(nvme->qts, q->cq, 0, size * 16);
}

static void wait_ready(QNvme *nvme, bool ready)
{
    for (int i = 0; i < TRIES; i++) {
        if ((qnvme_reg(nvme, NVME_REG_CSTS) & NVME_CSTS_RDY) == ready) {
            return;
        }
        g_usleep(500);
    }
    g_error("CSTS.RDY does not become %d", ready);
}

void qnvme_enable(QNvme *nvme)
{
    queue_memory(nvme, 0, QNVME_DEPTH);
    nvme->shadow = 0;
    qnvme_set_reg(nvme, NVME_REG_AQA, (QNVME_DEPTH - 1) << 16 | (QNVME_DEPTH - 1));
    qpci_write(nvme->pci, 0, NVME_REG_ASQ, nvme->queues[0].sq, 8);
    qpci_write(nvme->pci, 0, NVME_REG_ACQ, nvme->queues[0].cq, 8);
    qnvme_set_reg(nvme, NVME_REG_CC, CC_VALUE);
    wait_ready(nvme, true);
}

void qnvme_disable(QNvme *nvme)
{
    qnvme_set_reg(nvme, NVME_REG_CC, 0);
    wait_ready(nvme, false);
}

void qnvme_make_queue(QNvme *nvme, unsigned id, unsigned size, int vector)
{
    queue_memory(nvme, id, size);
    NvmeCommand cq = { .opcode = NVME_ADMIN_CREATE_CQ,
                       .prp1 = nvme->queues[id].cq,
                       .cdw10 = (size - 1) << 16 | id,
                       .cdw11 = 1 | (vector < 0 ? 0 : 2u | (uint32_t)vector << 16) };
    NvmeCommand sq = { .opcode = NVME_ADMIN_CREATE_SQ,
                       .prp1 = nvme->queues[id].sq,
                       .cdw10 = (size - 1) << 16 | id,
                       .cdw11 = 1 | id << 16 };
    g_assert_cmphex(qnvme_run(nvme, 0, cq, NULL), ==, 0);
    g_assert_cmphex(qnvme_run(nvme, 0, sq, NULL), ==, 0);
}

uint16_t qnvme_put(QNvme *nvme, unsigned id, NvmeCommand cmd)
{
    QNvmeQueue *q = &nvme->queues[id];
    cmd.cid = nvme->next_cid++;
    qtest_memwrite(nvme->qts, q->sq + q->tail * 64, &cmd, sizeof(cmd));
    q->tail = (q->tail + 1) % q->sq_size;
    return cmd.cid;
}

void qnvme_ring(QNvme *nvme, unsigned id)
{
    if (nvme->shadow && id) {
        qtest_write(nvme->qts, nvme->shadow + id * 8, nvme->queues[id].tail, 4);
    }
    qnvme_set_reg(nvme, NVME_REG_DOORBELLS + 8 * id, nvme->queues[id].tail);
}

bool qnvme_poll(QNvme *nvme, unsigned id, NvmeCompletion *entry)
{
    QNvmeQueue *q = &nvme->queues[id];
    NvmeCompletion local;
    entry = entry ? entry : &local;
    qtest_memread(nvme->qts, q->cq + q->head * 16, entry, sizeof(*entry));
    if ((entry->status & 1) != q->phase) {
        return false;
    }
    g_assert_cmpuint(entry->sq_id, ==, id);
    g_assert_cmpuint(entry->sq_head, <, q->sq_size);
    q->head++;
    if (q->head == q->cq_size) {
        q->head = 0;
        q->phase = !q->phase;
    }
    if (nvme->shadow && id) {
        qtest_write(nvme->qts, nvme->shadow + id * 8 + 4, q->head, 4);
    }
    qnvme_set_reg(nvme, NVME_REG_DOORBELLS + 8 * id + 4, q->head);
    return true;
}

uint16_t qnvme_wait(QNvme *nvme, unsigned id, NvmeCompletion *entry)
{
    NvmeCompletion local;
    entry = entry ? entry : &local;
    for (int i = 0; i < TRIES; i++) {
        if (qnvme_poll(nvme, id, entry)) {
            return entry->status >> 1;
        }
        g_usleep(500);
    }
    g_error("queue %u: no completion", id);
}

uint16_t qnvme_run(QNvme *nvme, unsigned id, NvmeCommand cmd, uint32_t *result)
{
    NvmeCompletion entry;
    if (!cmd.prp1 && !cmd.prp2) {
        cmd.prp1 = nvme->data;
        cmd.prp2 = nvme->data + 4096;
    }
    uint16_t cid = qnvme_put(nvme, id, cmd);
    qnvme_ring(nvme, id);
    uint16_t status = qnvme_wait(nvme, id, &entry);
    g_assert_cmpuint(entry.cid, ==, cid);
    if (result) {
        *result = entry.dw0;
    }
    return status;
}

uint16_t qnvme_rw(QNvme *nvme, uint8_t opcode, uint64_t slba, unsigned blocks)
{
    NvmeCommand cmd = { .opcode = opcode,
                        .nsid = 1,
                        .cdw10 = (uint32_t)slba,
                        .cdw11 = (uint32_t)(slba >> 32),
                        .cdw12 = blocks - 1 };
    return qnvme_run(nvme, 1, cmd, NULL);
}

uint16_t qnvme_identify(QNvme *nvme, uint8_t cns, uint32_t nsid)
{
    NvmeCommand cmd = { .opcode = NVME_ADMIN_IDENTIFY, .nsid = nsid, .cdw10 = cns };
    qtest_memset(nvme->qts, nvme->data, 0xee, 4096);
    return qnvme_run(nvme, 0, cmd, NULL);
}

uint16_t qnvme_feature(QNvme *nvme, uint8_t opcode, uint8_t id, uint32_t value, uint32_t *result)
{
    NvmeCommand cmd = { .opcode = opcode, .nsid = 1, .cdw10 = id, .cdw11 = value };
    return qnvme_run(nvme, 0, cmd, result);
}
