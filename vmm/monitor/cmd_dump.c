/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory dumps: the machine stands still until all is written, by a thread of its own, and then
 * goes on if it ran before. One at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "vmm/machine/dump.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/later.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/util/passed_fds.h"

typedef struct Job {
    LaterWork work; /* of a command that waits for the end */
    LoopTask task;  /* of one that does not */
    Dump *dump;
    GError *error; /* of the writing */
} Job;

static Job *job; /* NULL: no dump is being written */
static struct {
    const char *status; /* DumpStatus */
    uint64_t written, total;
} last = { .status = "none" };

static void job_write(Job *j)
{
    dump_write(j->dump, &j->error);
}

static json_object *job_result(const Job *j)
{
    json_object *info = json_object_new_object();
    json_add_string(info, "status", j ? "active" : last.status);
    json_add_int(info, "completed", (int64_t)(j ? dump_written(j->dump) : last.written));
    json_add_int(info, "total", (int64_t)(j ? dump_total(j->dump) : last.total));
    return info;
}

static void job_end(Job *j)
{
    job = NULL;
    last.status = j->error ? "failed" : "completed";
    last.written = dump_written(j->dump);
    last.total = dump_total(j->dump);
    machine_release(machine_get());
    json_object *data = json_object_new_object();
    json_object_object_add(data, "result", job_result(NULL));
    json_add_string(data, "error", j->error ? j->error->message : NULL);
    monitor_emit("DUMP_COMPLETED", data);
    dump_free(j->dump);
    g_clear_error(&j->error);
    g_free(j);
}

/* ---- In a thread: for a command that waits, and for one that does not ---- */

static void work_run(LaterWork *work)
{
    job_write((Job *)work);
}

static void work_free(LaterWork *work)
{
    job_end((Job *)work);
}

static bool is_ours(const LaterWork *work, const void *opaque)
{
    return work->run == work_run;
}

static void on_written(void *opaque)
{
    job_end(opaque);
}

static void *thread_main(void *opaque)
{
    Job *j = opaque;
    job_write(j);
    event_loop_post(event_loop_main(), &j->task);
    return NULL;
}

static bool start_detached(Job *j, GError **error)
{
    j->task = (LoopTask)LOOP_TASK_INIT(on_written, j);
    GThread *thread = g_thread_try_new("dump", thread_main, j, error);
    if (thread) {
        g_thread_unref(thread);
    }
    return thread != NULL;
}

/* ---- What is asked for ---- */

static bool check(const QmpDumpGuestMemoryArgs *args, GError **error)
{
    if (job) {
        return error_set(error, "another dump is being written: query-dump tells how far it is");
    }
    if (args->paging) {
        return error_set(error, "paging: dumps have physical addresses only");
    }
    if (args->has_format && args->format != QMP_DUMP_GUEST_MEMORY_FORMAT_ELF) {
        return error_set(error, "format: only 'elf' is there");
    }
    if (args->has_begin != args->has_length) {
        return error_set(error, "begin and length go together");
    }
    if (args->has_length && (args->length <= 0 || args->begin < 0)) {
        return error_set(error, "begin and length have to be a piece of memory: length is 0");
    }
    return true;
}

static int open_protocol(const char *protocol, GError **error)
{
    if (g_str_has_prefix(protocol, "file:")) {
        const char *path = protocol + strlen("file:");
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR);
        if (fd < 0) {
            error_set(error, "cannot write '%s': %s", path, g_strerror(errno));
        }
        return fd;
    }
    if (g_str_has_prefix(protocol, "fd:")) {
        bool named;
        int fd = passed_fd_param(protocol + strlen("fd:"), &named, error);
        if (fd >= 0 && !named) {
            error_set(error, "protocol: '%s' is no name of getfd", protocol);
        }
        return named ? fd : -1;
    }
    error_set(error, "protocol: 'file:PATH' or 'fd:NAME' (getfd), not '%s'", protocol);
    return -1;
}

static Job *job_new(const QmpDumpGuestMemoryArgs *args, GError **error)
{
    Machine *machine = machine_get();
    int fd = check(args, error) ? open_protocol(args->protocol, error) : -1;
    if (fd < 0) {
        return NULL;
    }
    machine_hold(machine);
    Dump *dump = dump_new(machine, fd, (uint64_t)args->begin, (uint64_t)args->length, error);
    if (!dump) {
        machine_release(machine);
        return NULL;
    }
    job = g_new0(Job, 1);
    job->work = (LaterWork){ .run = work_run, .free = work_free };
    job->dump = dump;
    return job;
}

static bool result_of(const Job *j, GError **error)
{
    if (j->error) {
        g_propagate_error(error, g_error_copy(j->error));
    }
    return !j->error;
}

static json_object *dump_guest_memory(const void *opaque, GError **error)
{
    const QmpDumpGuestMemoryArgs *args = opaque;
    later_allow();
    LaterWork *done = later_find(is_ours, NULL);
    if (done) {
        return result_of((Job *)done, error) ? qmp_ok() : NULL;
    }
    Job *j = job_new(args, error);
    if (!j) {
        return NULL;
    }
    if (args->detach) {
        if (start_detached(j, &j->error)) {
            return qmp_ok();
        }
    } else if (later_start(&j->work)) {
        error_set(error, "it is being written");
        return NULL;
    } else {
        job_write(j); /* nobody can wait: the command line's and the human monitor's way */
    }
    bool ok = result_of(j, error);
    job_end(j);
    return ok ? qmp_ok() : NULL;
}

static json_object *query_dump(const void *args, GError **error)
{
    return job_result(job);
}

static json_object *query_capability(const void *args, GError **error)
{
    json_object *info = json_object_new_object(), *formats = json_object_new_array();
    json_object_array_add(formats, json_object_new_string("elf"));
    json_object_object_add(info, "formats", formats);
    return info;
}

void dump_commands_end(void)
{
    if (job) {
        dump_cancel(job->dump);
    }
}

static const QmpHandler qmp[] = {
    { "dump-guest-memory", dump_guest_memory },
    { "query-dump", query_dump },
    { "query-dump-guest-memory-capability", query_capability },
    { NULL },
};

const MonitorCommands dump_commands = { .qmp = qmp };
