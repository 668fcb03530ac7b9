/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SCSI commands over virtio-scsi, for the tests of the adapter and of its units. */
#ifndef TESTS_DEVICE_SCSI_KIT_H
#define TESTS_DEVICE_SCSI_KIT_H

#include "tests/device/libqtest.h"

#define DISK_BYTES  (4 << 20)
#define CMD_HEADER  51 /* lun, tag, attributes, 32 bytes of CDB */
#define RESP_HEADER 108
#define F_V1        (1ULL << 32)
#define F_HOTPLUG   (1ULL << 1)
#define F_CHANGE    (1ULL << 2)
#define NEEDS_RESET 0x40
#define CDB(...)    ((const uint8_t[32]){ __VA_ARGS__ })

enum {
    S_OK = 0,
    S_OVERRUN = 1,
    S_BAD_TARGET = 3,
    S_FAILURE = 9,
    S_SUCCEEDED = 10,
    S_REJECTED = 11
};
enum { GOOD = 0, CHECK = 2 };
enum { CFG_NUM_QUEUES = 0, CFG_SENSE_SIZE = 20, CFG_CDB_SIZE = 24, CFG_MAX_LUN = 32 };

typedef struct Hba {
    char *path, *path2;
    QTest *qts;
    QVirtio *dev;
    QVirtQueue *control, *event, *request;
    uint64_t header, response, data, control_data;
    uint64_t features;
    /* of the last command */
    uint8_t reply, status, sense[18];
    uint32_t residual;
} Hba;

/* A file with a pattern, DISK_BYTES of it, of this length; the caller frees and removes. */
char *scsi_make_file(uint64_t bytes);
/* An adapter, a disk at target 0 and what `more` says, where "@" is a second file. */
void hba_open(Hba *h, const char *drive, const char *hd, const char *more);
/* The same with an attention that is told already, and no more. */
void hd_open(Hba *h, const char *drive, const char *hd);
void hba_find(Hba *h);    /* for a machine that the test started */
void hba_restart(Hba *h); /* reset, features, queues */
void hba_close(Hba *h);
/* A command in a slot's memory; made available; what came back. */
void put_command(Hba *h, unsigned slot, unsigned target, unsigned lun, const uint8_t *cdb,
                 uint64_t tag);
void add_command(Hba *h, unsigned slot, uint32_t in, uint32_t out);
void read_response(Hba *h, unsigned slot);
/* All of it, with data at h->data: the status. */
uint8_t command_at(Hba *h, unsigned target, unsigned lun, const uint8_t *cdb, uint32_t in,
                   uint32_t out);
uint8_t command(Hba *h, const uint8_t *cdb, uint32_t in, uint32_t out);
void clear_attention(Hba *h, unsigned target); /* the one that follows power-on */
void get_data(Hba *h, void *data, uint32_t len);

#define assert_sense(h, key, asc, ascq)                                                            \
    do {                                                                                           \
        g_assert_cmpuint((h)->reply, ==, S_OK);                                                    \
        g_assert_cmpuint((h)->status, ==, CHECK);                                                  \
        g_assert_cmphex((h)->sense[2] << 16 | (h)->sense[12] << 8 | (h)->sense[13], ==,            \
                        (key) << 16 | (asc) << 8 | (ascq));                                        \
    } while (0)

#endif
