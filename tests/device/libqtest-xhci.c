/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An xHCI driver for tests. */
#include "tests/device/libqtest-xhci.h"

#include <string.h>
#include "vmm/util/bytes.h"

#define OPER      0x40
#define PORTS     0x440
#define INTR0     0x1020
#define DOORBELLS 0x2000
#define POLLS     20000 /* of 1 ms: a limit for hung programs */
#define EVENTS    256
#define TAG       0x12345678

uint32_t qxhci_oper(QXhci *x, unsigned reg)
{
    return qpci_read(x->pci, 0, OPER + reg, 4);
}

void qxhci_set_oper(QXhci *x, unsigned reg, uint32_t value)
{
    qpci_write(x->pci, 0, OPER + reg, value, 4);
}

uint32_t qxhci_portsc(QXhci *x, unsigned port)
{
    return qpci_read(x->pci, 0, PORTS + 16 * (port - 1), 4);
}

QXhciRing qxhci_ring_new(QXhci *x)
{
    return (QXhciRing){ .addr = qtest_alloc(x->qts, 16 * QXHCI_RING, 64), .cycle = true };
}

static void write_trb(QXhci *x, uint64_t addr, const QXhciTrb *trb)
{
    uint8_t raw[16];
    store_le64(raw, trb->parameter);
    store_le32(raw + 8, trb->status);
    store_le32(raw + 12, trb->control);
    qtest_memwrite(x->qts, addr, raw, sizeof(raw));
}

void qxhci_put(QXhci *x, QXhciRing *ring, uint64_t parameter, uint32_t status, uint32_t control)
{
    QXhciTrb trb = { parameter, status, control | ring->cycle };
    write_trb(x, ring->addr + 16 * ring->next, &trb);
    if (++ring->next == QXHCI_RING - 1) {
        QXhciTrb link = { ring->addr, 0,
                          XTRB_LINK << XTRB_TYPE | 2 | (control & XTRB_CHAIN) | ring->cycle };
        write_trb(x, ring->addr + 16 * ring->next, &link);
        ring->next = 0;
        ring->cycle = !ring->cycle;
    }
}

void qxhci_doorbell(QXhci *x, unsigned slot, unsigned target)
{
    qpci_write(x->pci, 0, DOORBELLS + 4 * slot, target, 4);
}

bool qxhci_poll_event(QXhci *x, QXhciTrb *event)
{
    uint8_t raw[16];
    QXhciRing *ring = &x->events;
    qtest_memread(x->qts, ring->addr + 16 * ring->next, raw, sizeof(raw));
    *event = (QXhciTrb){ load_le64(raw), load_le32(raw + 8), load_le32(raw + 12) };
    if ((event->control & 1) != ring->cycle) {
        return false;
    }
    if (++ring->next == EVENTS) {
        ring->next = 0;
        ring->cycle = !ring->cycle;
    }
    qpci_write(x->pci, 0, INTR0 + 0x18, (ring->addr + 16 * ring->next) | 8, 4);
    qpci_write(x->pci, 0, INTR0 + 0x1c, 0, 4);
    return true;
}

QXhciTrb qxhci_event(QXhci *x, unsigned type)
{
    for (unsigned i = 0; i < POLLS; i++) {
        QXhciTrb event;
        if (!qxhci_poll_event(x, &event)) {
            g_usleep(i < 100 ? 50 : 1000);
            continue;
        }
        unsigned got = event.control >> XTRB_TYPE & 0x3f;
        if (got == type) {
            return event;
        }
        g_assert_cmpuint(got, ==, XEV_PORT);
    }
    g_error("no event of type %u came", type);
}

