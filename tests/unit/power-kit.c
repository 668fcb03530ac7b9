/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See power-kit.h. */
#include "tests/unit/power-kit.h"

#include <errno.h>

#include "vmm/util/bytes.h"

#define FILE_LIMIT (512 * MIB) /* a slow job lets a busy guest's image grow */
#define AHEAD      (8 * KIB)   /* of what is written, as the file driver has it */

typedef enum EventKind { EVENT_WRITE, EVENT_FLUSH, EVENT_LENGTH } EventKind;

typedef struct PowerFile {
    Power *power;
    char *name;
    GByteArray *content, *first; /* now, and at the start */
    unsigned covered;            /* in power_cut(): moments up to here are safe */
} PowerFile;

typedef struct Event {
    EventKind kind;
    bool through; /* a write on stable storage when it ended */
    PowerFile *file;
    uint64_t offset, bytes;
    uint8_t *data;          /* NULL: zeroes */
    unsigned issued, ended; /* moments; ended 0: not yet */
} Event;

struct Power {
    GPtrArray *files;  /* of PowerFile */
    GPtrArray *events; /* of Event */
    unsigned tick;
    unsigned good, bad; /* so many more changes pass, and then so many fail */
};

Power *power_used;
static GMutex lock; /* guards what is in every Power */

/* ---- Life ---- */

static void file_free(void *opaque)
{
    PowerFile *file = opaque;
    g_byte_array_unref(file->content);
    g_byte_array_unref(file->first);
    g_free(file->name);
    g_free(file);
}

static void event_free(void *opaque)
{
    Event *e = opaque;
    g_free(e->data);
    g_free(e);
}

Power *power_new(void)
{
    Power *p = g_new0(Power, 1);
    p->files = g_ptr_array_new_with_free_func(file_free);
    p->events = g_ptr_array_new_with_free_func(event_free);
    return p;
}

void power_free(Power *p)
{
    g_ptr_array_unref(p->files);
    g_ptr_array_unref(p->events);
    g_free(p);
}

static PowerFile *find(Power *p, const char *name)
{
    for (guint i = 0; i < p->files->len; i++) {
        PowerFile *file = p->files->pdata[i];
        if (!strcmp(file->name, name)) {
            return file;
        }
    }
    return NULL;
}

static void set_length(GByteArray *content, uint64_t length)
{
    guint old = content->len;
    g_assert_cmpuint(length, <=, FILE_LIMIT);
    g_byte_array_set_size(content, (guint)length);
    if (length > old) {
        memset(content->data + old, 0, length - old);
    }
}

static void put(GByteArray *content, uint64_t offset, const uint8_t *data, uint64_t bytes)
{
    if (bytes && content->len < offset + bytes) {
        set_length(content, offset + bytes);
    }
    if (bytes && data) {
        memcpy(content->data + offset, data, bytes);
    } else if (bytes) {
        memset(content->data + offset, 0, bytes);
    }
}

void power_add_file(Power *p, const char *name, const void *data, uint64_t length)
{
    PowerFile *file = g_new0(PowerFile, 1);
    file->power = p;
    file->name = g_strdup(name);
    file->content = g_byte_array_new();
    file->first = g_byte_array_new();
    put(file->first, 0, data, length);
    put(file->content, 0, data, length);
    g_ptr_array_add(p->files, file);
}

unsigned power_tick(Power *p)
{
    g_mutex_lock(&lock);
    unsigned now = ++p->tick;
    g_mutex_unlock(&lock);
    return now;
}

unsigned power_time(Power *p)
{
    g_mutex_lock(&lock);
    unsigned now = p->tick;
    g_mutex_unlock(&lock);
    return now;
}

void power_break(Power *p, unsigned after, unsigned count)
{
    g_mutex_lock(&lock);
    p->good = after;
    p->bad = count;
    g_mutex_unlock(&lock);
}

