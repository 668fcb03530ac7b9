/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter "blkdebug": injects faults by rules, as QEMU's. An event makes its rules the active
 * ones; a request that an active rule fits fails with its errno. Ours besides: `delay-ns` lets it
 * wait before, `short` lets the first half of its data through.
 */
#include <errno.h>
#include "block/internal.h"

#define MAX_RULES 64

typedef enum DebugEvent {
    EVENT_NONE, /* active from the beginning */
    EVENT_READ_AIO,
    EVENT_WRITE_AIO,
    EVENT_WRITE_ZEROES,
    EVENT_FLUSH_TO_OS,
    EVENT_FLUSH_TO_DISK,
    EVENTS,
} DebugEvent;

static const char *const event_names[] = {
    "none", "read_aio", "write_aio", "pwritev_zero", "flush_to_os", "flush_to_disk", NULL,
};
static const char *const iotype_names[] = { "read",    "write", "write-zeroes",
                                            "discard", "flush", "block-status",
                                            NULL };
static const BlockOp iotype_ops[] = { BLOCK_READ,    BLOCK_WRITE, BLOCK_WRITE_ZEROES,
                                      BLOCK_DISCARD, BLOCK_FLUSH, BLOCK_STATUS };

typedef struct DebugRule {
    bool used;
    bool sets_state;
    int event;
    uint64_t state; /* in which the rule holds; 0: any */
    uint64_t new_state;
    uint64_t error; /* an errno; 0: none */
    int iotype;     /* -1: all but block-status */
    bool has_sector;
    uint64_t sector;
    bool once, short_transfer;
    uint64_t delay_ns;
    bool active;
} DebugRule;

typedef struct DebugState {
    GMutex lock; /* leaf */
    uint64_t state;
    DebugRule rules[MAX_RULES];
    unsigned count;
} DebugState;

/* ---- Rules ---- */

/* Lock held. */
static void raise_event(DebugState *s, DebugEvent event)
{
    uint64_t state = s->state;
    bool injected = false;
    for (unsigned i = 0; i < s->count; i++) {
        DebugRule *rule = &s->rules[i];
        if (!rule->used || rule->event != (int)event || (rule->state && rule->state != state)) {
            continue;
        }
        if (rule->sets_state) {
            s->state = rule->new_state;
            continue;
        }
        for (unsigned j = 0; !injected && j < s->count; j++) {
            s->rules[j].active = false;
        }
        injected = true;
        rule->active = true;
    }
}

static bool rule_fits(const DebugRule *rule, const BlockRequest *request)
{
    uint64_t at = rule->sector * 512;
    if (!rule->active || (rule->iotype < 0 && request->kind == BLOCK_STATUS) ||
        (rule->iotype >= 0 && iotype_ops[rule->iotype] != request->kind)) {
        return false;
    }
    return !rule->has_sector ||
           (at >= request->position && at - request->position < request->bytes);
}

/* What happens to the request: false when nothing does. */
static bool find_fault(DebugState *s, const BlockRequest *request, DebugRule *fault)
{
    static const DebugEvent events[] = { [BLOCK_READ] = EVENT_READ_AIO,
                                         [BLOCK_WRITE] = EVENT_WRITE_AIO,
                                         [BLOCK_FLUSH] = EVENT_FLUSH_TO_OS,
                                         [BLOCK_WRITE_ZEROES] = EVENT_WRITE_ZEROES,
                                         [BLOCK_STATUS] = EVENT_NONE };
    bool found = false;
    g_mutex_lock(&s->lock);
    if (events[request->kind] != EVENT_NONE) {
        raise_event(s, events[request->kind]);
    }
    if (request->kind == BLOCK_FLUSH) {
        raise_event(s, EVENT_FLUSH_TO_DISK);
    }
    for (unsigned i = 0; !found && i < s->count; i++) {
        DebugRule *rule = &s->rules[i];
        found = rule_fits(rule, request);
        if (found) {
            *fault = *rule;
            rule->used &= !rule->once;
            rule->active &= !rule->once;
        }
    }
    g_mutex_unlock(&s->lock);
    return found;
}

/* ---- Requests ---- */

typedef struct Fault {
    BlockNode *node;
    BlockRequest *request;
    DebugRule rule;
    Timer timer;
    BlockRequest below;
    struct iovec *iov;
} Fault;

static void fault_end(Fault *fault)
{
    BlockRequest *request = fault->request;
    int error = (int)fault->rule.error;
    g_free(fault->iov);
    g_free(fault);
    block_request_complete_later(request, -error);
}

static void half_done(BlockRequest *below, int ret)
{
    block_request_release(below);
    fault_end(below->opaque);
}

static void submit_half(Fault *fault)
{
    BlockRequest *request = fault->request;
    uint64_t bytes = request->bytes / 2 / 512 * 512, left = bytes;
    int count;
    fault->iov = iov_rest(request->kiov, request->kiov_count, 0, request->kiov_count, &count);
    for (int i = 0; i < count; i++) {
        fault->iov[i].iov_len = MIN(fault->iov[i].iov_len, left);
        left -= fault->iov[i].iov_len;
        count = left ? count : i + 1;
    }
    block_request_init(&fault->below, request->loop, request->kind, request->position, bytes,
                       fault->iov, count, request->kflags, half_done, fault);
    block_node_submit(fault->node->file, &fault->below);
}