void qxhci_start(QXhci *x)
{
    uint8_t segment[16] = { 0 };
    qxhci_set_oper(x, 0, 2);
    for (unsigned i = 0; qxhci_oper(x, 0) & 2; i++) {
        g_assert_cmpuint(i, <, POLLS);
        g_usleep(100);
    }
    memset(x->rings, 0, sizeof(x->rings));
    x->commands = qxhci_ring_new(x);
    x->events = (QXhciRing){ .addr = qtest_alloc(x->qts, 16 * EVENTS, 64), .cycle = true };
    x->dcbaa = qtest_alloc(x->qts, 8 * 65, 64);
    qtest_memset(x->qts, x->dcbaa, 0, 8 * 65);
    qtest_memset(x->qts, x->events.addr, 0, 16 * EVENTS);
    uint64_t table = qtest_alloc(x->qts, 16, 64);
    store_le64(segment, x->events.addr);
    store_le32(segment + 8, EVENTS);
    qtest_memwrite(x->qts, table, segment, sizeof(segment));
    qxhci_set_oper(x, 0x38, 64);
    qxhci_set_oper(x, 0x30, x->dcbaa);
    qxhci_set_oper(x, 0x34, 0);
    qxhci_set_oper(x, 0x18, x->commands.addr | 1);
    qxhci_set_oper(x, 0x1c, 0);
    qpci_write(x->pci, 0, INTR0 + 0x08, 1, 4);
    qpci_write(x->pci, 0, INTR0 + 0x18, x->events.addr, 4);
    qpci_write(x->pci, 0, INTR0 + 0x1c, 0, 4);
    qpci_write(x->pci, 0, INTR0 + 0x10, table, 4);
    qpci_write(x->pci, 0, INTR0 + 0x14, 0, 4);
    qpci_write(x->pci, 0, INTR0 + 0x04, 0, 4);
    qpci_write(x->pci, 0, INTR0, 2, 4);
    qxhci_set_oper(x, 0, 1 | 4);
    g_assert_cmphex(qxhci_oper(x, 4) & 1, ==, 0);
}

QXhci *qxhci_new(QTest *qts)
{
    QXhci *x = g_new0(QXhci, 1);
    x->qts = qts;
    x->pci = qpci_find(qts, 0x1b36, 0x000d, 0);
    g_assert_nonnull(x->pci);
    x->ports = qpci_read(x->pci, 0, 4, 4) >> 24;
    x->input = qtest_alloc(qts, 33 * 32, 64);
    x->buffer = qtest_alloc(qts, 1 << 20, 4096);
    qxhci_start(x);
    return x;
}

void qxhci_free(QXhci *x)
{
    g_free(x->pci);
    qtest_stop(x->qts);
    g_free(x);
}

void qxhci_reset_port(QXhci *x, unsigned port)
{
    uint64_t reg = PORTS + 16 * (port - 1);
    qpci_write(x->pci, 0, reg, 0x10 | 1 << 9, 4);
    for (unsigned i = 0; !(qxhci_portsc(x, port) & 1 << 21); i++) {
        g_assert_cmpuint(i, <, POLLS);
        g_usleep(100);
    }
    qpci_write(x->pci, 0, reg, 1 << 9 | 0x7f << 17, 4);
    g_assert_cmphex(qxhci_portsc(x, port) & 0x13, ==, 3); /* enabled, not in reset */
}

unsigned qxhci_command(QXhci *x, unsigned type, uint64_t parameter, uint32_t flags, unsigned *slot)
{
    uint64_t addr = x->commands.addr + 16 * x->commands.next;
    qxhci_put(x, &x->commands, parameter, 0, type << XTRB_TYPE | flags | (slot ? *slot << 24 : 0));
    qxhci_doorbell(x, 0, 0);
    QXhciTrb event = qxhci_event(x, XEV_COMMAND);
    g_assert_cmphex(event.parameter, ==, addr);
    if (slot) {
        *slot = event.control >> 24;
    }
    return qxhci_code(&event);
}

static void put_context(QXhci *x, unsigned index, const uint32_t *words)
{
    uint8_t raw[32] = { 0 };
    for (unsigned i = 0; i < 5; i++) {
        store_le32(raw + 4 * i, words[i]);
    }
    qtest_memwrite(x->qts, x->input + 32 * index, raw, sizeof(raw));
}

static void put_endpoint(QXhci *x, unsigned slot, unsigned epid, unsigned type, unsigned packet)
{
    x->rings[slot][epid] = qxhci_ring_new(x);
    qtest_memset(x->qts, x->rings[slot][epid].addr, 0, 16 * QXHCI_RING);
    uint32_t words[5] = { 0, packet << 16 | type << 3 | 3 << 1,
                          (uint32_t)x->rings[slot][epid].addr | 1, 0, packet };
    put_context(x, epid + 1, words);
}

