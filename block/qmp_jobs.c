/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about jobs: what runs, and what becomes of it. */
#include <errno.h>
#include "block/jobs/job.h"
#include "block/qmp.h"
#include "vmm/monitor/qmp-schema.h"

static json_object *answer(bool ok)
{
    return ok ? qmp_ok() : NULL;
}

/* ---- Asking ---- */

static void add_job(Job *job, void *opaque)
{
    json_object *info = json_object_new_object();
    g_mutex_lock(&job->lock);
    json_add_string(info, "id", job->id);
    json_add_string(info, "type", job->driver->type);
    json_add_string(info, "status", job_status_name(job->status));
    json_add_int(info, "current-progress", (int64_t)job->progress);
    json_add_int(info, "total-progress", (int64_t)job->length);
    if (job->error) {
        json_add_string(info, "error", job->error);
    }
    g_mutex_unlock(&job->lock);
    json_object_array_add(opaque, info);
}

static json_object *query_jobs(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    job_foreach(add_job, list);
    return list;
}

static void add_block_job(Job *job, void *opaque)
{
    if (job->driver->no_block_job) {
        return;
    }
    json_object *info = json_object_new_object();
    g_mutex_lock(&job->lock);
    json_add_string(info, "type", job->driver->type);
    json_add_string(info, "device", job->id);
    json_add_int(info, "len", (int64_t)job->length);
    json_add_int(info, "offset", (int64_t)job->progress);
    json_add_bool(info, "busy", job->working > 0);
    json_add_bool(info, "paused", job->user_paused);
    json_add_int(info, "speed", (int64_t)job->speed);
    json_add_string(info, "io-status",
                    !job->io_error            ? "ok"
                    : job->io_error == ENOSPC ? "nospace"
                                              : "failed");
    json_add_bool(info, "ready", job->ready);
    json_add_string(info, "status", job_status_name(job->status));
    json_add_bool(info, "auto-finalize", job->auto_finalize);
    json_add_bool(info, "auto-dismiss", job->auto_dismiss);
    if (job->error) {
        json_add_string(info, "error", job->error);
    }
    g_mutex_unlock(&job->lock);
    json_object_array_add(opaque, info);
}

static json_object *query_block_jobs(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    job_foreach(add_block_job, list);
    return list;
}

/* ---- Steering: all of them name one job, as their first member ---- */

static Job *find(const char *id, bool block_job, GError **error)
{
    Job *job = job_find(id);
    if (!job) {
        error_set_code(error, block_job ? VIREO_ERROR_DEVICE_NOT_ACTIVE : VIREO_ERROR_GENERIC,
                       block_job ? "there is no block job '%s' (query-block-jobs lists them)"
                                 : "there is no job '%s' (query-jobs lists them)",
                       id);
    }
    return job;
}

#define STEER(name, Args, field, block_job, call)                                                  \
    static json_object *name(const void *opaque, GError **error)                                   \
    {                                                                                              \
        const Args *args = opaque;                                                                 \
        Job *job = find(args->field, block_job, error);                                            \
        return answer(job && call);                                                                \
    }

STEER(pause_job, QmpJobPauseArgs, id, false, job_pause(job, error))
STEER(resume_job, QmpJobResumeArgs, id, false, job_resume(job, error))
STEER(cancel_job, QmpJobCancelArgs, id, false, job_cancel(job, true, error))
STEER(complete_job, QmpJobCompleteArgs, id, false, job_complete(job, error))
STEER(finalize_job, QmpJobFinalizeArgs, id, false, job_finalize(job, error))
STEER(dismiss_job, QmpJobDismissArgs, id, false, job_dismiss(job, error))
STEER(block_job_cancel, QmpBlockJobCancelArgs, device, true,
      job_cancel_running(job, args->force, error))
STEER(block_job_pause, QmpBlockJobPauseArgs, device, true, job_pause(job, error))
STEER(block_job_resume, QmpBlockJobResumeArgs, device, true, job_resume(job, error))
STEER(block_job_complete, QmpBlockJobCompleteArgs, device, true, job_complete(job, error))
STEER(block_job_finalize, QmpBlockJobFinalizeArgs, id, true, job_finalize(job, error))
STEER(block_job_dismiss, QmpBlockJobDismissArgs, id, true, job_dismiss(job, error))

static json_object *block_job_set_speed(const void *opaque, GError **error)
{
    const QmpBlockJobSetSpeedArgs *args = opaque;
    Job *job = find(args->device, true, error);
    if (job && args->speed < 0) {
        error_set(error, "'speed' is negative: 0 is no limit");
        return NULL;
    }
    return answer(job && job_set_speed(job, (uint64_t)args->speed, error));
}

static const QmpHandler qmp[] = {
    { "query-jobs", query_jobs },
    { "query-block-jobs", query_block_jobs },
    { "job-pause", pause_job },
    { "job-resume", resume_job },
    { "job-cancel", cancel_job },
    { "job-complete", complete_job },
    { "job-finalize", finalize_job },
    { "job-dismiss", dismiss_job },
    { "block-job-set-speed", block_job_set_speed },
    { "block-job-cancel", block_job_cancel },
    { "block-job-pause", block_job_pause },
    { "block-job-resume", block_job_resume },
    { "block-job-complete", block_job_complete },
    { "block-job-finalize", block_job_finalize },
    { "block-job-dismiss", block_job_dismiss },
    { NULL },
};

static void hmp_info_block_jobs(GString *out, char **args)
{
    json_object *list = query_block_jobs(NULL, NULL);
    size_t count = json_object_array_length(list);
    for (size_t i = 0; i < count; i++) {
        json_object *job = json_object_array_get_idx(list, i);
        g_string_append_printf(
            out, "Type %s, device %s: Completed %s of %s bytes, speed limit %s bytes/s\n",
            json_object_get_string(json_object_object_get(job, "type")),
            json_object_get_string(json_object_object_get(job, "device")),
            json_object_get_string(json_object_object_get(job, "offset")),
            json_object_get_string(json_object_object_get(job, "len")),
            json_object_get_string(json_object_object_get(job, "speed")));
    }
    if (!count) {
        g_string_append(out, "No active jobs\n");
    }
    json_object_put(list);
}

static const HmpCommand hmp[] = {
    { "info block-jobs", NULL, "jobs that copy disks", hmp_info_block_jobs },
    { NULL },
};

const MonitorCommands job_commands = { .qmp = qmp, .hmp = hmp };