static void fault_go(void *opaque)
{
    Fault *fault = opaque;
    BlockRequest *request = fault->request;
    bool data = request->kind == BLOCK_READ || request->kind == BLOCK_WRITE;
    if (!fault->rule.error) {
        BlockNode *below = fault->node->file;
        g_free(fault);
        block_node_submit(below, request);
    } else if (fault->rule.short_transfer && data && request->bytes >= 1024) {
        submit_half(fault);
    } else {
        fault_end(fault);
    }
}

static void debug_submit(BlockNode *node, BlockRequest *request)
{
    DebugRule rule;
    if (!find_fault(node->state, request, &rule)) {
        block_node_submit(node->file, request);
        return;
    }
    Fault *fault = g_new0(Fault, 1);
    fault->node = node;
    fault->request = request;
    fault->rule = rule;
    if (!rule.delay_ns) {
        fault_go(fault);
        return;
    }
    timer_init(&fault->timer, request->loop, VM_CLOCK_REALTIME, NULL, fault_go, fault);
    timer_arm(&fault->timer, clock_now(VM_CLOCK_REALTIME) + (int64_t)rule.delay_ns);
}

/* ---- Options ---- */

static bool parse_rule(DebugRule *rule, Opts *o, GError **error)
{
    const char *key = rule->sets_state ? "set-state" : "inject-error";
    bool immediately = false; /* faults never end inside the submitting call, with or without it */
    if (!opts_has(o, "event")) {
        return error_set(error, "%s needs 'event'", key);
    }
    rule->iotype = -1;
    rule->error = EIO;
    rule->has_sector = opts_has(o, "sector");
    if (!opts_get_enum(o, "event", event_names, &rule->event, error) ||
        !opts_get_uint(o, "state", G_MAXINT, &rule->state, error)) {
        return false;
    }
    if (rule->sets_state) {
        return opts_has(o, "new_state")
                   ? opts_get_uint(o, "new_state", G_MAXINT, &rule->new_state, error)
                   : error_set(error, "set-state needs 'new_state'");
    }
    return opts_get_uint(o, "errno", 4095, &rule->error, error) &&
           opts_get_enum(o, "iotype", iotype_names, &rule->iotype, error) &&
           opts_get_uint(o, "sector", INT64_MAX / 512, &rule->sector, error) &&
           opts_get_bool(o, "once", &rule->once, error) &&
           opts_get_bool(o, "immediately", &immediately, error) &&
           opts_get_uint(o, "delay-ns", INT64_MAX / 2, &rule->delay_ns, error) &&
           opts_get_bool(o, "short", &rule->short_transfer, error);
}

/* KEY.0.event=..., KEY.1.event=... */
static bool parse_rules(DebugState *s, Opts *options, const char *key, bool sets_state,
                        GError **error)
{
    g_autoptr(Opts) all = opts_take_prefix(options, key);
    for (unsigned i = 0; all; i++) {
        g_autofree char *index = g_strdup_printf("%u", i);
        g_autoptr(Opts) one = opts_take_prefix(all, index);
        if (!one) {
            return opts_check_unused(all, key, NULL, error);
        }
        if (s->count == MAX_RULES) {
            return error_set(error, "blkdebug takes at most %d rules", MAX_RULES);
        }
        DebugRule *rule = &s->rules[s->count++];
        rule->used = true;
        rule->sets_state = sets_state;
        if (!parse_rule(rule, one, error) || !opts_check_unused(one, key, NULL, error)) {
            g_prefix_error(error, "%s.%u: ", key, i);
            return false;
        }
    }
    return true;
}

static void debug_refresh(BlockNode *node)
{
    atomic_store(&node->length, block_node_length(node->file));
}

static bool debug_open(BlockNode *node, Opts *options, GError **error)
{
    DebugState *s = node->state;
    s->state = 1;
    if (opts_has(options, "config")) {
        return error_set(error,
                         "blkdebug: 'config' is not available in this version of Vireo: give "
                         "the rules as inject-error.0.event=... and set-state.0.event=...");
    }
    if (!parse_rules(s, options, "inject-error", false, error) ||
        !parse_rules(s, options, "set-state", true, error)) {
        return false;
    }
    g_mutex_init(&s->lock);
    node->filename = g_strdup(node->file->filename);
    node->limits = node->file->limits;
    debug_refresh(node);
    raise_event(s, EVENT_NONE);
    return true;
}

static void debug_close(BlockNode *node)
{
    g_mutex_clear(&((DebugState *)node->state)->lock);
}

static bool debug_resize(BlockNode *node, uint64_t size, GError **error)
{
    return block_resize(node->file, size, error);
}

static const char *const debug_options[] = { "image", "inject-error", "set-state", "config", NULL };

const BlockDriver blkdebug_driver = {
    .name = "blkdebug",
    .desc = "Injects errors, delays and short transfers",
    .state_size = sizeof(DebugState),
    .has_file = true,
    .is_filter = true,
    .file_option = "image",
    .options = debug_options,
    .open = debug_open,
    .close = debug_close,
    .submit = debug_submit,
    .resize = debug_resize,
    .refresh = debug_refresh,
};