uint8_t power_byte(Power *p, const char *name, uint64_t offset)
{
    const GByteArray *content = find(p, name)->content;
    return offset < content->len ? content->data[offset] : 0;
}

void power_save(Power *p, const char *name, const char *path)
{
    const GByteArray *content = find(p, name)->content;
    g_assert_true(g_file_set_contents(path, (char *)content->data, content->len, NULL));
}

/* ---- The driver ---- */

static PowerFile *file_of(const BlockNode *node)
{
    return *(PowerFile **)node->state;
}

static bool logged_open(BlockNode *node, Opts *options, GError **error)
{
    const char *name = opts_get(options, "filename");
    PowerFile *file = name ? find(power_used, name) : NULL;
    if (!file) {
        return error_set(error, "there is no logged file '%s'", name);
    }
    *(PowerFile **)node->state = file;
    atomic_store(&node->length, ALIGN_UP(file->content->len, POWER_SECTOR));
    atomic_store(&node->reach, file->content->len);
    node->filename = g_strdup(name);
    node->limits = (BlockLimits){ .request_alignment = 1,
                                  .logical_block = POWER_SECTOR,
                                  .physical_block = POWER_SECTOR,
                                  .max_iov = 1024,
                                  .discard_granularity = POWER_SECTOR,
                                  .has_write_zeroes = true };
    return true;
}

static void logged_close(BlockNode *node)
{
}

/* With the lock. data: taken over. */
static Event *log_event(PowerFile *file, EventKind kind, uint64_t offset, uint64_t bytes,
                        uint8_t *data)
{
    Event *e = g_new(Event, 1);
    *e = (Event){ .kind = kind,
                  .file = file,
                  .offset = offset,
                  .bytes = bytes,
                  .data = data,
                  .issued = ++file->power->tick };
    g_ptr_array_add(file->power->events, e);
    if (kind == EVENT_WRITE) {
        put(file->content, offset, data, bytes);
    } else if (kind == EVENT_LENGTH) {
        set_length(file->content, offset);
    }
    return e;
}

static uint64_t inside(const PowerFile *file, uint64_t offset, uint64_t bytes)
{
    uint64_t length = file->content->len;
    return offset < length ? MIN(bytes, length - offset) : 0;
}

/* With the lock: whether this change fails. */
static bool is_broken(Power *p)
{
    if (p->good) {
        p->good--;
        return false;
    }
    p->bad -= p->bad > 0;
    return p->bad > 0;
}

static void logged_failed(void *opaque)
{
    block_request_complete(opaque, -EIO);
}

static void logged_ended(void *opaque)
{
    BlockRequest *request = opaque;
    PowerFile *file = file_of(request->node);
    g_mutex_lock(&lock);
    if (request->guard) {
        ((Event *)request->guard)->ended = ++file->power->tick;
        request->guard = NULL;
    }
    g_mutex_unlock(&lock);
    block_request_complete(request, 0);
}

/* With the lock. */
static void grow(BlockNode *node, uint64_t end)
{
    PowerFile *file = file_of(node);
    if (end > file->content->len) {
        set_length(file->content, end + AHEAD);
        Event *e = log_event(file, EVENT_LENGTH, end + AHEAD, 0, NULL);
        e->ended = ++file->power->tick;
        atomic_store(&node->reach, end + AHEAD);
    }
}

static Event *log_write(PowerFile *file, BlockRequest *request, uint64_t bytes)
{
    uint8_t *data = g_malloc(bytes + 1);
    iov_copy(request->kiov, request->kiov_count, 0, data, bytes, false);
    Event *e = log_event(file, EVENT_WRITE, request->position, bytes, data);
    e->through = request->kflags & BLOCK_REQ_FUA;
    return e;
}

static void read_into(const PowerFile *file, BlockRequest *request)
{
    uint64_t there = inside(file, request->position, request->bytes);
    if (there) {
        iov_copy(request->kiov, request->kiov_count, 0, file->content->data + request->position,
                 there, true);
    }
    iov_zero_from(request->kiov, request->kiov_count, there);
}

