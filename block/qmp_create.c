/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's blockdev-create: a job that makes a file, or a format's image in a node. The main thread,
 * to whom the tree of nodes belongs, plans it: it makes the file as long as it must be. What takes
 * long, tables, space and passwords, is the job's own thread's.
 */
#include <errno.h>
#include <unistd.h>
#include "block/jobs/job.h"
#include "block/qmp.h"

#define SPACE (16 << 20) /* bytes of a plain file that are taken at once */

typedef struct CreateJob {
    Job job;
    const BlockDriver *driver;
    BlockNode *file; /* where the image goes; NULL: driver "file" makes `filename` */
    char *filename;
    Opts *options;
    uint64_t size;
    bool preallocate, full; /* a plain file: what is left for the job's thread */
    BlockBackend *backend;  /* holds `file` while it is written; main thread, as the next */
    BlockCreation *creation;
    LoopTask task;
    bool stopped; /* the job's thread: job_enter() said so */
    bool done;    /* job->lock */
    GError *error;
} CreateJob;

/* ---- The plan: main thread ---- */

static BlockBackend *take_file(BlockNode *file, GError **error)
{
    BlockBackend *backend = block_backend_attach(file->name, "image", false, false, error);
    if (backend && file->readonly) {
        block_backend_detach(backend);
        error_set(error, "the node was opened read-only: an image cannot be made in it");
        return NULL;
    }
    return backend;
}

static bool plan_in_node(CreateJob *c, GError **error)
{
    const BlockImageOps *ops = c->driver->image;
    c->backend = take_file(c->file, error);
    if (!c->backend) {
        return false;
    }
    bool device = node_protocol(c->file)->limits.fixed_size;
    if (!device && block_node_length(c->file) && !block_resize(c->file, 0, error)) {
        return false;
    }
    if (!ops->plan) {
        return ops->create(c->file, c->options, error);
    }
    c->creation = ops->plan(c->file, c->options, error);
    return c->creation;
}

static bool set_exact_size(const CreateJob *c, GError **error)
{
    /* The layer thinks in sectors; the file has the size that was asked for. */
    return c->size % 512 == 0 || truncate(c->filename, (off_t)c->size) == 0 ||
           error_set_errno(error, errno, "cannot set the size of '%s'", c->filename);
}

/* By name; where its space is to be taken too it is a node until that is done. */
static bool create_file(CreateJob *c, GError **error)
{
    BlockOpenMode mode = { .writable = true };
    if (!block_image_create(c->filename, "raw", c->options, error) || !set_exact_size(c, error)) {
        return false;
    }
    if (c->preallocate) {
        c->file = block_image_open(c->filename, "raw", NULL, &mode, error);
        c->backend = c->file ? take_file(c->file, error) : NULL;
    }
    return !c->preallocate || c->backend;
}

static void plan_here(void *opaque)
{
    CreateJob *c = opaque;
    GError *error = NULL;
    if (c->file) {
        plan_in_node(c, &error);
    } else {
        create_file(c, &error);
    }
    g_mutex_lock(&c->job.lock);
    c->done = true;
    c->error = error;
    g_cond_broadcast(&c->job.cond);
    g_mutex_unlock(&c->job.lock);
}

/* ---- The work: the job's thread ---- */

/* Between two pieces the job may be paused, or be cancelled. */
static bool go_on(void *opaque)
{
    CreateJob *c = opaque;
    job_leave(&c->job);
    c->stopped = !job_enter(&c->job, 0);
    return !c->stopped;
}

static bool take_space(CreateJob *c, GError **error)
{
    BlockNode *file = node_protocol(c->file);
    for (uint64_t at = 0, n; at < c->size; at += n) {
        n = MIN(c->size - at, SPACE);
        if (!file_preallocate(file, at, n, c->full, error) || !go_on(c)) {
            return false;
        }
    }
    return true;
}

