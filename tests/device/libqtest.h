/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device test kit: a real `vireo -accel qtest` process with its qtest and QMP sockets, typed
 * helpers over them, PCI functions found and set up as firmware would, and virtqueues, split and
 * packed, built in guest memory. A failure of the process or the protocol fails the test.
 */
#ifndef TESTS_DEVICE_LIBQTEST_H
#define TESTS_DEVICE_LIBQTEST_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#define QTEST_IRQS       256
#define QTEST_TIMEOUT_MS 20000 /* of any wait: a limit for hung programs, not a measure */

typedef struct QTest {
    GPid pid;
    char *dir; /* of the sockets */
    int qtest_fd, qmp_fd;
    GString *qtest_in, *qmp_in;
    json_tokener *tokener;
    GQueue events; /* json_object * that came between answers */
    bool irq[QTEST_IRQS];
    unsigned irq_raised[QTEST_IRQS]; /* times */
    bool exited;
    int status;
    uint64_t heap; /* next free guest address of qtest_alloc() */
} QTest;

/* ---- The process ---- */
/* Arguments of the command line behind "-accel qtest -nodefaults -display none", as for a shell. */
QTest *qtest_start(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* The same without -nodefaults; serial port and monitor lead nowhere. */
QTest *qtest_start_with_defaults(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* Quits over QMP and expects exit status 0. */
void qtest_stop(QTest *qts);
/* Waits for the process to end by itself: its exit status, or 128 + the signal. */
int qtest_wait_exit(QTest *qts);
void qtest_free(QTest *qts); /* after qtest_wait_exit() */
/* Runs a command line that must fail: its standard error; *status is the exit status. */
char *qtest_run_failing(int *status, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The command line ends with status 1 and one line on standard error that contains the text. */
void qtest_assert_refused(const char *line, const char *says);

/* ---- The qtest protocol ---- */
/* Sends a line, returns the words behind OK; the caller frees. */
char *qtest_command(QTest *qts, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Sends a line, returns the whole answer, whatever it is. */
char *qtest_raw(QTest *qts, const char *line);
uint8_t qtest_inb(QTest *qts, uint16_t port);
uint16_t qtest_inw(QTest *qts, uint16_t port);
uint32_t qtest_inl(QTest *qts, uint16_t port);
void qtest_outb(QTest *qts, uint16_t port, uint8_t value);
void qtest_outw(QTest *qts, uint16_t port, uint16_t value);
void qtest_outl(QTest *qts, uint16_t port, uint32_t value);
uint64_t qtest_read(QTest *qts, uint64_t addr, unsigned size); /* 1, 2, 4, 8 */
void qtest_write(QTest *qts, uint64_t addr, uint64_t value, unsigned size);
void qtest_memread(QTest *qts, uint64_t addr, void *data, size_t len);
void qtest_memwrite(QTest *qts, uint64_t addr, const void *data, size_t len);
void qtest_memset(QTest *qts, uint64_t addr, uint8_t value, size_t len);
int64_t qtest_clock_step(QTest *qts, int64_t ns);
int64_t qtest_clock_step_next(QTest *qts);
void qtest_intercept(QTest *qts); /* the I/O APIC's inputs, into qts->irq */
/* Waits until the line has the level. */
void qtest_wait_irq(QTest *qts, unsigned gsi, bool level);
/* Bytes of guest memory that nobody else uses, aligned. */
uint64_t qtest_alloc(QTest *qts, uint64_t size, uint64_t align);

/* ---- QMP ---- */
/* The whole response ("return" or "error"); the request in single quotes is fine. */
json_object *qtest_qmp(QTest *qts, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The "return" of a command that must work. */
json_object *qtest_qmp_ok(QTest *qts, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The "desc" of a command that must fail; the caller frees. */
char *qtest_qmp_error(QTest *qts, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Waits for an event; the caller puts it. */
json_object *qtest_event(QTest *qts, const char *name);
json_object *qtest_next_event(QTest *qts); /* whatever it is */
char *qtest_hmp(QTest *qts, const char *line);
/* "a.b.c" in object; NULL when not there. */
json_object *json_at(json_object *object, const char *path);
const char *json_text(json_object *object, const char *path);

/* ---- PCI ---- */
typedef struct QPci {
    QTest *qts;
    uint8_t bus, devfn;
    uint64_t bar[6]; /* addresses given by qpci_enable() */
    uint64_t bar_size[6];
    bool bar_io[6];
} QPci;

uint32_t qpci_config_read(QTest *qts, uint8_t bus, uint8_t devfn, uint16_t reg, unsigned size);
void qpci_config_write(QTest *qts, uint8_t bus, uint8_t devfn, uint16_t reg, uint32_t value,
                       unsigned size);
/* The function at a slot of bus 0; fails the test when there is none. BARs get addresses, decoding
 * and bus mastering are enabled. */
QPci *qpci_open(QTest *qts, uint8_t devfn);
/* The n-th function with that vendor and device id on bus 0; NULL when there is none. */
QPci *qpci_find(QTest *qts, uint16_t vendor, uint16_t device, unsigned n);
uint8_t qpci_find_capability(QPci *pci, uint8_t id, uint8_t after); /* 0: none */
uint64_t qpci_read(QPci *pci, unsigned bar, uint64_t offset, unsigned size);
void qpci_write(QPci *pci, unsigned bar, uint64_t offset, uint64_t value, unsigned size);
/* Enables MSI-X and aims vector at a word of guest memory, which gets `data` when it is sent. */
uint64_t qpci_msix_aim(QPci *pci, unsigned vector, uint32_t data);

/* ---- virtio over PCI, modern ---- */
typedef struct QVirtio {
    QPci *pci;
    QTest *qts;
    struct {
        unsigned bar;
        uint64_t offset;
    } common, notify, isr, config;
    uint32_t notify_multiplier;
    uint64_t features; /* agreed */
} QVirtio;

typedef struct QBuffer {
    uint64_t addr;
    uint32_t len;
    bool write; /* by the device */
} QBuffer;

typedef struct QVirtQueue {
    QVirtio *dev;
    unsigned index;
    uint16_t num;
    bool packed, event_index, indirect;
    uint64_t desc, driver, device; /* areas */
    uint16_t next_desc, avail_idx, used_idx;
    bool avail_wrap, used_wrap;
    uint16_t notify_offset;
    uint16_t chain_len[1024]; /* by head or id */
} QVirtQueue;

QVirtio *qvirtio_new(QPci *pci);
void qvirtio_free(QVirtio *dev); /* with its QPci */
void qvirtio_reset(QVirtio *dev);
/* ACKNOWLEDGE, DRIVER, features (those offered and wanted), FEATURES_OK. */
void qvirtio_negotiate(QVirtio *dev, uint64_t wanted);
void qvirtio_driver_ok(QVirtio *dev);
uint8_t qvirtio_status(QVirtio *dev);
uint64_t qvirtio_config(QVirtio *dev, uint64_t offset, unsigned size);
/* Sets a queue up (packed when VIRTIO_F_RING_PACKED was agreed) and enables it; msix_vector 0xffff:
 * none. Before driver_ok. */
QVirtQueue *qvirtqueue_new(QVirtio *dev, unsigned index, uint16_t num, uint16_t msix_vector);
void qvirtqueue_free(QVirtQueue *vq);
/* Makes a chain available without a notification; its head or id. */
uint16_t qvirtqueue_add(QVirtQueue *vq, const QBuffer *buffers, unsigned count);
void qvirtqueue_kick(QVirtQueue *vq);
/* Takes a used chain if there is one. */
bool qvirtqueue_used(QVirtQueue *vq, uint16_t *id, uint32_t *len);
/* Waits for the next used chain: its written length. */
uint32_t qvirtqueue_wait(QVirtQueue *vq, uint16_t *id);

#endif
