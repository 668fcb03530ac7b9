/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzes virtqueues: the input is what a driver put into guest memory, and what it does then. A
 * device echoes; whatever the driver does, the process stays sound and an index stays in its ring.
 *
 * Input: byte 0: ring features; byte 1: size; then steps: what to do, and its arguments.
 */
#include "tests/unit/fake-driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_HELD 32

static VirtqRequest *held[MAX_HELD];
static unsigned held_count;

static void touch(VirtqRequest *request)
{
    uint8_t bytes[64];
    virtq_read(request, bytes, MIN(request->out_bytes, sizeof(bytes)));
    virtq_write(request, 0, bytes, sizeof(bytes));
    uint8_t *status = virtq_take_status(request);
    if (status) {
        *status = 0;
    }
}

static void handle(VirtQueue *vq)
{
    VirtqRequest *request;
    while ((request = virtq_pop(vq))) {
        touch(request);
        if (request->out_bytes % 3 == 1 && held_count < MAX_HELD && !vq->in_order) {
            held[held_count++] = request;
        } else if (request->out_bytes % 7 == 2) {
            virtq_unpop(request);
            virtq_block(vq);
            return;
        } else {
            virtq_push(request, request->in_bytes);
        }
    }
}

static void release(void)
{
    while (held_count) {
        virtq_push(held[--held_count], 1);
    }
}

/* What is left of the input; zeroes behind its end. */
typedef struct Input {
    const uint8_t *data;
    size_t left;
} Input;

static uint8_t take8(Input *in)
{
    if (!in->left) {
        return 0;
    }
    in->left--;
    return *in->data++;
}

static uint16_t take16(Input *in)
{
    uint16_t low = take8(in);
    return low | take8(in) << 8;
}

/* A chain as a driver would write it, of buffers as it would not. */
static void add_chain(FakeDriver *f, Input *in, bool indirect)
{
    static const uint64_t bases[] = { DATA_BASE, RAM_SIZE - 0x100, 2 * RAM_SIZE - 0x100,
                                      RING_BASE, USED_BASE,        UINT64_MAX - 0xfff };
    Buffer buffers[16];
    unsigned count = 1 + take8(in) % G_N_ELEMENTS(buffers);
    for (unsigned i = 0; i < count; i++) {
        uint8_t kind = take8(in);
        buffers[i] = (Buffer){ .addr = bases[kind % 32 % G_N_ELEMENTS(bases) * (kind % 32 < 6)] +
                                       take16(in) % 0x1000,
                               .len = kind & 0x40 ? take16(in) % 0x2000 : 1 + kind % 64,
                               .write = kind & 0x80 || i == 15 };
    }
    if (indirect) {
        fake_add_indirect(f, buffers, count);
    } else {
        fake_add(f, buffers, MIN(count, f->num));
    }
}

static void raw_write(FakeDriver *f, Input *in)
{
    uint64_t addr = RING_BASE + 2ULL * take16(in);
    for (unsigned len = take8(in) % 32; len; len--) {
        *guest(f, addr++) = take8(in);
    }
}

static void run(FakeDriver *f)
{
    VirtQueue *vq = &f->vdev.queues[0];
    if (vq->started) {
        vq->blocked = false;
        vq->run_task.run(vq);
        virtq_flush(vq);
    }
}

static void restart(FakeDriver *f)
{
    release();
    virtio_set_status(&f->vdev, 0);
    memset(guest(f, RING_BASE), 0, DATA_BASE - RING_BASE);
    f->avail_idx = f->used_seen = f->next_desc = f->next_id = 0;
    f->avail_wrap = f->used_wrap = true;
    fake_start(f);
}

/* Saves the queue in the middle of its work and loads it into a new one. */
static void migrate(FakeDriver *f)
{
    VirtQueue *vq = &f->vdev.queues[0];
    g_autoptr(GByteArray) saved = g_byte_array_new();
    uint16_t num = vq->max_size;
    virtio_device_quiesce(&f->vdev);
    state_save(&virtq_state, vq, saved);
    virtq_cleanup(vq);
    held_count = 0;
    virtio_queue_init(&f->vdev, 0, num, sizeof(VirtqRequest), event_loop_main(), handle, NULL);
    const uint8_t *cursor = saved->data;
    state_load(&virtq_state, vq, &cursor, saved->data + saved->len, NULL);
    virtio_device_resume(&f->vdev);
}

static void act(FakeDriver *f, Input *in)
{
    uint8_t action = take8(in);
    switch (action % 16) {
    case 0:
        release();
        break;
    case 1:
        virtio_device_quiesce(&f->vdev);
        virtio_device_resume(&f->vdev);
        break;
    case 2:
        restart(f);
        break;
    case 3:
        migrate(f);
        break;
    case 4:
    case 5:
        raw_write(f, in);
        break;
    case 6:
    case 7:
    case 8:
        add_chain(f, in, true);
        break;
    case 9:
    case 10:
    case 11:
    case 12:
        add_chain(f, in, false);
        break;
    default:
        break;
    }
    if (action & 0x80) {
        run(f);
    }
}

static uint64_t ring_features(uint8_t byte)
{
    static const unsigned bits[] = { VIRTIO_F_RING_PACKED, VIRTIO_F_INDIRECT_DESC,
                                     VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER };
    uint64_t features = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(bits); i++) {
        features |= byte >> i & 1 ? VIRTIO_FEATURE(bits[i]) : 0;
    }
    return features;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input in = { .data = data, .left = size };
    uint64_t features = ring_features(take8(&in));
    uint8_t num = take8(&in);
    bool packed = features & VIRTIO_FEATURE(VIRTIO_F_RING_PACKED);
    held_count = 0;
    FakeDriver *f =
        fake_new(features, packed ? 1 + num % 64 : 1 << num % 7, sizeof(VirtqRequest), handle);
    fake_start(f);
    while (in.left) {
        act(f, &in);
    }
    release();
    fake_free(f);
    return 0;
}
