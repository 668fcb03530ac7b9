/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-balloon (VIRTIO 1.2, 5.5): memory that the guest gives up, by inflating or by reporting
 * free pages, goes back to the host.
 */
#include <string.h>
#include "hw/devices.h"
#include "hw/virtio/mmio.h"
#include "hw/virtio/pci.h"
#include "hw/virtio/virtqueue-internal.h"
#include "vmm/monitor/balloon.h"
#include "vmm/monitor/monitor.h"
#include "vmm/object/iothread.h"
#include "vmm/util/bytes.h"

enum {
    VIRTIO_BALLOON_F_STATS_VQ = 1,
    VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 2,
    VIRTIO_BALLOON_F_PAGE_POISON = 4,
    VIRTIO_BALLOON_F_REPORTING = 5,
};

/* struct virtio_balloon_config, by offset. */
enum { CONFIG_NUM_PAGES = 0, CONFIG_ACTUAL = 4, CONFIG_POISON = 12, CONFIG_LEN = 16 };

#define PAGE_SHIFT  12
#define QUEUE_SIZE  128
#define REPORT_SIZE 32
#define MAX_PFNS    16384 /* of one request; the rest stays with the guest */
#define STAT_LEN    10    /* tag and value, packed */

static const char *const stat_names[] = {
    "stat-swap-in",      "stat-swap-out",     "stat-major-faults",     "stat-minor-faults",
    "stat-free-memory",  "stat-total-memory", "stat-available-memory", "stat-disk-caches",
    "stat-htlb-pgalloc", "stat-htlb-pgfail",
};
#define STAT_COUNT G_N_ELEMENTS(stat_names)

typedef struct VirtioBalloon {
    VirtioDevice vdev;
    /* properties */
    bool deflate_on_oom, free_page_reporting, page_poison;
    uint32_t stats_interval; /* seconds; main thread */
    char *iothread;
    /* as realized */
    EventLoop *loop;
    bool has_iothread;
    Timer stats_timer;
    uint32_t interval; /* stats_interval for the loop; atomic */
    /* the loop's */
    VirtqRequest *stats_request; /* goes back to the guest when new statistics are wanted */
    GMutex stats_lock;           /* leaf: the next two */
    uint64_t stats[STAT_COUNT];
    int64_t stats_time; /* seconds since 1970; 0: never */
} VirtioBalloon;

/* ---- Giving memory back; the loop ---- */

static void discard(VirtioBalloon *balloon, uint64_t addr, uint64_t len)
{
    RamBlock *block;
    uint64_t offset;
    /* What is no RAM, or RAM that cannot be given back, stays as it is. */
    if (len && dma_find_ram(balloon->vdev.memory, addr, len, &block, &offset) && !block->readonly) {
        ram_block_discard(block, offset, len);
    }
}

/* Page numbers, joined where they follow each other in either direction. */
static void inflate(VirtioBalloon *balloon, VirtqRequest *request)
{
    uint64_t start = 0, len = 0;
    uint32_t pfn;
    for (unsigned i = 0; i < MAX_PFNS && virtq_read(request, &pfn, sizeof(pfn)); i++) {
        uint64_t addr = (uint64_t)pfn << PAGE_SHIFT;
        if (len && addr == start + len) {
            len += 1 << PAGE_SHIFT;
        } else if (len && addr + (1 << PAGE_SHIFT) == start) {
            start = addr;
            len += 1 << PAGE_SHIFT;
        } else {
            discard(balloon, start, len);
            start = addr;
            len = 1 << PAGE_SHIFT;
        }
    }
    discard(balloon, start, len);
}

static void handle_inflate(VirtQueue *vq)
{
    VirtqRequest *request;
    while ((request = virtq_pop(vq))) {
        inflate((VirtioBalloon *)vq->vdev, request);
        virtq_push(request, 0);
    }
}

/* Pages that the guest takes back come by themselves when it touches them. */
static void handle_deflate(VirtQueue *vq)
{
    VirtqRequest *request;
    while ((request = virtq_pop(vq))) {
        virtq_push(request, 0);
    }
}

static bool is_poisoned(VirtioBalloon *balloon)
{
    uint8_t poison[4];
    virtio_config_get(&balloon->vdev, CONFIG_POISON, poison, sizeof(poison));
    return virtio_has_feature(&balloon->vdev, VIRTIO_BALLOON_F_PAGE_POISON) && load_le32(poison);
}

static void handle_report(VirtQueue *vq)
{
    VirtioBalloon *balloon = (VirtioBalloon *)vq->vdev;
    VirtqRequest *request;
    while ((request = virtq_pop(vq))) {
        bool keep = is_poisoned(balloon);
        for (unsigned i = 0; i < request->in_count && !keep; i++) {
            uint64_t addr;
            if (dma_guest_address(vq->memory, request->in[i].iov_base, &addr)) {
                discard(balloon, addr, request->in[i].iov_len);
            }
        }
        virtq_push(request, 0);
    }
}

/* ---- Statistics; the loop ---- */

