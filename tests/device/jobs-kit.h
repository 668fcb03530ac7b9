/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device test kit: a machine whose disk is a qcow2 image in a folder of the test's, work on it
 * through virtio-blk with a model of what it holds, jobs' events, and qemu-img as the judge.
 */
#ifndef TESTS_DEVICE_JOBS_KIT_H
#define TESTS_DEVICE_JOBS_KIT_H

#include "tests/device/libqtest.h"

#define STAGE_BYTES (4u << 20)
#define STAGE_PART  65536u /* the most that one request moves */

typedef struct Stage {
    QTest *qts;
    QVirtio *dev;
    QVirtQueue *vq;
    char *folder;
    uint8_t *model; /* of STAGE_BYTES: what the disk holds */
    GRand *rand;
    uint64_t header, data, status; /* guest addresses of the one request */
    GString *last;                 /* data of the last event of each wait, as JSON */
} Stage;

/* The folder, and base.qcow2 with something in it, an empty top.qcow2 over it. False: qemu-img is
 * missing, and the test is skipped. */
bool stage_prepare(Stage *s);
/* The machine, in the folder; more: arguments behind those of the disk "d" on node "top". */
void stage_start(Stage *s, const char *more);
/* The same with a disk of the caller's arguments. */
void stage_start_with(Stage *s, const char *arguments);
void stage_end(Stage *s);    /* quits, judges nothing, removes the folder */
void stage_quit(Stage *s);   /* quits; the images stay to be judged */
void stage_remove(Stage *s); /* after stage_quit() */

/* Random writes and zeroes, and reads that are compared with the model. */
void stage_work(Stage *s, unsigned requests);
/* One write of the whole part at an offset: the device's status byte. */
uint8_t stage_write(Stage *s, uint64_t offset, uint8_t value);

/* A shell command in the folder; it must end with 0. */
void stage_shell(Stage *s, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The image is sound, holds what `expected` (STAGE_BYTES) says, and is a chain of so many. */
void stage_judge(Stage *s, const char *image, const uint8_t *expected, unsigned images);
uint8_t *stage_copy_model(Stage *s); /* g_free */

/* A command that works; the answer is dropped. */
#define stage_qmp(s, ...) json_object_put(qtest_qmp_ok((s)->qts, __VA_ARGS__))
/* The command is refused with this class and text. */
void stage_refused(Stage *s, const char *command, const char *class, const char *text);
/* The next events of jobs are these: states by their names, others as "BLOCK_JOB_READY". */
void stage_expect(Stage *s, const char *words);

#define EVENTS_END "waiting pending BLOCK_JOB_COMPLETED concluded null"
/* Makes an image of that format and opens it as a node of its name. */
void stage_add_target(Stage *s, const char *name, const char *format);

#endif