unsigned qxhci_address(QXhci *x, unsigned slot, unsigned port, uint32_t route, bool block)
{
    uint8_t entry[8];
    uint32_t control[5] = { 0, 3 }, context[5] = { 1 << 27 | route, port << 16 };
    if (!x->contexts[slot]) {
        x->contexts[slot] = qtest_alloc(x->qts, 1024, 64);
    }
    store_le64(entry, x->contexts[slot]);
    qtest_memset(x->qts, x->contexts[slot], 0, 1024);
    qtest_memwrite(x->qts, x->dcbaa + 8 * slot, entry, 8);
    put_context(x, 0, control);
    put_context(x, 1, context);
    put_endpoint(x, slot, 1, 4, 64);
    return qxhci_command(x, XCMD_ADDRESS, x->input, block ? 1 << 9 : 0, &slot);
}

unsigned qxhci_attach(QXhci *x, unsigned port, uint32_t route)
{
    unsigned slot = 0;
    g_assert_cmpuint(qxhci_command(x, XCMD_ENABLE, 0, 0, &slot), ==, XCC_SUCCESS);
    g_assert_cmpuint(qxhci_address(x, slot, port, route, false), ==, XCC_SUCCESS);
    return slot;
}

unsigned qxhci_configure(QXhci *x, unsigned slot, uint32_t add, const uint8_t *types)
{
    uint32_t control[5] = { 0, add | 1 }, context[5] = { 31U << 27 };
    put_context(x, 0, control);
    put_context(x, 1, context);
    for (unsigned epid = 2; epid < 32; epid++) {
        if (add & 1U << epid) {
            put_endpoint(x, slot, epid, *types++, 512);
        }
    }
    return qxhci_command(x, XCMD_CONFIGURE, x->input, 0, &slot);
}

unsigned qxhci_control(QXhci *x, unsigned slot, uint8_t type, uint8_t request, uint16_t value,
                       uint16_t index, uint16_t length, void *data, unsigned *moved)
{
    QXhciRing *ring = &x->rings[slot][1];
    bool in = type & 0x80;
    uint64_t setup = type | request << 8 | (uint64_t)value << 16 | (uint64_t)index << 32 |
                     (uint64_t)length << 48;
    unsigned rest = length;
    if (!in && length) {
        qtest_memwrite(x->qts, x->buffer, data, length);
    }
    qxhci_put(x, ring, setup, 8, XTRB_SETUP << XTRB_TYPE | XTRB_IDT | (length ? 2 + in : 0) << 16);
    if (length) { /* the event data TRB tells how much came */
        qxhci_put(x, ring, x->buffer, length,
                  XTRB_DATA << XTRB_TYPE | XTRB_CHAIN | (in ? XTRB_IN : 0));
        qxhci_put(x, ring, TAG, 0, XTRB_EVENT_DATA << XTRB_TYPE | XTRB_IOC);
    }
    qxhci_put(x, ring, 0, 0, XTRB_STATUS << XTRB_TYPE | XTRB_IOC | (in ? 0 : XTRB_IN));
    qxhci_doorbell(x, slot, 1);
    QXhciTrb event = qxhci_event(x, XEV_TRANSFER);
    if (length && (event.control & 4)) {
        g_assert_cmphex(event.parameter, ==, TAG);
        rest = length - (event.status & 0xffffff);
        event = qxhci_event(x, XEV_TRANSFER);
    }
    if (moved) {
        *moved = length - rest;
    }
    if (in && length > rest) {
        qtest_memread(x->qts, x->buffer, data, length - rest);
    }
    return qxhci_code(&event);
}

