/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small frames for a tap, collected over a round of the loop and written with one system call: a
 * write(2) for each costs half as much again as handing the kernel sixty in an io_uring. All
 * functions: one thread at a time.
 */
#ifndef NET_TAP_BATCH_H
#define NET_TAP_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define TAP_BATCH_FRAMES    64
#define TAP_BATCH_FRAME_MAX 1600 /* longer frames are written by themselves */

typedef struct TapBatch TapBatch;

/* use_ring false: always write(2). The fd is non-blocking and stays the caller's. */
TapBatch *tap_batch_new(int fd, bool use_ring);
void tap_batch_free(TapBatch *batch);

/* Copies a frame of at most TAP_BATCH_FRAME_MAX bytes. The batch must not be full. */
void tap_batch_add(TapBatch *batch, const struct iovec *iov, int iov_count);
bool tap_batch_full(const TapBatch *batch);
bool tap_batch_empty(const TapBatch *batch);

void tap_batch_drop(TapBatch *batch); /* forgets what is there */

/* Writes what is there. False: the kernel's queue is full, the rest stays in the batch. A frame
 * that the kernel refuses is dropped. */
bool tap_batch_flush(TapBatch *batch);

#endif