static bool write_image(CreateJob *c, GError **error)
{
    if (c->creation && !c->creation->fill(c->creation, go_on, c, error)) {
        return false;
    }
    if (c->preallocate && !take_space(c, error)) {
        return false;
    }
    int ret = c->file ? node_flush(c->file) : 0;
    return ret == 0 || error_set_errno(error, -ret, "cannot write to node '%s'", c->file->name);
}

/* Waits for the plan: false where nothing of it was done. */
static bool wait_for_plan(CreateJob *c)
{
    Job *job = &c->job;
    event_loop_post(event_loop_main(), &c->task);
    g_mutex_lock(&job->lock);
    while (!c->done && !job->cancelled) {
        g_cond_wait(&job->cond, &job->lock);
    }
    bool done = c->done;
    g_mutex_unlock(&job->lock);
    return done;
}

static int create_run(Job *job, GError **error)
{
    CreateJob *c = (CreateJob *)job;
    job_set_length(job, 1);
    if (!wait_for_plan(c)) {
        return -ECANCELED;
    }
    if (c->error) {
        g_propagate_error(error, g_steal_pointer(&c->error));
        return -EIO;
    }
    if (!job_enter(job, 0)) {
        return -ECANCELED;
    }
    bool ok = write_image(c, error);
    if (!c->stopped) {
        job_leave(job);
    }
    if (ok) {
        job_add_progress(job, 1);
    }
    return ok ? 0 : -EIO;
}

static void create_free(Job *job)
{
    CreateJob *c = (CreateJob *)job;
    event_loop_cancel_task(event_loop_main(), &c->task);
    if (c->creation) {
        c->creation->free(c->creation);
    }
    if (c->backend) {
        node_refresh_length(c->file);
        node_length_changed(c->file);
        block_backend_detach(c->backend);
    }
    if (c->file) {
        block_node_unref(c->file);
    }
    g_clear_error(&c->error);
    g_clear_pointer(&c->options, opts_free);
    g_free(c->filename);
}

static const JobDriver create_driver = {
    .type = "create",
    .size = sizeof(CreateJob),
    .run = create_run,
    .free = create_free,
    .no_block_job = true,
};

/* ---- The options ---- */

/* QMP's names of a format's options, where they are not those of `create -o` with '-' for '_'. */
static const struct {
    const char *qmp, *own;
} other_names[] = { { "version", "compat" }, { "encrypt.key-secret", "encrypt.key-secret" } };

static bool has_option(const BlockDriver *driver, const char *name)
{
    for (const BlockCreateOption *o = driver->image->create_options; o && o->name; o++) {
        if (!strcmp(o->name, name)) {
            return true;
        }
    }
    return false;
}

static char *own_name(const BlockDriver *driver, const char *key)
{
    for (size_t i = 0; i < G_N_ELEMENTS(other_names); i++) {
        if (!strcmp(other_names[i].qmp, key) && has_option(driver, other_names[i].own)) {
            return g_strdup(other_names[i].own);
        }
    }
    if (has_option(driver, key)) {
        return g_strdup(key);
    }
    g_autofree char *name = g_strdelimit(g_strdup(key), "-", '_');
    return has_option(driver, name) ? g_steal_pointer(&name) : NULL;
}

typedef struct Translation {
    const BlockDriver *driver;
    Opts *to;
    GError **error;
    bool failed;
} Translation;

static void translate(const char *key, const char *value, void *opaque)
{
    Translation *t = opaque;
    g_autofree char *name = own_name(t->driver, key);
    if (t->failed) {
        return;
    }
    if (!name) {
        t->failed = !error_set(t->error, "Parameter 'options.%s' is unexpected", key);
        return;
    }
    if (!strcmp(key, "data-file")) { /* a node's name: the image says its file's */
        BlockNode *node = block_node_find(value);
        if (!node || !node->filename) {
            t->failed = !error_set(
                t->error, "there is no node '%s' (query-named-block-nodes lists them)", value);
            return;
        }
        value = node->filename;
    }
    opts_set(t->to, name, value);
}

