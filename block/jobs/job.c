/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs: their states, their thread, what the user may do with them. */
#include "block/jobs/job.h"

#include <errno.h>
#include "vmm/memory/rcu.h"
#include "vmm/util/id.h"

#define NS_OF_GRACE (100 * 1000 * 1000LL) /* so much of a speed that was not used counts later */

static GPtrArray *jobs;

static const char *const status_names[] = {
    "undefined", "created", "running",  "paused",    "ready", "standby",
    "waiting",   "pending", "aborting", "concluded", "null",
};

const char *job_status_name(JobStatus status)
{
    return status_names[status];
}

Job *job_find(const char *id)
{
    for (guint i = 0; jobs && i < jobs->len; i++) {
        Job *job = jobs->pdata[i];
        if (!strcmp(job->id, id)) {
            return job;
        }
    }
    return NULL;
}

Job *job_newest(void)
{
    return jobs && jobs->len ? jobs->pdata[jobs->len - 1] : NULL;
}

void job_foreach(void (*fn)(Job *job, void *opaque), void *opaque)
{
    for (guint i = 0; jobs && i < jobs->len; i++) {
        fn(jobs->pdata[i], opaque);
    }
}

/* ---- Events ---- */

static void emit(const char *event, json_object *data)
{
    const BlockErrorHooks *hooks = block_error_hooks();
    if (hooks && hooks->emit) {
        hooks->emit(event, data);
    } else {
        json_object_put(data);
    }
}

static void emit_status(const Job *job, JobStatus status)
{
    json_object *data = json_object_new_object();
    json_object_object_add(data, "id", json_object_new_string(job->id));
    json_object_object_add(data, "status", json_object_new_string(status_names[status]));
    emit("JOB_STATUS_CHANGE", data);
}

/* With the lock held. */
static void set_status(Job *job, JobStatus status)
{
    if (job->status != status) {
        job->status = status;
        emit_status(job, status);
    }
}

static json_object *block_job_data(const Job *job)
{
    json_object *data = json_object_new_object();
    json_object_object_add(data, "type", json_object_new_string(job->driver->type));
    json_object_object_add(data, "device", json_object_new_string(job->id));
    json_object_object_add(data, "len", json_object_new_int64((int64_t)job->length));
    json_object_object_add(data, "offset", json_object_new_int64((int64_t)job->progress));
    json_object_object_add(data, "speed", json_object_new_int64((int64_t)job->speed));
    return data;
}

/* ---- Nodes that jobs have ---- */

static void find_drive(Drive *drive, void *opaque)
{
    struct {
        BlockNode *node;
        const char *id;
    } *search = opaque;
    if (drive->node == search->node) {
        search->id = drive->id;
    }
}

/* The drive that shows the node, or NULL. */
static const char *drive_of(BlockNode *node)
{
    struct {
        BlockNode *node;
        const char *id;
    } search = { node, NULL };
    drive_foreach(find_drive, &search);
    return search.id;
}

const char *job_node_label(BlockNode *node)
{
    const char *drive = drive_of(node);
    return drive ? drive : node->name;
}

bool job_check_free(BlockNode *node, GError **error)
{
    for (guint i = 0; jobs && i < jobs->len; i++) {
        Job *job = jobs->pdata[i];
        if (g_ptr_array_find(job->nodes, node, NULL)) {
            return error_set(
                error,
                "node '%s' is busy: a job (%s) works with it; cancel it, or wait for its end",
                job_node_label(node), job->driver->type);
        }
    }
    return true;
}

bool job_claim(Job *job, BlockNode *node, GError **error)
{
    if (!g_ptr_array_find(job->nodes, node, NULL)) {
        if (!job_check_free(node, error)) {
            return false;
        }
        g_ptr_array_add(job->nodes, block_node_ref(node));
    }
    return true;
}

static void give_back_node(void *node)
{
    block_node_unref(node);
}

/* ---- Life ---- */

