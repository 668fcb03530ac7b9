/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An NVM Express 1.4 controller: between its files.
 *
 * All queues belong to one event loop. A vCPU that rings stores the value into the doorbell's word
 * and wakes the loop, if it sleeps; with shadow doorbells it does not leave the kernel. The loop
 * fetches commands, submits them to the block layer and publishes what completed in a round with
 * one interrupt for each completion queue. No lock is taken on that way.
 *
 * What is marked "loop" belongs to the loop's thread; main thread and vCPUs reach it by
 * event_loop_call(). The loop takes no lock that is held around such a call. Lock order: topology,
 * device, intx_lock.
 */
#ifndef HW_NVME_NVME_H
#define HW_NVME_NVME_H

#include "hw/disk_conf.h"
#include "hw/nvme/spec.h"
#include "hw/pci/pci.h"

#define NVME_MAX_NAMESPACES 256
#define NVME_MAX_QUEUE_SIZE 2048
#define NVME_MAX_IOV        1024 /* of one command */
#define NVME_INLINE_IOV     4
#define NVME_MAX_VECTORS    2048
#define NVME_MAX_EVENTS     256 /* aerl + 1 */
#define NVME_ERROR_ENTRIES  16
#define NVME_TEMPERATURE    0x143 /* kelvin, always */
#define NVME_PAGE           4096

typedef struct NvmeCtrl NvmeCtrl;
typedef struct NvmeSq NvmeSq;
typedef struct NvmeCq NvmeCq;
typedef struct NvmeRequest NvmeRequest;

typedef struct NvmeNamespace {
    NvmeCtrl *ctrl;
    uint32_t nsid;
    DiskConf disk;
    char *uuid_text;
    uint8_t uuid[16];
    bool has_uuid;
    uint64_t eui64;
    /* loop */
    uint8_t lba_shift;
    bool formatting;
    uint16_t error_recovery; /* TLER */
    BlockRequest flush;      /* of a shutdown */
    bool flushing;
} NvmeNamespace;

typedef struct NvmeDoorbell {
    LoopTask task;
    NvmeCtrl *ctrl;
    unsigned index; /* twice the queue's id, one more for a completion queue */
    uint32_t value; /* atomic: as written last */
    bool live;      /* atomic: the queue is there */
    bool waiting;   /* atomic; completion queues: the loop wants to hear of a write */
    /* Shadow doorbells of submission queues: main thread and holders of topology and device lock
     * bind, the loop watches. */
    EventNotifier kick;
    FdWatch watch;
    bool bound, watched;
} NvmeDoorbell;

struct NvmeRequest {
    BlockRequest block;
    NvmeCommand cmd;
    NvmeSq *sq;
    NvmeNamespace *ns;
    NvmeRequest *next; /* free, waiting for room in the completion queue, or for an event */
    uint16_t status;
    uint16_t slot;
    uint32_t result; /* dword 0 of the completion */
    bool busy;       /* taken from the pool */
    bool to_guest;   /* the data goes to guest memory */
    unsigned iov_count;
    struct iovec *iov; /* inline_iov, or the slot's long array */
    uint64_t bytes;
    /* Commands of several steps. */
    uint64_t position, end; /* bytes of the namespace */
    uint32_t step;
    uint8_t *buffer;
    struct iovec step_iov;
    struct iovec inline_iov[NVME_INLINE_IOV];
};

struct NvmeSq {
    NvmeCtrl *ctrl;
    NvmeCq *cq;
    uint16_t id;
    uint32_t size, head;
    uint64_t address;
    const uint8_t *ring;
    NvmeDoorbell *doorbell;
    uint32_t *shadow_tail, *event_index; /* NULL: doorbells only */
    bool bad_tail;                       /* reported */
    bool starved;                        /* waits for a free request */
    unsigned inflight;
    unsigned pool_size;
    NvmeRequest *requests, *free;
    struct iovec *long_iovs;
    NvmeRequest *deletion; /* the command that waits for inflight to end */
    LoopTask run_task;
};

struct NvmeCq {
    NvmeCtrl *ctrl;
    uint16_t id, vector;
    bool interrupts, phase;
    uint32_t size, head, tail;
    uint64_t address;
    uint8_t *ring;
    NvmeDoorbell *doorbell;
    uint32_t *shadow_head, *event_index;
    bool bad_head;
    bool posted; /* in this round */
    unsigned submitters;
    NvmeRequest *waiting, **waiting_tail;
};