static bool take_size(CreateJob *c, Opts *options, GError **error)
{
    if (!opts_has(options, "size")) {
        return error_set(error, "Parameter 'size' is missing");
    }
    return opts_get_size(options, "size", &c->size, error) &&
           (c->size <= INT64_MAX ||
            error_set(error, "Parameter 'size' expects at most %" G_GINT64_FORMAT " bytes",
                      INT64_MAX));
}

/* What a plain file's job does by itself, in its own thread. */
static bool take_preallocation(CreateJob *c, Opts *options, GError **error)
{
    static const char *const modes[] = { "off", "falloc", "full", NULL };
    int mode = 0;
    if (strcmp(c->driver->name, "raw") != 0) {
        return true;
    }
    if (!opts_get_enum(options, "preallocation", modes, &mode, error)) {
        return false;
    }
    c->preallocate = mode > 0;
    c->full = mode == 2;
    opts_remove(options, "preallocation");
    return true;
}

/* "file": the job makes a file by name. */
static bool read_file_options(CreateJob *c, Opts *options, GError **error)
{
    static const char *const modes[] = { "off", "falloc", "full", NULL };
    const char *filename = opts_get(options, "filename");
    int mode = 0;
    if (!filename) {
        return error_set(error, "Parameter 'filename' is missing");
    }
    if (!opts_get_enum(options, "preallocation", modes, &mode, error)) {
        return false;
    }
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, c->size);
    c->filename = g_strdup(filename);
    c->preallocate = mode > 0;
    c->full = mode == 2;
    opts_set(c->options, "size", size);
    return opts_check_unused(options, "blockdev-create", NULL, error);
}

static bool read_format_options(CreateJob *c, Opts *options, GError **error)
{
    const char *file = opts_get(options, "file");
    BlockNode *node = file ? block_node_find(file) : NULL;
    Translation t = { c->driver, c->options, error, false };
    if (!node) {
        return error_set(error,
                         file ? "there is no node '%s' (query-named-block-nodes lists them)"
                              : "Parameter '%s' is missing",
                         file ? file : "file");
    }
    if (!take_preallocation(c, options, error)) {
        return false;
    }
    opts_remove(options, "file");
    opts_remove(options, "driver");
    c->file = block_node_ref(node);
    opts_foreach_all(options, translate, &t);
    return !t.failed;
}

static bool read_options(CreateJob *c, Opts *options, GError **error)
{
    c->options = opts_new();
    return take_size(c, options, error) &&
           (c->driver == &file_driver ? read_file_options(c, options, error)
                                      : read_format_options(c, options, error));
}

/* ---- The command ---- */

static const BlockDriver *find_driver(Opts *options, GError **error)
{
    const char *name = opts_get(options, "driver");
    const BlockDriver *driver = name ? block_driver_find(name) : NULL;
    if (!driver) {
        error_set(error,
                  name ? "'driver': nothing of the name '%s' can be created"
                       : "Parameter '%s' is missing",
                  name ? name : "driver");
        return NULL;
    }
    if (driver != &file_driver && (!driver->has_file || !driver->image || !driver->image->create)) {
        error_set(error, "images of this driver cannot be created");
        return NULL;
    }
    return driver;
}

static json_object *blockdev_create(const void *opaque, GError **error)
{
    const QmpBlockdevCreateArgs *args = opaque;
    g_autoptr(Opts) options = opts_from_json(args->options, error);
    const BlockDriver *driver = options ? find_driver(options, error) : NULL;
    Job *job = driver ? job_new(&create_driver, args->job_id, NULL, 0, error) : NULL;
    if (!job) {
        return NULL;
    }
    CreateJob *c = (CreateJob *)job;
    c->driver = driver;
    c->task = (LoopTask)LOOP_TASK_INIT(plan_here, c);
    job->auto_dismiss = false;
    if (!read_options(c, options, error) || (c->file && !job_claim(job, c->file, error))) {
        job_discard(job);
        return NULL;
    }
    job_start(job);
    return qmp_ok();
}

static const QmpHandler qmp[] = {
    { "blockdev-create", blockdev_create },
    { NULL },
};

const MonitorCommands create_commands = { .qmp = qmp };