static bool check_id(const char *id, GError **error)
{
    if (!id || !*id) {
        return error_set(error,
                         "the job needs a name: 'job-id' (the node has none that could serve)");
    }
    if (!id_is_wellformed(id)) {
        return error_set(
            error, "'job-id' %s: it begins with a letter; letters, digits, '-', '.' and '_' follow",
            id);
    }
    return !job_find(id) ||
           error_set(error, "there is a job '%s' already: give another 'job-id'", id);
}

Job *job_new(const JobDriver *driver, const char *id, BlockNode *node, uint64_t speed,
             GError **error)
{
    id = id || !node ? id : drive_of(node);
    if (!check_id(id, error) || (node && !job_check_free(node, error))) {
        return NULL;
    }
    Job *job = g_malloc0(driver->size);
    job->driver = driver;
    job->id = g_strdup(id);
    job->speed = speed;
    job->auto_finalize = job->auto_dismiss = true;
    job->nodes = g_ptr_array_new_with_free_func(give_back_node);
    if (node) {
        g_ptr_array_add(job->nodes, block_node_ref(node));
    }
    g_mutex_init(&job->lock);
    g_cond_init(&job->cond);
    if (!jobs) {
        jobs = g_ptr_array_new();
    }
    g_ptr_array_add(jobs, job);
    g_mutex_lock(&job->lock);
    set_status(job, JOB_CREATED);
    g_mutex_unlock(&job->lock);
    return job;
}

/* Nothing of the disks is the job's any more. */
static void give_back(Job *job)
{
    if (!job->freed) {
        job->freed = true;
        if (job->driver->free) {
            job->driver->free(job);
        }
        if (job->filter) {
            block_node_unref(job->filter);
        }
        g_ptr_array_set_size(job->nodes, 0);
    }
}

void job_discard(Job *job)
{
    give_back(job);
    g_ptr_array_remove(jobs, job);
    job_group_leave(job);
    g_mutex_lock(&job->lock);
    set_status(job, JOB_NULL);
    g_mutex_unlock(&job->lock);
    g_ptr_array_free(job->nodes, TRUE);
    g_mutex_clear(&job->lock);
    g_cond_clear(&job->cond);
    g_free(job->id);
    g_free(job->error);
    g_free(job);
}

static void conclude(Job *job)
{
    bool cancelled = job->cancelled && (job->forced || !job->ready);
    give_back(job);
    json_object *data = block_job_data(job);
    if (job->error && !cancelled) {
        json_object_object_add(data, "error", json_object_new_string(job->error));
    }
    if (job->driver->no_block_job) {
        json_object_put(data);
    } else {
        emit(cancelled ? "BLOCK_JOB_CANCELLED" : "BLOCK_JOB_COMPLETED", data);
    }
    g_mutex_lock(&job->lock);
    set_status(job, JOB_CONCLUDED);
    bool dismiss = job->auto_dismiss;
    g_mutex_unlock(&job->lock);
    if (dismiss) {
        job_discard(job);
    }
}

static void set_error(Job *job, const char *text)
{
    if (!job->error) {
        job->error = g_strdup(text);
    }
}

static void finalize(Job *job)
{
    g_autoptr(GError) error = NULL;
    if (!job->error && job->driver->finish && !job->driver->finish(job, &error)) {
        set_error(job, error->message);
        g_mutex_lock(&job->lock);
        set_status(job, JOB_ABORTING);
        g_mutex_unlock(&job->lock);
    }
    conclude(job);
}

void job_settle(Job *job, bool failed)
{
    g_mutex_lock(&job->lock);
    if (failed) {
        job->cancelled |= !job->error;
        job->forced |= !job->error;
        set_error(job, "Operation canceled");
        set_status(job, JOB_ABORTING);
    } else {
        set_status(job, JOB_PENDING);
    }
    g_mutex_unlock(&job->lock);
    if (failed) {
        conclude(job);
    } else if (job->auto_finalize) {
        finalize(job);
    } else {
        json_object *data = json_object_new_object();
        json_object_object_add(data, "type", json_object_new_string(job->driver->type));
        json_object_object_add(data, "id", json_object_new_string(job->id));
        emit("BLOCK_JOB_PENDING", data);
    }
}