typedef struct NvmeEvent {
    uint8_t type, info, log;
} NvmeEvent;

typedef struct NvmeErrorEntry {
    uint64_t count;
    uint16_t sqid, cid, status;
    uint64_t lba;
    uint32_t nsid;
} NvmeErrorEntry;

struct NvmeCtrl {
    PciDevice pci;
    /* properties */
    NvmeNamespace drive; /* namespace 1, when drive= is given */
    char *iothread;
    uint32_t max_ioqpairs, num_queues, aer_max_queued;
    uint16_t msix_qsize;
    uint8_t mdts, aerl, vsl;
    bool use_intel_id, ioeventfd;
    /* as realized */
    EventLoop *loop;
    bool has_iothread;
    Bus *bus;
    MemRegion region;
    uint32_t doorbells_end, msix_table, msix_pba; /* offsets in the BAR */
    NvmeDoorbell *doorbells;
    unsigned queue_count; /* with the admin queues */
    LoopPoller poller;
    LoopTask flush_task, bind_task;
    /* Registers: device lock; csts atomic. */
    uint64_t asq, acq;
    uint32_t aqa, cc, csts;
    GMutex intx_lock; /* leaf: intms, irq_status and the line */
    uint32_t intms, irq_status;
    bool dma_enabled; /* atomic */
    bool polling;     /* atomic; the loop looks by itself */
    /* loop */
    bool running;  /* enabled and ready */
    bool stopping; /* disabled, requests are still out */
    bool quiesced;
    bool poller_added;
    uint32_t cc_active; /* as taken when enabled */
    uint32_t page_size;
    unsigned inflight;
    NvmeNamespace *namespaces[NVME_MAX_NAMESPACES + 1]; /* by id */
    NvmeSq **sqs;                                       /* by id */
    NvmeCq **cqs;
    NvmeSq **active; /* those that exist, in any order */
    unsigned active_count;
    unsigned unposted; /* completion queues with posted set */
    uint64_t shadow_address, event_address;
    bool shadow; /* atomic */
    unsigned flushes;
    /* features, events, logs: loop */
    uint16_t temperature_over, temperature_under;
    uint32_t async_config;
    uint64_t timestamp; /* as set, milliseconds */
    int64_t timestamp_at;
    uint8_t timestamp_origin;
    uint8_t host_behavior[512];
    NvmeRequest *listeners, **listeners_tail; /* asynchronous event requests */
    unsigned listener_count;
    NvmeEvent events[NVME_MAX_EVENTS];
    unsigned event_count;
    uint8_t events_masked; /* by type, until the log page is read */
    bool smart_reported;
    uint64_t error_count;
    NvmeErrorEntry errors[NVME_ERROR_ENTRIES];
    uint8_t changed[NVME_MAX_NAMESPACES / 8 + 1];
    uint64_t power_on_at; /* of the realtime clock, ns */
    /* state on its way */
    uint8_t *saved_queues, *saved_requests;
    uint32_t saved_queues_len, saved_requests_len;
    bool restore; /* the loaded queues are made when the machine goes on */
};

static inline bool nvme_may_run(const NvmeCtrl *ctrl)
{
    return ctrl->running && !ctrl->quiesced &&
           __atomic_load_n(&ctrl->dma_enabled, __ATOMIC_ACQUIRE);
}

/* ---- registers.c: vCPU threads ---- */
extern const MemOps nvme_mmio_ops;
void nvme_use_vectors(NvmeCtrl *ctrl); /* device lock held */
void nvme_config_written(PciDevice *pci, uint32_t offset, unsigned size);
/* Ends the eventfds of shadow doorbells; topology and device lock held. */
void nvme_unbind_doorbells(NvmeCtrl *ctrl);
void nvme_bind_doorbells(void *opaque); /* task of the main loop */

/* ---- control.c: enabling, stopping; loop unless said otherwise ---- */
void nvme_enable(void *ctrl);
void nvme_disable(void *ctrl);
void nvme_shutdown(void *ctrl);
void nvme_stop_finish(NvmeCtrl *ctrl); /* the last request came back while stopping */
void nvme_quiesce(Device *dev);        /* main thread */
void nvme_resume(Device *dev);         /* main thread */
void nvme_cancel_all(NvmeCtrl *ctrl);  /* main thread, quiesced: no request is left */
void nvme_clear(void *ctrl);

