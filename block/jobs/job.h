/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs: long work on disks while the machine runs (QMP's job-* and block-job-* commands). A job is
 * a thread that works with blocking calls, and that stops where it says so: to be paused, to be
 * slowed down, to be cancelled. Everything that changes the tree of nodes is done by the main
 * thread when the thread has ended.
 */
#ifndef BLOCK_JOBS_JOB_H
#define BLOCK_JOBS_JOB_H

#include "block/internal.h"

/* QEMU's JobStatus, in its order. */
typedef enum JobStatus {
    JOB_UNDEFINED,
    JOB_CREATED,
    JOB_RUNNING,
    JOB_PAUSED,
    JOB_READY,
    JOB_STANDBY,
    JOB_WAITING,
    JOB_PENDING,
    JOB_ABORTING,
    JOB_CONCLUDED,
    JOB_NULL,
} JobStatus;

/* What follows a request of the job's that failed: QEMU's BlockdevOnError. */
typedef enum JobOnError {
    JOB_ON_ERROR_REPORT,
    JOB_ON_ERROR_IGNORE,
    JOB_ON_ERROR_ENOSPC, /* stop when space ran out, else report */
    JOB_ON_ERROR_STOP,
} JobOnError;

typedef struct Job Job;

typedef struct JobGroup JobGroup;

typedef struct JobDriver {
    const char *type; /* "mirror" ... */
    size_t size;      /* of the struct that begins with its Job */
    /* The work: 0, or -errno with what failed. The job's thread. */
    int (*run)(Job *job, GError **error);
    /* After run() succeeded: makes what was copied the truth. Main thread. */
    bool (*finish)(Job *job, GError **error);
    /* In any case, last, before the job says that it has ended: gives back what it holds. Main
     * thread. */
    void (*free)(Job *job);
    bool no_block_job; /* only the newer commands and events know it */
    bool can_complete; /* runs on when it is ready, until job-complete or a cancel */
} JobDriver;

struct Job {
    const JobDriver *driver;
    BlockNode *filter; /* named by the user; or NULL */
    char *id;
    bool auto_finalize, auto_dismiss, freed;
    GPtrArray *nodes;   /* that nobody else may change meanwhile: job_claim() */
    JobGroup *group;    /* main thread; NULL: by itself */
    bool in_group_done; /* main thread: its thread has ended, others of the group go on */
    GThread *thread;
    LoopTask ended_task;
    GMutex lock; /* guards what follows */
    GCond cond;
    JobStatus status;
    unsigned working; /* threads between job_enter() and job_leave() */
    bool user_paused, cancelled, forced, complete_asked, ready, started;
    int io_error;              /* errno that stopped it, 0: none */
    char *error;               /* NULL: none */
    uint64_t progress, length; /* bytes */
    uint64_t speed;            /* bytes a second, 0: no limit */
    int64_t next_ns;           /* when the speed allows the next piece */
};

/* id NULL: the name of the drive that shows `node`. The node (NULL: none) is claimed. Main thread.
 */
Job *job_new(const JobDriver *driver, const char *id, BlockNode *node, uint64_t speed,
             GError **error);
/* The node is the job's until it ends: no other job, resize, snapshot or change of medium. Before
 * it starts; main thread. */
bool job_claim(Job *job, BlockNode *node, GError **error);
/* A node over `node` with the name that the user gave (NULL: none is made), until the job ends.
 * Main thread. */
typedef enum JobFilter {
    JOB_FILTER_BACKUP,
    JOB_FILTER_COMMIT,
    JOB_FILTER_MIRROR,
    JOB_FILTER_STREAM,
} JobFilter;
bool job_name_filter(Job *job, JobFilter kind, const char *name, BlockNode *node, GError **error);
/* What users call the node: its drive's id, or its name. */
const char *job_node_label(BlockNode *node);
/* Whether no job has the node; main thread. */
bool job_check_free(BlockNode *node, GError **error);
void job_start(Job *job); /* main thread */
/* A job that was never started. */
void job_discard(Job *job);
Job *job_find(const char *id);
Job *job_newest(void); /* NULL: there are none */
void job_foreach(void (*fn)(Job *job, void *opaque), void *opaque);

/* ---- The job's thread, and threads of its own ---- */
/* Before each piece of work on nodes, with job_leave() behind it: waits while the job is paused,
 * and until the speed allows `bytes` more (a job that was asked to complete hurries). The tree of
 * nodes does not change between the two. False: cancelled: end now, without job_leave(). */
bool job_enter(Job *job, uint64_t bytes);
void job_leave(Job *job);
void job_set_length(Job *job, uint64_t length);
void job_add_progress(Job *job, uint64_t bytes);
/* Both sides are the same now: tells so, once. */
void job_set_ready(Job *job);
/* A request failed (ret: -errno): tells so. True: go on (the job may be paused before that), and
 * try again; false: the job fails. */
bool job_io_error(Job *job, JobOnError policy, bool read, int ret);
bool job_is_ready(Job *job);
bool job_is_stopped(Job *job); /* by an error, or by the user */
/* Somebody asked for the end, one way or the other. */
bool job_should_end(Job *job);
/* Sleeps at most so long, less when somebody asks for something. */
void job_nap(Job *job, int64_t ns);

/* ---- The tree of nodes changes: main thread ---- */
/* No job's thread works on nodes from here on; nests. */
void jobs_hold(void);
void jobs_go_on(void);

/* ---- The user: main thread ---- */
bool job_pause(Job *job, GError **error);
bool job_resume(Job *job, GError **error);
bool job_cancel(Job *job, bool force, GError **error);
/* As block-job-cancel does: a paused job has to be forced. */
bool job_cancel_running(Job *job, bool force, GError **error);
bool job_complete(Job *job, GError **error);
bool job_finalize(Job *job, GError **error);
bool job_dismiss(Job *job, GError **error);
bool job_set_speed(Job *job, uint64_t speed, GError **error);
const char *job_status_name(JobStatus status);

/* ---- Jobs that end together, or not at all (group.c): main thread ---- */
/* A group lives as long as a job is in it. */
JobGroup *job_group_new(void);
void job_group_add(JobGroup *group, Job *job);
void job_group_leave(Job *job);
/* The job's thread has ended. The others are cancelled if it failed; when it was the last, all of
 * them go on to their end by job_settle(). */
void job_group_ended(Job *job, bool failed);
/* What follows the end of a job's thread; failed: it does not matter how it went by itself. */
void job_settle(Job *job, bool failed);
void jobs_cancel_all(void); /* at exit: forced, and waited for; main thread */

#endif