/* The thread has ended. Main thread. */
static void ended(void *opaque)
{
    Job *job = opaque;
    g_thread_join(job->thread);
    job->thread = NULL;
    g_mutex_lock(&job->lock);
    bool failed = job->error != NULL;
    set_status(job, failed ? JOB_ABORTING : JOB_WAITING);
    g_mutex_unlock(&job->lock);
    if (job->group) {
        job_group_ended(job, failed);
    } else {
        job_settle(job, failed);
    }
}

static void *thread(void *opaque)
{
    Job *job = opaque;
    g_autoptr(GError) error = NULL;
    rcu_thread_register();
    int ret = job->driver->run(job, &error);
    g_mutex_lock(&job->lock);
    if (job->cancelled && (job->forced || !job->ready)) {
        set_error(job, "Operation canceled");
    } else if (ret < 0) {
        set_error(job, error ? error->message : g_strerror(-ret));
    }
    g_mutex_unlock(&job->lock);
    rcu_thread_unregister();
    event_loop_post(event_loop_main(), &job->ended_task);
    return NULL;
}

void job_start(Job *job)
{
    g_mutex_lock(&job->lock);
    job->started = true;
    set_status(job, JOB_RUNNING);
    g_mutex_unlock(&job->lock);
    job->ended_task = (LoopTask)LOOP_TASK_INIT(ended, job);
    job->thread = g_thread_new("block job", thread, job);
}

/* Its thread has ended, or never was. */
static void conclude_cancelled(Job *job)
{
    g_mutex_lock(&job->lock);
    job->cancelled = job->forced = true;
    set_error(job, "Operation canceled");
    set_status(job, JOB_ABORTING);
    job->auto_dismiss = true;
    g_mutex_unlock(&job->lock);
    conclude(job);
}

static void cancel_one(Job *job)
{
    g_mutex_lock(&job->lock);
    job->cancelled = job->forced = true;
    job->user_paused = false;
    g_cond_broadcast(&job->cond);
    bool over = job->status == JOB_CONCLUDED;
    g_mutex_unlock(&job->lock);
    if (job->thread) {
        g_thread_join(job->thread);
        event_loop_cancel_task(event_loop_main(), &job->ended_task);
        job->thread = NULL;
    }
    if (over) {
        job_discard(job);
    } else {
        conclude_cancelled(job);
    }
}

void jobs_cancel_all(void)
{
    while (jobs && jobs->len) {
        cancel_one(jobs->pdata[jobs->len - 1]);
    }
}

/* ---- The thread's side ---- */

/* Lock held. How long to sleep until the speed allows more; 0: it does, and they are counted. */
static int64_t wait_for_speed(Job *job, uint64_t bytes)
{
    int64_t now = g_get_monotonic_time() * 1000;
    if (!job->speed) {
        return 0;
    }
    if (job->next_ns > now) {
        return job->next_ns - now;
    }
    double ns = (double)bytes / (double)job->speed * 1e9;
    job->next_ns = MAX(job->next_ns, now - NS_OF_GRACE) + (int64_t)MIN(ns, 1e17);
    return 0;
}

static void sleep_on(Job *job, int64_t ns)
{
    g_cond_wait_until(&job->cond, &job->lock, g_get_monotonic_time() + ns / 1000 + 1);
}

static _Atomic unsigned holds;

static bool is_held(void)
{
    return atomic_load(&holds) != 0;
}

bool job_enter(Job *job, uint64_t bytes)
{
    int64_t ns = 0;
    g_mutex_lock(&job->lock);
    while ((!job->cancelled && job->user_paused) || is_held() ||
           (bytes && !job->cancelled && !job->complete_asked &&
            (ns = wait_for_speed(job, bytes)) > 0)) {
        bool rests = job->user_paused && !job->cancelled;
        set_status(job, rests ? (job->ready ? JOB_STANDBY : JOB_PAUSED)
                              : (job->ready ? JOB_READY : JOB_RUNNING));
        if (ns > 0 && !is_held()) {
            sleep_on(job, ns);
        } else {
            g_cond_wait(&job->cond, &job->lock);
        }
        ns = 0;
    }
    set_status(job, job->ready ? JOB_READY : JOB_RUNNING);
    bool go_on = !job->cancelled || (job->ready && !job->forced);
    job->working += go_on;
    g_mutex_unlock(&job->lock);
    return go_on;
}

