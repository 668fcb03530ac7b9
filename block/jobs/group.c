/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs of one transaction with completion-mode "grouped": all of them end well, or none. */
#include "block/jobs/job.h"

struct JobGroup {
    GPtrArray *jobs;
    bool failed;
};

JobGroup *job_group_new(void)
{
    JobGroup *group = g_new0(JobGroup, 1);
    group->jobs = g_ptr_array_new();
    return group;
}

void job_group_add(JobGroup *group, Job *job)
{
    g_ptr_array_add(group->jobs, job);
    job->group = group;
}

void job_group_leave(Job *job)
{
    JobGroup *group = g_steal_pointer(&job->group);
    if (!group) {
        return;
    }
    g_ptr_array_remove(group->jobs, job);
    if (!group->jobs->len) {
        g_ptr_array_unref(group->jobs);
        g_free(group);
    }
}

static bool all_done(const JobGroup *group)
{
    for (guint i = 0; i < group->jobs->len; i++) {
        if (!((Job *)group->jobs->pdata[i])->in_group_done) {
            return false;
        }
    }
    return true;
}

void job_group_ended(Job *job, bool failed)
{
    JobGroup *group = job->group;
    bool first_failure = failed && !group->failed;
    job->in_group_done = true;
    group->failed |= failed;
    for (guint i = 0; first_failure && i < group->jobs->len; i++) {
        Job *other = group->jobs->pdata[i];
        if (!other->in_group_done) {
            job_cancel(other, true, NULL);
        }
    }
    if (!all_done(group)) {
        return;
    }
    failed = group->failed;
    while (group) {
        Job *next = group->jobs->pdata[0];
        if (group->jobs->len == 1) {
            group = NULL;
        }
        job_group_leave(next);
        job_settle(next, failed);
    }
}