static void take_stats(VirtioBalloon *balloon, VirtqRequest *request)
{
    uint8_t stat[STAT_LEN];
    g_mutex_lock(&balloon->stats_lock);
    for (unsigned i = 0; i < 64 && virtq_read(request, stat, sizeof(stat)); i++) {
        unsigned tag = load_le16(stat);
        if (tag < STAT_COUNT) {
            balloon->stats[tag] = load_le64(stat + 2);
        }
    }
    balloon->stats_time = g_get_real_time() / G_USEC_PER_SEC;
    g_mutex_unlock(&balloon->stats_lock);
}

static void arm_stats(VirtioBalloon *balloon)
{
    uint32_t interval = __atomic_load_n(&balloon->interval, __ATOMIC_ACQUIRE);
    if (interval) {
        timer_arm(&balloon->stats_timer, clock_now(VM_CLOCK_VIRTUAL) + interval * NS_PER_SEC);
    }
}

static void handle_stats(VirtQueue *vq)
{
    VirtioBalloon *balloon = (VirtioBalloon *)vq->vdev;
    VirtqRequest *request;
    while ((request = virtq_pop(vq))) {
        /* The driver has one buffer at a time; another one sends the first back. */
        if (balloon->stats_request) {
            virtq_push(balloon->stats_request, 0);
        }
        take_stats(balloon, request);
        balloon->stats_request = request;
        arm_stats(balloon);
    }
}

static void stats_timer_fire(void *opaque)
{
    VirtioBalloon *balloon = opaque;
    if (balloon->stats_request && balloon->stats_request->vq->started) {
        virtq_push(balloon->stats_request, 0);
        balloon->stats_request = NULL;
    } else {
        arm_stats(balloon);
    }
}

/* Queues behind the first two exist as the features say, without gaps. */
static void handle_other(VirtQueue *vq)
{
    bool stats = virtio_has_feature(vq->vdev, VIRTIO_BALLOON_F_STATS_VQ);
    if (vq->index == 2 && stats) {
        handle_stats(vq);
    } else {
        handle_report(vq);
    }
}

/* ---- The monitor; main thread ---- */

static void set_target(void *opaque, uint64_t bytes)
{
    VirtioBalloon *balloon = opaque;
    uint64_t ram = balloon->vdev.dev->machine->ram->size;
    uint8_t pages[4];
    store_le32(pages, (ram - MIN(bytes, ram)) >> PAGE_SHIFT);
    virtio_config_set(&balloon->vdev, CONFIG_NUM_PAGES, pages, sizeof(pages), true);
}

static uint64_t actual(void *opaque)
{
    VirtioBalloon *balloon = opaque;
    uint64_t ram = balloon->vdev.dev->machine->ram->size;
    uint8_t pages[4];
    virtio_config_get(&balloon->vdev, CONFIG_ACTUAL, pages, sizeof(pages));
    return ram - MIN((uint64_t)load_le32(pages) << PAGE_SHIFT, ram);
}

static const BalloonOps balloon_ops = { .set_target = set_target, .actual = actual };

static json_object *guest_stats(const void *base)
{
    VirtioBalloon *balloon = (VirtioBalloon *)base;
    json_object *stats = json_object_new_object();
    json_object *result = json_object_new_object();
    if (balloon->vdev.dev) {
        g_mutex_lock(&balloon->stats_lock);
        for (unsigned i = 0; i < STAT_COUNT; i++) {
            json_object_object_add(stats, stat_names[i], json_object_new_uint64(balloon->stats[i]));
        }
        g_mutex_unlock(&balloon->stats_lock);
    }
    json_object_object_add(result, "last-update", json_object_new_int64(balloon->stats_time));
    json_object_object_add(result, "stats", stats);
    return result;
}

static void restart_stats(void *opaque)
{
    VirtioBalloon *balloon = opaque;
    timer_cancel(&balloon->stats_timer);
    arm_stats(balloon);
}

static void interval_changed(void *base)
{
    VirtioBalloon *balloon = base;
    __atomic_store_n(&balloon->interval, balloon->stats_interval, __ATOMIC_RELEASE);
    event_loop_call(balloon->loop, restart_stats, balloon);
}

static const Property virtio_balloon_props[] = {
    PROP_BOOL("deflate-on-oom", VirtioBalloon, deflate_on_oom, false,
              "Let the guest take memory back before it runs out"),
    PROP_BOOL("free-page-reporting", VirtioBalloon, free_page_reporting, true,
              "Give memory that is free in the guest back to the host"),
    PROP_BOOL("page-poison", VirtioBalloon, page_poison, true,
              "Respect the pattern that the guest fills free pages with"),
    PROP_FIELD("guest-stats-polling-interval", PROP_TYPE_U32, VirtioBalloon, stats_interval,
               "Seconds between statistics from the guest; 0: none", .live = true,
               .changed = interval_changed),
    PROP_REF("iothread", VirtioBalloon, iothread, "iothread", "The I/O thread of all queues"),
    PROP_COMPUTED("guest-stats", guest_stats, "What the guest said last of its memory"),
    PROP_END,
};

/* ---- Life ---- */