void job_leave(Job *job)
{
    g_mutex_lock(&job->lock);
    if (--job->working == 0) {
        g_cond_broadcast(&job->cond);
    }
    g_mutex_unlock(&job->lock);
}

void jobs_hold(void)
{
    atomic_fetch_add(&holds, 1);
    for (guint i = 0; jobs && i < jobs->len; i++) {
        Job *job = jobs->pdata[i];
        g_mutex_lock(&job->lock);
        while (job->working) {
            g_cond_wait(&job->cond, &job->lock);
        }
        g_mutex_unlock(&job->lock);
    }
}

void jobs_go_on(void)
{
    if (atomic_fetch_sub(&holds, 1) > 1) {
        return;
    }
    for (guint i = 0; jobs && i < jobs->len; i++) {
        Job *job = jobs->pdata[i];
        g_mutex_lock(&job->lock);
        g_cond_broadcast(&job->cond);
        g_mutex_unlock(&job->lock);
    }
}

void job_set_length(Job *job, uint64_t length)
{
    g_mutex_lock(&job->lock);
    job->length = length;
    g_mutex_unlock(&job->lock);
}

void job_add_progress(Job *job, uint64_t bytes)
{
    g_mutex_lock(&job->lock);
    job->progress += bytes;
    job->length = MAX(job->length, job->progress);
    g_mutex_unlock(&job->lock);
}

void job_set_ready(Job *job)
{
    g_mutex_lock(&job->lock);
    if (!job->ready) {
        job->ready = true;
        set_status(job, JOB_READY);
        emit("BLOCK_JOB_READY", block_job_data(job));
    }
    g_mutex_unlock(&job->lock);
}

bool job_is_ready(Job *job)
{
    g_mutex_lock(&job->lock);
    bool ready = job->ready;
    g_mutex_unlock(&job->lock);
    return ready;
}

bool job_is_stopped(Job *job)
{
    g_mutex_lock(&job->lock);
    bool stopped = job->user_paused;
    g_mutex_unlock(&job->lock);
    return stopped;
}

/* Lock held. */
static void stop_for_error(Job *job, int errnum)
{
    if (!job->cancelled) {
        job->user_paused = true;
    }
    job->io_error = job->io_error ? job->io_error : errnum;
    g_cond_broadcast(&job->cond);
}

bool job_io_error(Job *job, JobOnError policy, bool read, int ret)
{
    static const char *const names[] = { "report", "ignore", "", "stop" };
    if (policy == JOB_ON_ERROR_ENOSPC) {
        policy = ret == -ENOSPC ? JOB_ON_ERROR_STOP : JOB_ON_ERROR_REPORT;
    }
    json_object *data = json_object_new_object();
    json_object_object_add(data, "device", json_object_new_string(job->id));
    json_object_object_add(data, "operation", json_object_new_string(read ? "read" : "write"));
    json_object_object_add(data, "action", json_object_new_string(names[policy]));
    g_mutex_lock(&job->lock);
    if (policy == JOB_ON_ERROR_STOP) {
        stop_for_error(job, -ret);
    }
    emit("BLOCK_JOB_ERROR", data);
    g_mutex_unlock(&job->lock);
    return policy != JOB_ON_ERROR_REPORT;
}

bool job_should_end(Job *job)
{
    g_mutex_lock(&job->lock);
    bool end = job->cancelled || job->complete_asked;
    g_mutex_unlock(&job->lock);
    return end;
}

void job_nap(Job *job, int64_t ns)
{
    g_mutex_lock(&job->lock);
    if (!job->cancelled && !job->complete_asked) {
        sleep_on(job, ns);
    }
    g_mutex_unlock(&job->lock);
}

/* ---- The user's side ---- */

