/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device test kit: an NVMe driver with an admin queue and I/O queues in guest memory. */
#ifndef TESTS_DEVICE_LIBQTEST_NVME_H
#define TESTS_DEVICE_LIBQTEST_NVME_H

#include "hw/nvme/spec.h"
#include "tests/device/libqtest.h"

#define QNVME_DEPTH  32
#define QNVME_QUEUES 4
#define QNVME_DNR    0x4000

typedef struct QNvmeQueue {
    uint64_t sq, cq;
    unsigned sq_size, cq_size, tail, head;
    bool phase;
} QNvmeQueue;

typedef struct QNvme {
    QTest *qts;
    QPci *pci;
    QNvmeQueue queues[QNVME_QUEUES];
    uint64_t data; /* 64 KiB, at a page */
    uint64_t shadow;
    uint16_t next_cid;
} QNvme;

/* The n-th controller, reset. */
QNvme *qnvme_new(QTest *qts, unsigned n);
void qnvme_free(QNvme *nvme);
uint32_t qnvme_reg(QNvme *nvme, uint32_t offset);
void qnvme_set_reg(QNvme *nvme, uint32_t offset, uint32_t value);
/* CC.EN and the wait for CSTS.RDY; the admin queue is made. */
void qnvme_enable(QNvme *nvme);
void qnvme_disable(QNvme *nvme);
/* Creates completion and submission queue `id`; vector < 0: no interrupts. */
void qnvme_make_queue(QNvme *nvme, unsigned id, unsigned size, int vector);
/* Writes the command behind the tail without ringing; its cid. */
uint16_t qnvme_put(QNvme *nvme, unsigned id, NvmeCommand cmd);
void qnvme_ring(QNvme *nvme, unsigned id);
/* Whether a completion has come; it is taken and the head doorbell rung. */
bool qnvme_poll(QNvme *nvme, unsigned id, NvmeCompletion *entry);
/* Waits for the next completion: its status without the phase. */
uint16_t qnvme_wait(QNvme *nvme, unsigned id, NvmeCompletion *entry);
/* All of these: the status. PRP1 and PRP2 point to nvme->data and the page behind when both are 0.
 */
uint16_t qnvme_run(QNvme *nvme, unsigned id, NvmeCommand cmd, uint32_t *result);
uint16_t qnvme_rw(QNvme *nvme, uint8_t opcode, uint64_t slba, unsigned blocks);
uint16_t qnvme_identify(QNvme *nvme, uint8_t cns, uint32_t nsid);
uint16_t qnvme_feature(QNvme *nvme, uint8_t opcode, uint8_t id, uint32_t value, uint32_t *result);

#endif