static void balloon_config_written(VirtioDevice *vdev, uint32_t offset, uint32_t len)
{
    if (offset < CONFIG_ACTUAL + 4) {
        json_object *data = json_object_new_object();
        json_object_object_add(data, "actual", json_object_new_uint64(actual(vdev)));
        monitor_emit("BALLOON_CHANGE", data);
    }
}

static void forget_stats(VirtioBalloon *balloon)
{
    balloon->stats_request = NULL;
    memset(balloon->stats, 0xff, sizeof(balloon->stats));
    balloon->stats_time = 0;
}

static void balloon_reset(VirtioDevice *vdev)
{
    VirtioBalloon *balloon = (VirtioBalloon *)vdev;
    static const uint8_t zero[4];
    g_mutex_lock(&balloon->stats_lock);
    forget_stats(balloon);
    g_mutex_unlock(&balloon->stats_lock);
    virtio_config_set(vdev, CONFIG_ACTUAL, zero, sizeof(zero), false);
    virtio_config_set(vdev, CONFIG_POISON, zero, sizeof(zero), false);
}

static void cancel_timer(void *opaque)
{
    timer_cancel(&((VirtioBalloon *)opaque)->stats_timer);
}

static void balloon_unrealize(VirtioDevice *vdev)
{
    VirtioBalloon *balloon = (VirtioBalloon *)vdev;
    balloon_unregister(balloon);
    event_loop_call(balloon->loop, cancel_timer, balloon);
    if (balloon->has_iothread) {
        iothread_release(balloon->iothread);
    }
    g_mutex_clear(&balloon->stats_lock);
}

static bool make_queues(VirtioBalloon *balloon, GError **error)
{
    VirtioDevice *vdev = &balloon->vdev;
    unsigned count = balloon->free_page_reporting ? 4 : 3;
    VirtqHandler *handlers[] = { handle_inflate, handle_deflate, handle_other, handle_other };
    virtio_queues_new(vdev, count);
    for (unsigned i = 0; i < count; i++) {
        if (!virtio_queue_init(vdev, i, i == 3 ? REPORT_SIZE : QUEUE_SIZE, sizeof(VirtqRequest),
                               balloon->loop, handlers[i], error)) {
            return false;
        }
    }
    return true;
}

static bool balloon_realize(VirtioDevice *vdev, GError **error)
{
    VirtioBalloon *balloon = (VirtioBalloon *)vdev;
    if (!balloon_register(&balloon_ops, balloon, error)) {
        return false;
    }
    balloon->loop = balloon->iothread ? iothread_claim(balloon->iothread, error)
                                      : machine_io_loop(vdev->dev->machine, error);
    if (!balloon->loop) {
        balloon_unregister(balloon);
        return false;
    }
    balloon->has_iothread = balloon->iothread != NULL;
    balloon->interval = balloon->stats_interval;
    g_mutex_init(&balloon->stats_lock);
    timer_init(&balloon->stats_timer, balloon->loop, VM_CLOCK_VIRTUAL, NULL, stats_timer_fire,
               balloon);
    forget_stats(balloon);
    if (!make_queues(balloon, error)) {
        balloon_unrealize(vdev);
        return false;
    }
    vdev->host_features |=
        VIRTIO_FEATURE(VIRTIO_BALLOON_F_STATS_VQ) |
        (balloon->deflate_on_oom ? VIRTIO_FEATURE(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) : 0) |
        (balloon->page_poison ? VIRTIO_FEATURE(VIRTIO_BALLOON_F_PAGE_POISON) : 0) |
        (balloon->free_page_reporting ? VIRTIO_FEATURE(VIRTIO_BALLOON_F_REPORTING) : 0);
    return true;
}

static const VirtioDeviceClass virtio_balloon = {
    .name = "virtio-balloon",
    .id = VIRTIO_ID_BALLOON,
    .legacy_pci_id = 0x1002,
    .pci_class = 0x00ff00,
    .config_len = CONFIG_LEN,
    .realize = balloon_realize,
    .unrealize = balloon_unrealize,
    .reset = balloon_reset,
    .config_written = balloon_config_written,
    .config_write_start = CONFIG_ACTUAL,
    .config_write_len = CONFIG_LEN - CONFIG_ACTUAL,
};

static const StateField virtio_balloon_fields[] = {
    STATE_STRUCT(VirtioBalloon, vdev, &virtio_device_state),
    STATE_TIMER(VirtioBalloon, stats_timer),
    STATE_END,
};

static const StateSection virtio_balloon_state = { .name = "virtio-balloon",
                                                   .version = 1,
                                                   .fields = virtio_balloon_fields };

VIRTIO_PCI_CLASSES(virtio_balloon, "virtio-balloon", VirtioBalloon, &virtio_balloon,
                   virtio_balloon_props, &virtio_balloon_state,
                   .desc = "Memory balloon with free page reporting (virtio 1.2)",
                   .category = DEVICE_CATEGORY_MISC);
VIRTIO_MMIO_CLASS(virtio_balloon, "virtio-balloon", VirtioBalloon, &virtio_balloon,
                  virtio_balloon_props, &virtio_balloon_state,
                  .desc = "Memory balloon with free page reporting (virtio 1.2)",
                  .category = DEVICE_CATEGORY_MISC);