static void logged_submit(BlockNode *node, BlockRequest *request)
{
    PowerFile *file = file_of(node);
    request->node = node;
    g_mutex_lock(&lock);
    bool changes = request->kind != BLOCK_READ && request->kind != BLOCK_STATUS;
    bool broken = changes && is_broken(file->power);
    request->guard = NULL;
    if (request->kind == BLOCK_WRITE || request->kind == BLOCK_WRITE_ZEROES) {
        grow(node, request->position + request->bytes);
    }
    switch (broken && request->kind != BLOCK_WRITE ? BLOCK_POPULATE : request->kind) {
    case BLOCK_READ:
        read_into(file, request);
        break;
    case BLOCK_WRITE:
        request->guard =
            log_write(file, request,
                      broken ? request->bytes / 2 / POWER_SECTOR * POWER_SECTOR : request->bytes);
        break;
    case BLOCK_DISCARD:
    case BLOCK_WRITE_ZEROES:
        request->guard = log_event(file, EVENT_WRITE, request->position, request->bytes, NULL);
        break;
    case BLOCK_STATUS:
        *request->status = (BlockStatus){ .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED |
                                                   BLOCK_STATUS_OFFSET,
                                          .bytes = request->bytes,
                                          .host_offset = request->position,
                                          .file = node };
        break;
    case BLOCK_POPULATE: /* it fails, and changes nothing */
        break;
    default:
        request->guard = log_event(file, EVENT_FLUSH, 0, 0, NULL);
        break;
    }
    if (broken) {
        request->guard = NULL;
    }
    g_mutex_unlock(&lock);
    request->task = (LoopTask)LOOP_TASK_INIT(broken ? logged_failed : logged_ended, request);
    event_loop_defer(request->loop, &request->task);
}

static int logged_transfer(BlockNode *node, uint64_t offset, void *data, uint64_t bytes, bool write)
{
    PowerFile *file = file_of(node);
    g_mutex_lock(&lock);
    bool broken = write && is_broken(file->power);
    if (broken) {
        bytes = bytes / 2 / POWER_SECTOR * POWER_SECTOR;
    }
    if (write) {
        grow(node, offset + bytes);
        Event *e = log_event(file, EVENT_WRITE, offset, bytes, g_memdup2(data, bytes + !bytes));
        e->ended = broken ? 0 : ++file->power->tick;
    } else {
        uint64_t there = inside(file, offset, bytes);
        if (there) {
            memcpy(data, file->content->data + offset, there);
        }
        memset((uint8_t *)data + there, 0, bytes - there);
    }
    g_mutex_unlock(&lock);
    return broken ? -EIO : 0;
}

static int logged_flush(BlockNode *node)
{
    PowerFile *file = file_of(node);
    g_mutex_lock(&lock);
    if (is_broken(file->power)) {
        g_mutex_unlock(&lock);
        return -EIO;
    }
    Event *e = log_event(file, EVENT_FLUSH, 0, 0, NULL);
    e->ended = ++file->power->tick;
    g_mutex_unlock(&lock);
    return 0;
}

static void logged_refresh(BlockNode *node)
{
    g_mutex_lock(&lock);
    atomic_store(&node->length, ALIGN_UP(file_of(node)->content->len, POWER_SECTOR));
    g_mutex_unlock(&lock);
}

static bool logged_resize(BlockNode *node, uint64_t size, GError **error)
{
    PowerFile *file = file_of(node);
    g_mutex_lock(&lock);
    Event *e = log_event(file, EVENT_LENGTH, size, 0, NULL);
    e->ended = ++file->power->tick;
    atomic_store(&node->reach, size);
    g_mutex_unlock(&lock);
    atomic_store(&node->length, size);
    node_length_changed(node);
    return true;
}

