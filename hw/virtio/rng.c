/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-rng (VIRTIO 1.2, 5.4): entropy for the guest, as much as the limit gives per period. */
#include "hw/devices.h"
#include "hw/virtio/mmio.h"
#include "hw/virtio/pci.h"
#include "vmm/object/iothread.h"
#include "vmm/object/rng.h"

#define QUEUE_SIZE    8
#define REQUEST_MAX   4096 /* bytes of one request that are filled */
#define RETRY_NS      (10 * NS_PER_MS)
#define MAX_UNLIMITED INT64_MAX

typedef struct VirtioRng {
    VirtioDevice vdev;
    /* properties */
    char *rng, *iothread;
    uint64_t max_bytes;
    uint32_t period_ms;
    /* as realized */
    Object *source; /* NULL: the kernel's generator */
    EventLoop *loop;
    bool has_iothread;
    Timer timer; /* the next period, or the next try of a source that was empty */
    /* the loop's; saved */
    uint64_t quota;
    bool empty; /* the source had nothing */
    VirtqRequest *waiting;
} VirtioRng;

static const Property virtio_rng_props[] = {
    PROP_REF("rng", VirtioRng, rng, "rng",
             "Where entropy comes from; the kernel when none is named"),
    PROP_FIELD("max-bytes", PROP_TYPE_U64, VirtioRng, max_bytes, "Bytes for each period at most",
               .def = MAX_UNLIMITED, .min = 1, .max = INT64_MAX),
    PROP_RANGE_U32("period", VirtioRng, period_ms, 65536, 1, UINT32_MAX,
                   "Milliseconds of a period"),
    PROP_REF("iothread", VirtioRng, iothread, "iothread", "The I/O thread of the queue"),
    PROP_END,
};

/* Fills what the source and the quota give; 0: nothing now. */
static uint32_t fill(VirtioRng *rng, VirtqRequest *request)
{
    uint32_t total = 0;
    uint64_t most = MIN(rng->quota, REQUEST_MAX);
    for (unsigned i = 0; i < request->in_count && total < most; i++) {
        const struct iovec *iov = &request->in[i];
        ssize_t n = rng_read(rng->source, iov->iov_base, MIN(iov->iov_len, most - total));
        if (n <= 0) {
            break;
        }
        total += n;
        if ((size_t)n < iov->iov_len) {
            break;
        }
    }
    rng->quota -= total;
    return total;
}

static void handle(VirtQueue *vq)
{
    VirtioRng *rng = (VirtioRng *)vq->vdev;
    VirtqRequest *request;
    while ((request = rng->waiting ? rng->waiting : virtq_pop(vq))) {
        uint32_t total = fill(rng, request);
        if (total == 0 && request->in_count) {
            rng->waiting = request;
            rng->empty = rng->quota != 0;
            virtq_block(vq);
            if (rng->empty || timer_expires(&rng->timer) < 0) {
                int64_t wait = rng->empty ? RETRY_NS : rng->period_ms * NS_PER_MS;
                timer_arm(&rng->timer, clock_now(VM_CLOCK_VIRTUAL) + wait);
            }
            return;
        }
        rng->waiting = NULL;
        virtq_push(request, total);
        if (rng->max_bytes != MAX_UNLIMITED && timer_expires(&rng->timer) < 0) {
            timer_arm(&rng->timer, clock_now(VM_CLOCK_VIRTUAL) + rng->period_ms * NS_PER_MS);
        }
    }
}

static void timer_fire(void *opaque)
{
    VirtioRng *rng = opaque;
    if (!rng->empty) {
        rng->quota = rng->max_bytes;
    }
    rng->empty = false;
    virtq_unblock(&rng->vdev.queues[0]);
}

static void cancel_timer(void *opaque)
{
    timer_cancel(&((VirtioRng *)opaque)->timer);
}

static void rng_reset(VirtioDevice *vdev)
{
    VirtioRng *rng = (VirtioRng *)vdev;
    rng->waiting = NULL;
    rng->empty = false;
}

static void rng_release_loop(VirtioRng *rng)
{
    if (rng->has_iothread) {
        iothread_release(rng->iothread);
        rng->has_iothread = false;
    }
}

static void rng_unrealize(VirtioDevice *vdev)
{
    VirtioRng *rng = (VirtioRng *)vdev;
    event_loop_call(rng->loop, cancel_timer, rng);
    if (rng->source) {
        rng->source->users--;
    }
    rng_release_loop(rng);
}

static bool find_source(VirtioRng *rng, GError **error)
{
    if (!rng->rng) {
        return true;
    }
    rng->source = object_find(rng->rng);
    if (!rng->source) {
        return error_set(error,
                         "rng object '%s' does not exist; make it with -object "
                         "rng-random,id=%s",
                         rng->rng, rng->rng);
    }
    if (rng->source->cls != &rng_builtin_class && rng->source->cls != &rng_random_class) {
        return error_set(error, "object '%s' is a %s, not a source of entropy", rng->rng,
                         rng->source->cls->name);
    }
    return true;
}

static bool rng_realize(VirtioDevice *vdev, GError **error)
{
    VirtioRng *rng = (VirtioRng *)vdev;
    rng->quota = rng->max_bytes;
    if (!find_source(rng, error)) {
        return false;
    }
    rng->loop = rng->iothread ? iothread_claim(rng->iothread, error)
                              : machine_io_loop(vdev->dev->machine, error);
    if (!rng->loop) {
        return false;
    }
    rng->has_iothread = rng->iothread != NULL;
    timer_init(&rng->timer, rng->loop, VM_CLOCK_VIRTUAL, NULL, timer_fire, rng);
    virtio_queues_new(vdev, 1);
    if (!virtio_queue_init(vdev, 0, QUEUE_SIZE, sizeof(VirtqRequest), rng->loop, handle, error)) {
        rng_release_loop(rng);
        return false;
    }
    if (rng->source) {
        rng->source->users++;
    }
    return true;
}

static const VirtioDeviceClass virtio_rng = {
    .name = "virtio-rng",
    .id = VIRTIO_ID_RNG,
    .legacy_pci_id = 0x1005,
    .pci_class = 0x00ff00,
    .realize = rng_realize,
    .unrealize = rng_unrealize,
    .reset = rng_reset,
};

static bool rng_post_load(void *base, uint16_t version, GError **error)
{
    VirtioRng *rng = base;
    rng->quota = MIN(rng->quota, rng->max_bytes);
    return true;
}

static const StateField virtio_rng_fields[] = {
    STATE_STRUCT(VirtioRng, vdev, &virtio_device_state),
    STATE_INT(VirtioRng, quota),
    STATE_BOOL(VirtioRng, empty),
    STATE_TIMER(VirtioRng, timer),
    STATE_END,
};

static const StateSection virtio_rng_state = {
    .name = "virtio-rng",
    .version = 1,
    .fields = virtio_rng_fields,
    .post_load = rng_post_load,
};

VIRTIO_PCI_CLASSES(virtio_rng, "virtio-rng", VirtioRng, &virtio_rng, virtio_rng_props,
                   &virtio_rng_state, .desc = "Paravirtual source of entropy (virtio 1.2)",
                   .category = DEVICE_CATEGORY_MISC);
VIRTIO_MMIO_CLASS(virtio_rng, "virtio-rng", VirtioRng, &virtio_rng, virtio_rng_props,
                  &virtio_rng_state, .desc = "Paravirtual source of entropy (virtio 1.2)",
                  .category = DEVICE_CATEGORY_MISC);