unsigned qxhci_transfer(QXhci *x, unsigned slot, unsigned epid, uint64_t addr, uint32_t length,
                        uint32_t *rest)
{
    QXhciRing *ring = &x->rings[slot][epid];
    uint64_t at = ring->addr + 16 * ring->next;
    qxhci_put(x, ring, addr, length, XTRB_NORMAL << XTRB_TYPE | XTRB_IOC | XTRB_ISP);
    qxhci_doorbell(x, slot, epid);
    QXhciTrb event = qxhci_event(x, XEV_TRANSFER);
    g_assert_cmphex(event.parameter, ==, at);
    g_assert_cmpuint(event.control >> 24, ==, slot);
    g_assert_cmpuint(event.control >> 16 & 0x1f, ==, epid);
    if (rest) {
        *rest = event.status & 0xffffff;
    }
    return qxhci_code(&event);
}

uint32_t qxhci_context(QXhci *x, unsigned slot, unsigned index, unsigned word)
{
    return qtest_read(x->qts, x->contexts[slot] + 32 * index + 4 * word, 4);
}

/* ---- Mass storage ---- */

unsigned qbot_open(QXhci *x, unsigned port, uint32_t route)
{
    static const uint8_t types[] = { 6, 2 };
    unsigned slot = qxhci_attach(x, port, route);
    g_assert_cmpuint(qxhci_configure(x, slot, 1 << QBOT_IN | 1 << QBOT_OUT, types), ==,
                     XCC_SUCCESS);
    g_assert_cmpuint(qxhci_control(x, slot, 0, 9, 1, 0, 0, NULL, NULL), ==, XCC_SUCCESS);
    return slot;
}

void qbot_command(QXhci *x, unsigned slot, uint32_t tag, const uint8_t *cdb, unsigned cdb_len,
                  uint32_t length, bool in)
{
    uint8_t cbw[31] = { 0 };
    uint64_t addr = qtest_alloc(x->qts, 32, 32);
    store_le32(cbw, 0x43425355);
    store_le32(cbw + 4, tag);
    store_le32(cbw + 8, length);
    cbw[12] = in ? 0x80 : 0;
    cbw[14] = cdb_len;
    memcpy(cbw + 15, cdb, cdb_len);
    qtest_memwrite(x->qts, addr, cbw, sizeof(cbw));
    g_assert_cmpuint(qxhci_transfer(x, slot, QBOT_OUT, addr, sizeof(cbw), NULL), ==, XCC_SUCCESS);
}

unsigned qbot_status(QXhci *x, unsigned slot, uint32_t tag, uint32_t *residue)
{
    uint8_t csw[13];
    uint64_t addr = qtest_alloc(x->qts, 16, 16);
    g_assert_cmpuint(qxhci_transfer(x, slot, QBOT_IN, addr, sizeof(csw), NULL), ==, XCC_SUCCESS);
    qtest_memread(x->qts, addr, csw, sizeof(csw));
    g_assert_cmphex(load_le32(csw), ==, 0x53425355);
    g_assert_cmphex(load_le32(csw + 4), ==, tag);
    if (residue) {
        *residue = load_le32(csw + 8);
    }
    return csw[12];
}

unsigned qbot_run(QXhci *x, unsigned slot, const uint8_t *cdb, unsigned cdb_len, uint32_t length,
                  bool in, uint32_t *residue)
{
    qbot_command(x, slot, TAG, cdb, cdb_len, length, in);
    if (length) {
        g_assert_cmpuint(qxhci_transfer(x, slot, in ? QBOT_IN : QBOT_OUT, x->buffer, length, NULL),
                         ==, XCC_SUCCESS);
    }
    return qbot_status(x, slot, TAG, residue);
}

unsigned qbot_rw(QXhci *x, unsigned slot, uint32_t lba, uint16_t blocks, bool write)
{
    uint8_t cdb[10] = { write ? 0x2a : 0x28 };
    store_be32(cdb + 2, lba);
    store_be16(cdb + 7, blocks);
    return qbot_run(x, slot, cdb, sizeof(cdb), blocks * 512, !write, NULL);
}

void qbot_ready(QXhci *x, unsigned slot)
{
    static const uint8_t test_unit_ready[6] = { 0 };
    for (unsigned i = 0; i < 5; i++) {
        if (qbot_run(x, slot, test_unit_ready, 6, 0, false, NULL) == 0) {
            return;
        }
    }
    g_error("the unit does not become ready");
}
