/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Groups of disks that share I/O limits (`-object throttle-group`, `-drive throttling.*`). Six
 * leaky buckets, bytes and operations of reads, writes and both, decide when a request may go;
 * several loops share a group under its lock. Waiting requests are let go by a thread of its own,
 * so that neither a busy loop nor one that waits for its requests can hold them up.
 */
#ifndef VMM_OBJECT_THROTTLE_GROUP_H
#define VMM_OBJECT_THROTTLE_GROUP_H

#include "vmm/cli/opts.h"
#include "vmm/event/loop.h"
#include "vmm/object/object.h"

enum {
    THROTTLE_BPS_TOTAL,
    THROTTLE_BPS_READ,
    THROTTLE_BPS_WRITE,
    THROTTLE_IOPS_TOTAL,
    THROTTLE_IOPS_READ,
    THROTTLE_IOPS_WRITE,
    THROTTLE_LIMITS,
};

typedef struct ThrottleLimit {
    uint64_t avg;    /* a second; 0: no limit */
    uint64_t max;    /* a second in a burst; 0: no bursts */
    uint64_t length; /* seconds a burst may last; 0 and 1: one */
} ThrottleLimit;

typedef struct ThrottleConfig {
    ThrottleLimit limits[THROTTLE_LIMITS];
    uint64_t iops_size; /* bytes that count as one operation; 0: any */
} ThrottleConfig;

/* Names of the limits, as in "iops-total"; with "-max" and "-max-length" behind. */
extern const char *const throttle_limit_names[THROTTLE_LIMITS];
/* Reads iops-total, iops-total-max, iops-total-max-length ..., iops-size. */
bool throttle_config_parse(ThrottleConfig *config, Opts *options, GError **error);
bool throttle_config_check(const ThrottleConfig *config, GError **error);
bool throttle_config_enabled(const ThrottleConfig *config);

typedef struct ThrottleGroup ThrottleGroup;
typedef struct ThrottleTicket ThrottleTicket;
typedef struct ThrottleMember ThrottleMember;

/* A request that may have to wait: part of it. */
struct ThrottleTicket {
    LoopTask task; /* runs on loop when it may go; set by the user */
    EventLoop *loop;
    uint64_t bytes;
    ThrottleTicket *next;
};

/* A disk in a group. */
struct ThrottleMember {
    ThrottleGroup *group; /* NULL: none */
    ThrottleMember *next, *prev;
    ThrottleTicket *waiting[2], **waiting_tail[2]; /* reads, writes */
    unsigned drained;                              /* limits are off while it is drained */
};

/* Main thread. Each has a reference; `create` makes a missing one, else NULL and an error. */
ThrottleGroup *throttle_group_get(const char *name, bool create, GError **error);
void throttle_group_unref(ThrottleGroup *group);
const char *throttle_group_name(const ThrottleGroup *group);
void throttle_group_config(ThrottleGroup *group, ThrottleConfig *config);
/* Takes effect at once, also for what waits. */
void throttle_group_set(ThrottleGroup *group, const ThrottleConfig *config);

/* Main thread; no request of the member comes meanwhile. Joining takes a reference; leaving lets
 * everything go. */
void throttle_member_join(ThrottleMember *member, ThrottleGroup *group);
void throttle_member_leave(ThrottleMember *member);
/* Everything that waits goes, and nothing waits until the end. Nests. Main thread. */
void throttle_member_drain(ThrottleMember *member, bool begin);
/* True: go at once. False: ticket->task runs when it is its turn. Any loop. */
bool throttle_member_pass(ThrottleMember *member, bool write, ThrottleTicket *ticket);

extern const ObjectClass throttle_group_class;

#endif