/* ---- queues.c: loop ---- */
NvmeSq *nvme_sq_new(NvmeCtrl *ctrl, uint16_t id, NvmeCq *cq, uint64_t address, uint32_t size);
NvmeCq *nvme_cq_new(NvmeCtrl *ctrl, uint16_t id, uint64_t address, uint32_t size, uint16_t vector,
                    bool interrupts);
void nvme_sq_free(NvmeSq *sq);
void nvme_cq_free(NvmeCq *cq);
void nvme_queues_free(NvmeCtrl *ctrl);
void nvme_sq_run(NvmeSq *sq);
void nvme_run_all(NvmeCtrl *ctrl);
NvmeRequest *nvme_request_get(NvmeSq *sq); /* NULL: none is free */
void nvme_request_put(NvmeRequest *request);
/* Once for each request that returned NVME_PENDING. */
void nvme_complete(NvmeRequest *request, uint16_t status);
/* A request in no one's hands (an event's) is counted as in flight, or no more. */
void nvme_request_park(NvmeRequest *request);
void nvme_request_unpark(NvmeRequest *request);
void nvme_doorbell_rung(void *doorbell); /* task */
void nvme_cq_drain_waiting(NvmeCq *cq);
void nvme_flush(void *ctrl); /* task: interrupts of what was posted */
void nvme_update_intx(NvmeCtrl *ctrl);
void nvme_shadow_attach(NvmeCtrl *ctrl, bool fresh);
void nvme_poller_add(NvmeCtrl *ctrl);
void nvme_poller_remove(NvmeCtrl *ctrl);

/* ---- data.c: loop ---- */
/* The command's data pointer as host memory in request->iov; a status. */
uint16_t nvme_map(NvmeRequest *request, uint64_t bytes, bool to_guest);
void nvme_data_dirty(NvmeRequest *request); /* written through request->iov */
/* Copies between a buffer and the command's data. */
uint16_t nvme_copy_out(NvmeRequest *request, const void *data, uint64_t bytes);
uint16_t nvme_copy_in(NvmeRequest *request, void *data, uint64_t bytes);

/* ---- commands: a status, or NVME_PENDING; loop ---- */
uint16_t nvme_admin(NvmeRequest *request);
uint16_t nvme_io(NvmeRequest *request);
uint16_t nvme_compare(NvmeRequest *request);
uint16_t nvme_verify(NvmeRequest *request);
uint16_t nvme_dataset(NvmeRequest *request);
uint16_t nvme_format(NvmeRequest *request);
uint16_t nvme_identify(NvmeRequest *request);
uint16_t nvme_get_features(NvmeRequest *request);
uint16_t nvme_set_features(NvmeRequest *request);
uint16_t nvme_get_log(NvmeRequest *request);
uint16_t nvme_async_event(NvmeRequest *request);
/* Range of a command in blocks; a status. */
uint16_t nvme_check_range(const NvmeNamespace *ns, uint64_t slba, uint64_t blocks);
uint16_t nvme_block_status(const NvmeRequest *request, int ret);
uint64_t nvme_blocks(const NvmeNamespace *ns);

/* ---- logs.c: loop ---- */
void nvme_event(NvmeCtrl *ctrl, uint8_t type, uint8_t info, uint8_t log);
void nvme_error_record(NvmeCtrl *ctrl, uint16_t sqid, uint16_t cid, uint16_t status);
void nvme_check_temperature(NvmeCtrl *ctrl);
void nvme_features_reset(NvmeCtrl *ctrl);

/* ---- ns.c: main thread ---- */
bool nvme_ns_attach(NvmeCtrl *ctrl, NvmeNamespace *ns, const Device *dev, GError **error);
void nvme_ns_detach(NvmeNamespace *ns);
void nvme_ns_reset(NvmeNamespace *ns);
extern const StateSection nvme_namespace_state;

/* ---- state.c: main thread ---- */
extern const StateSection nvme_state;
void nvme_restore(void *ctrl); /* loop */

#endif