/* Lock held. QEMU's words. */
static bool allow(const Job *job, const char *verb, bool allowed, GError **error)
{
    return allowed ||
           error_set(error,
                     "job '%s' is %s, where '%s' is not possible (query-jobs tells how far it is)",
                     job->id, status_names[job->status], verb);
}

static bool is_alive(const Job *job)
{
    return job->status >= JOB_CREATED && job->status <= JOB_STANDBY;
}

bool job_pause(Job *job, GError **error)
{
    g_mutex_lock(&job->lock);
    bool ok = allow(job, "pause", is_alive(job), error);
    if (ok && job->user_paused) {
        ok = error_set(error, "the job is paused already, by the user");
    }
    job->user_paused |= ok;
    g_cond_broadcast(&job->cond); /* who waits for the speed says that it is paused */
    g_mutex_unlock(&job->lock);
    return ok;
}

bool job_resume(Job *job, GError **error)
{
    g_mutex_lock(&job->lock);
    bool ok = (job->user_paused ||
               error_set(error, "the user did not pause this job: there is nothing to resume")) &&
              allow(job, "resume", is_alive(job), error);
    if (ok) {
        job->user_paused = false;
        job->io_error = 0;
    }
    g_cond_broadcast(&job->cond);
    g_mutex_unlock(&job->lock);
    return ok;
}

bool job_cancel(Job *job, bool force, GError **error)
{
    g_mutex_lock(&job->lock);
    bool ok = allow(job, "cancel",
                    is_alive(job) || job->status == JOB_PENDING || job->status == JOB_WAITING,
                    error);
    bool pending = ok && job->status == JOB_PENDING;
    bool waits = ok && job->status == JOB_WAITING;
    if (ok) {
        job->cancelled = true;
        job->forced |= force;
        job->user_paused = false;
        g_cond_broadcast(&job->cond);
    }
    if (pending) {
        job->forced = true;
        set_error(job, "Operation canceled");
        set_status(job, JOB_ABORTING);
    }
    g_mutex_unlock(&job->lock);
    if (pending) {
        conclude(job);
    } else if (waits) {
        job_group_ended(job, true);
    }
    return ok;
}

bool job_cancel_running(Job *job, bool force, GError **error)
{
    g_mutex_lock(&job->lock);
    bool ok = force || !job->user_paused ||
              error_set(error, "job '%s' is paused: resume it first, so that it can be completed",
                        job->id);
    g_mutex_unlock(&job->lock);
    return ok && job_cancel(job, force, error);
}

bool job_complete(Job *job, GError **error)
{
    g_mutex_lock(&job->lock);
    bool ready = job->status == JOB_READY || job->status == JOB_STANDBY;
    bool ok = allow(job, "complete", ready, error);
    if (ok && (job->cancelled || !job->driver->can_complete)) {
        ok = error_set(
            error,
            "job '%s' is not ready, or of a kind that ends by itself: it cannot be completed",
            job->id);
    }
    job->complete_asked |= ok;
    g_cond_broadcast(&job->cond);
    g_mutex_unlock(&job->lock);
    return ok;
}

bool job_finalize(Job *job, GError **error)
{
    g_mutex_lock(&job->lock);
    bool ok = allow(job, "finalize", job->status == JOB_PENDING, error);
    g_mutex_unlock(&job->lock);
    if (ok) {
        finalize(job);
    }
    return ok;
}

bool job_dismiss(Job *job, GError **error)
{
    g_mutex_lock(&job->lock);
    bool ok = allow(job, "dismiss", job->status == JOB_CONCLUDED, error);
    g_mutex_unlock(&job->lock);
    if (ok) {
        job_discard(job);
    }
    return ok;
}

bool job_set_speed(Job *job, uint64_t speed, GError **error)
{
    g_mutex_lock(&job->lock);
    bool ok = allow(job, "set-speed", is_alive(job), error);
    if (ok) {
        job->speed = speed;
        job->next_ns = 0;
        g_cond_broadcast(&job->cond);
    }
    g_mutex_unlock(&job->lock);
    return ok;
}