static const char *const logged_options[] = { "filename", NULL };
const BlockDriver power_driver = {
    .name = "logged",
    .desc = "A file in memory that remembers",
    .state_size = sizeof(PowerFile *),
    .options = logged_options,
    .open = logged_open,
    .close = logged_close,
    .submit = logged_submit,
    .transfer = logged_transfer,
    .flush = logged_flush,
    .refresh = logged_refresh,
    .resize = logged_resize,
};

/* ---- The power fails ---- */

/* The moments until which flushes that had ended by `when` cover each file. */
static void find_covered(Power *p, unsigned when)
{
    for (guint i = 0; i < p->files->len; i++) {
        ((PowerFile *)p->files->pdata[i])->covered = 0;
    }
    for (guint i = 0; i < p->events->len; i++) {
        const Event *e = p->events->pdata[i];
        if (e->kind == EVENT_FLUSH && e->ended && e->ended <= when) {
            e->file->covered = MAX(e->file->covered, e->issued);
        }
    }
}

/* chance: of a sector that nothing covers, in quarters. */
static void replay(const Event *e, GByteArray *content, bool sure, int chance, GRand *rand)
{
    if (e->kind == EVENT_LENGTH) {
        if (sure || g_rand_int_range(rand, 0, 4) < chance) {
            set_length(content, e->offset);
        }
        return;
    }
    for (uint64_t at = 0; at < e->bytes;) {
        uint64_t n = MIN(e->bytes - at, POWER_SECTOR - ((e->offset + at) & (POWER_SECTOR - 1)));
        if (sure) {
            n = e->bytes;
        }
        if (sure || g_rand_int_range(rand, 0, 4) < chance) {
            put(content, e->offset + at, e->data ? e->data + at : NULL, n);
        }
        at += n;
    }
}

Power *power_cut(Power *p, unsigned when, GRand *rand)
{
    Power *cut = power_new();
    int chance = g_rand_int_range(rand, 0, 5);
    g_mutex_lock(&lock);
    find_covered(p, when);
    for (guint i = 0; i < p->files->len; i++) {
        PowerFile *file = p->files->pdata[i];
        power_add_file(cut, file->name, file->first->data, file->first->len);
    }
    for (guint i = 0; i < p->events->len; i++) {
        const Event *e = p->events->pdata[i];
        if (e->kind == EVENT_FLUSH || e->issued > when) {
            continue;
        }
        bool sure = e->ended && (e->ended <= e->file->covered || (e->through && e->ended <= when));
        replay(e, find(cut, e->file->name)->content, sure, chance, rand);
    }
    for (guint i = 0; i < cut->files->len; i++) {
        PowerFile *file = cut->files->pdata[i];
        g_byte_array_set_size(file->first, 0);
        put(file->first, 0, file->content->data, file->content->len);
    }
    g_mutex_unlock(&lock);
    return cut;
}

/* ---- Images ---- */

BlockNode *power_open(const char *name, const char *format, const char *more,
                      const BlockOpenMode *mode, GError **error)
{
    g_autofree char *text =
        g_strdup_printf("file.driver=logged,file.filename=%s%s%s", name, *more ? "," : "", more);
    g_autoptr(Opts) options = opts_parse(text, NULL, error);
    return options ? block_image_open(NULL, format, options, mode, error) : NULL;
}

BlockCheckResult power_check(const char *name, unsigned fix)
{
    g_autoptr(GError) error = NULL;
    BlockCheckResult result = { 0 };
    BlockOpenMode mode = { .writable = fix != 0, .for_check = true, .no_backing = true };
    BlockNode *node = power_open(name, "qcow2", "", &mode, &error);
    g_assert_no_error(error);
    g_assert_true(block_node_image_ops(node)->check(node, fix, &result, &error));
    g_assert_no_error(error);
    block_node_unref(node);
    return result;
}
