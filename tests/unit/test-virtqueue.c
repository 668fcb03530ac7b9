/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtqueues against a fake driver: what a good one gets, and what a bad one cannot do. */
#include "tests/unit/fake-driver.h"

#define SPLIT    0
#define PACKED   VIRTIO_FEATURE(VIRTIO_F_RING_PACKED)
#define INDIRECT VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC)
#define EVENT    VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX)
#define ORDERED  VIRTIO_FEATURE(VIRTIO_F_IN_ORDER)

/* ---- Devices ---- */

/* Copies what is readable to what is writable. */
static void echo(VirtQueue *vq)
{
    VirtqRequest *request;
    while ((request = virtq_pop(vq))) {
        uint8_t data[4096];
        uint32_t len = MIN(request->out_bytes, sizeof(data));
        g_assert_true(virtq_read(request, data, len));
        virtq_push(request, virtq_write(request, 0, data, len));
    }
}

static VirtqRequest *held[VIRTQ_MAX_SIZE];
static unsigned held_count;

/* Keeps all; the test completes them. */
static void hold(VirtQueue *vq)
{
    VirtqRequest *request;
    while ((request = virtq_pop(vq))) {
        held[held_count++] = request;
    }
}

static FakeDriver *holding(uint64_t features, unsigned num)
{
    held_count = 0;
    FakeDriver *f = fake_new(features, num, sizeof(VirtqRequest), hold);
    fake_start(f);
    return f;
}

static FakeDriver *echoing(uint64_t features, unsigned num)
{
    FakeDriver *f = fake_new(features, num, sizeof(VirtqRequest), echo);
    fake_start(f);
    return f;
}

static bool is_broken(FakeDriver *f)
{
    return virtio_get_status(&f->vdev) & VIRTIO_STATUS_NEEDS_RESET;
}

static const Buffer echo_buffers[] = { { DATA_BASE, 100, false },
                                       { DATA_BASE + 0x1000, 28, false },
                                       { DATA_BASE + 0x2000, 200, true } };

/* ---- A good driver ---- */

static void check_echo(FakeDriver *f, bool indirect)
{
    uint16_t id, used_id = 0;
    uint32_t len = 0;
    memset(guest(f, DATA_BASE), 0x11, 100);
    memset(guest(f, DATA_BASE + 0x1000), 0x22, 28);
    memset(guest(f, DATA_BASE + 0x2000), 0, 200);
    id = indirect ? fake_add_indirect(f, echo_buffers, 3) : fake_add(f, echo_buffers, 3);
    fake_kick(f);
    g_assert_true(fake_used(f, indirect ? 1 : 3, &used_id, &len));
    g_assert_cmpuint(used_id, ==, id);
    g_assert_cmpuint(len, ==, 128);
    g_assert_cmphex(guest(f, DATA_BASE + 0x2000)[99], ==, 0x11);
    g_assert_cmphex(guest(f, DATA_BASE + 0x2000)[127], ==, 0x22);
    g_assert_cmphex(guest(f, DATA_BASE + 0x2000)[128], ==, 0);
    g_assert_false(is_broken(f));
}

static void test_round_trip(gconstpointer data)
{
    uint64_t features = *(const uint64_t *)data;
    FakeDriver *f = echoing(features | INDIRECT, 8);
    for (int i = 0; i < 100; i++) {
        check_echo(f, false);
        check_echo(f, true);
    }
    fake_free(f);
}

/* The 16-bit index of a split ring runs over, a packed ring wraps thousands of times. */
static void test_index_wrap(gconstpointer data)
{
    FakeDriver *f = echoing(*(const uint64_t *)data, 4);
    VirtQueue *vq = &f->vdev.queues[0];
    uint16_t id = 0;
    uint32_t len = 0;
    for (int i = 0; i < 70000; i++) {
        fake_add(f, echo_buffers, 3);
        vq->budget = 4;
        echo(vq);
        virtq_flush(vq);
        g_assert_true(fake_used(f, 3, &id, &len));
        g_assert_cmpuint(len, ==, 128);
    }
    settle();
    fake_free(f);
}

static void test_spanning_buffer(gconstpointer data)
{
    FakeDriver *f = holding(*(const uint64_t *)data, 8);
    Buffer buffers[] = { { RAM_SIZE - 100, 300, true } };
    fake_add(f, buffers, 1);
    fake_kick(f);
    g_assert_cmpuint(held_count, ==, 1);
    g_assert_cmpuint(held[0]->in_count, ==, 2);
    g_assert_cmpuint(held[0]->in_bytes, ==, 300);
    g_assert_cmpuint(held[0]->in[0].iov_len, ==, 100);
    g_assert_true(held[0]->in[1].iov_base == f->ram[1]->host);
    virtq_push(held[0], 0);
    settle();
    fake_free(f);
}

static void test_long_chain(gconstpointer data)
{
    FakeDriver *f = holding(*(const uint64_t *)data | INDIRECT, 64);
    Buffer buffers[60];
    for (int i = 0; i < 60; i++) {
        buffers[i] = (Buffer){ DATA_BASE + i * 64, 16, i >= 30 };
    }
    fake_add(f, buffers, 60);
    fake_add_indirect(f, buffers, 60);
    fake_kick(f);
    g_assert_cmpuint(held_count, ==, 2);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpuint(held[i]->out_count, ==, 30);
        g_assert_cmpuint(held[i]->in_count, ==, 30);
        g_assert_true(held[i]->in[29].iov_base == guest(f, DATA_BASE + 59 * 64));
        virtq_push(held[i], 0);
    }
    settle();
    fake_free(f);
}

static void test_one_interrupt_for_a_batch(gconstpointer data)
{
    FakeDriver *f = echoing(*(const uint64_t *)data, 32);
    for (int i = 0; i < 8; i++) {
        fake_add(f, echo_buffers, 3);
    }
    f->interrupts = 0;
    fake_kick(f);
    g_assert_cmpuint(f->interrupts, ==, 1);
    fake_free(f);
}

static void test_interrupts_suppressed(gconstpointer data)
{
    FakeDriver *f = echoing(*(const uint64_t *)data, 8);
    if (f->packed) {
        store_le16(guest(f, AVAIL_BASE) + 2, VRING_PACKED_EVENT_DISABLE);
    } else {
        split_avail(f)->flags = VRING_AVAIL_NO_INTERRUPT;
    }
    fake_add(f, echo_buffers, 3);
    fake_kick(f);
    g_assert_cmpuint(f->interrupts, ==, 0);
    fake_free(f);
}

/* With the event index the driver says after which completion it wants to know. */
static void test_event_index(gconstpointer data)
{
    FakeDriver *f = echoing(*(const uint64_t *)data | EVENT, 8);
    if (f->packed) {
        store_le16(guest(f, AVAIL_BASE), 3 | 0x8000); /* the slot of the second completion */
        store_le16(guest(f, AVAIL_BASE) + 2, VRING_PACKED_EVENT_DESC);
    } else {
        split_avail(f)->ring[f->num] = 1;
    }
    fake_add(f, echo_buffers, 3);
    fake_kick(f);
    g_assert_cmpuint(f->interrupts, ==, 0);
    fake_add(f, echo_buffers, 3);
    fake_kick(f);
    g_assert_cmpuint(f->interrupts, ==, 1);
    fake_free(f);
}

static void test_unpop(gconstpointer data)
{
    FakeDriver *f = holding(*(const uint64_t *)data, 4);
    VirtQueue *vq = &f->vdev.queues[0];
    for (int round = 0; round < 10; round++) {
        uint16_t id = fake_add(f, echo_buffers, 3);
        vq->budget = 1;
        VirtqRequest *first = virtq_pop(vq);
        g_assert_nonnull(first);
        virtq_unpop(first);
        g_assert_cmpuint(virtq_inflight(vq), ==, 0);
        VirtqRequest *again = virtq_pop(vq);
        g_assert_nonnull(again);
        g_assert_cmpuint(again->id, ==, id);
        uint32_t len = 0;
        virtq_push(again, 0);
        virtq_flush(vq);
        g_assert_true(fake_used(f, 3, &id, &len));
    }
    settle();
    fake_free(f);
}

static void test_in_order(gconstpointer data)
{
    FakeDriver *f = holding(*(const uint64_t *)data | ORDERED, 16);
    uint16_t ids[3], id = 0;
    uint32_t len = 0;
    for (int i = 0; i < 3; i++) {
        ids[i] = fake_add(f, echo_buffers, 3);
    }
    fake_kick(f);
    virtq_push(held[2], 0);
    virtq_push(held[1], 0);
    settle();
    g_assert_false(fake_used(f, 3, &id, &len));
    virtq_push(held[0], 0);
    settle();
    for (int i = 0; i < 3; i++) {
        g_assert_true(fake_used(f, 3, &id, &len));
        g_assert_cmpuint(id, ==, ids[i]);
    }
    fake_free(f);
}

static void test_out_of_order(gconstpointer data)
{
    FakeDriver *f = holding(*(const uint64_t *)data, 16);
    uint16_t ids[3], id = 0;
    uint32_t len = 0;
    for (int round = 0; round < 20; round++) {
        held_count = 0;
        for (int i = 0; i < 3; i++) {
            ids[i] = fake_add(f, echo_buffers, 3);
        }
        fake_kick(f);
        g_assert_cmpuint(held_count, ==, 3);
        for (int i = 2; i >= 0; i--) {
            virtq_push(held[i], i);
        }
        settle();
        for (int i = 2; i >= 0; i--) {
            g_assert_true(fake_used(f, 3, &id, &len));
            g_assert_cmpuint(id, ==, ids[i]);
            g_assert_cmpuint(len, ==, i);
        }
    }
    fake_free(f);
}

/* ---- HARDENING 3: a driver that never stops has one ring's worth a turn ---- */

static FakeDriver *endless_driver;
static unsigned endless_turn;

static void endless(VirtQueue *vq)
{
    VirtqRequest *request;
    endless_turn = 0;
    while ((request = virtq_pop(vq))) {
        endless_turn++;
        g_assert_cmpuint(endless_turn, <=, vq->num);
        virtq_push(request, 0);
        virtq_flush(vq);
        fake_add(endless_driver, echo_buffers, 1);
    }
}

static void test_drain_is_bounded(gconstpointer data)
{
    FakeDriver *f = fake_new(*(const uint64_t *)data, 8, sizeof(VirtqRequest), endless);
    endless_driver = f;
    fake_start(f);
    fake_add(f, echo_buffers, 1);
    event_notifier_signal(&f->vdev.queues[0].kick);
    for (int i = 0; i < 10; i++) {
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpuint(endless_turn, ==, 8);
    g_assert_false(is_broken(f));
    fake_free(f);
}

/* ---- A bad driver: HARDENING 2, 4, 5, 6, 8, 24 ---- */

typedef struct BadChain {
    const char *name;
    Buffer buffers[4];
    unsigned count;
} BadChain;

static const BadChain bad_chains[] = {
    { "zero-length", { { DATA_BASE, 0, false } }, 1 },
    { "zero-length-second", { { DATA_BASE, 4, false }, { DATA_BASE, 0, true } }, 2 },
    { "not-ram", { { 0xfee00000, 16, true } }, 1 },
    { "end-of-ram", { { 2 * RAM_SIZE - 8, 16, true } }, 1 },
    { "wrapping", { { UINT64_MAX - 7, 16, true } }, 1 },
    { "whole-space", { { 0, UINT32_MAX, true } }, 1 },
    { "writable-first", { { DATA_BASE, 4, true }, { DATA_BASE, 4, false } }, 2 },
    { "four-gib-in-all", { { DATA_BASE, 4, true }, { 0, UINT32_MAX, true } }, 2 },
};

static void check_broken(FakeDriver *f)
{
    g_assert_cmpuint(held_count, ==, 0);
    g_assert_true(is_broken(f));
    g_assert_cmpuint(f->config_interrupts, ==, 1);
    g_assert_cmpuint(virtq_inflight(&f->vdev.queues[0]), ==, 0);
    /* Quiet until the reset. */
    fake_add(f, echo_buffers, 1);
    fake_kick(f);
    g_assert_cmpuint(held_count, ==, 0);
    virtio_set_status(&f->vdev, 0);
    g_assert_cmpuint(virtio_get_status(&f->vdev), ==, 0);
    /* And as new afterwards. */
    memset(guest(f, 0), 0, DATA_BASE);
    f->avail_idx = f->used_seen = f->next_desc = f->next_id = 0;
    f->avail_wrap = f->used_wrap = true;
    fake_start(f);
    fake_add(f, echo_buffers, 3);
    fake_kick(f);
    g_assert_cmpuint(held_count, ==, 1);
    g_assert_false(is_broken(f));
    virtq_push(held[0], 0);
    settle();
    fake_free(f);
}

static void test_bad_chains(gconstpointer data)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(bad_chains); i++) {
        for (int indirect = 0; indirect < 2; indirect++) {
            const BadChain *bad = &bad_chains[i];
            FakeDriver *f = holding(*(const uint64_t *)data | INDIRECT, 8);
            if (indirect) {
                fake_add_indirect(f, bad->buffers, bad->count);
            } else {
                fake_add(f, bad->buffers, bad->count);
            }
            fake_kick(f);
            check_broken(f);
        }
    }
}

/* Raw descriptors: what fake_add() would never write. */
static void add_raw(FakeDriver *f, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
    if (f->packed) {
        uint16_t first = f->avail_idx, first_flags = 0;
        packed_put(f, (VringPackedDesc){ addr, len, next, flags }, true, &first_flags);
        packed_desc(f, first)->flags = first_flags;
    } else {
        uint16_t at = f->next_desc++ % f->num;
        *split_desc(f, at) = (VringDesc){ addr, len, flags, next };
        split_publish(f, at);
    }
}

static void test_bad_indirect_tables(gconstpointer data)
{
    static const struct {
        uint64_t features, addr;
        uint32_t len;
        uint16_t flags;
    } cases[] = {
        { INDIRECT, TABLE_BASE, 0, VRING_DESC_INDIRECT },
        { INDIRECT, TABLE_BASE, 17, VRING_DESC_INDIRECT },
        { INDIRECT, TABLE_BASE, 0xfffffff0, VRING_DESC_INDIRECT },
        { INDIRECT, 0xfee00000, 16, VRING_DESC_INDIRECT },
        { INDIRECT, TABLE_BASE, 16, VRING_DESC_INDIRECT | VRING_DESC_NEXT },
        { 0, TABLE_BASE, 16, VRING_DESC_INDIRECT },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        FakeDriver *f = holding(*(const uint64_t *)data | cases[i].features, 8);
        add_raw(f, cases[i].addr, cases[i].len, cases[i].flags, 0);
        fake_kick(f);
        check_broken(f);
    }
}

static void test_nested_indirect(gconstpointer data)
{
    FakeDriver *f = holding(*(const uint64_t *)data | INDIRECT, 8);
    uint8_t *entry = guest(f, TABLE_BASE);
    store_le64(entry, TABLE_BASE);
    store_le32(entry + 8, 16);
    store_le16(entry + (f->packed ? 14 : 12), VRING_DESC_INDIRECT);
    add_raw(f, TABLE_BASE, 16, VRING_DESC_INDIRECT, 0);
    fake_kick(f);
    check_broken(f);
}

static void test_endless_indirect(void)
{
    FakeDriver *f = holding(INDIRECT, 8);
    for (int i = 0; i < 2; i++) {
        uint8_t *entry = guest(f, TABLE_BASE + 16 * i);
        store_le64(entry, DATA_BASE);
        store_le32(entry + 8, 1);
        store_le16(entry + 12, VRING_DESC_NEXT);
        store_le16(entry + 14, !i);
    }
    add_raw(f, TABLE_BASE, 32, VRING_DESC_INDIRECT, 0);
    fake_kick(f);
    check_broken(f);
}

static void test_looping_chain(void)
{
    FakeDriver *f = holding(SPLIT, 8);
    *split_desc(f, 0) = (VringDesc){ DATA_BASE, 4, VRING_DESC_NEXT, 1 };
    *split_desc(f, 1) = (VringDesc){ DATA_BASE, 4, VRING_DESC_NEXT, 0 };
    split_publish(f, 0);
    fake_kick(f);
    check_broken(f);
}

static void test_endless_packed_chain(void)
{
    FakeDriver *f = holding(PACKED, 8);
    for (int i = 0; i < 8; i++) {
        add_raw(f, DATA_BASE, 4, VRING_DESC_NEXT, 0);
    }
    fake_kick(f);
    check_broken(f);
}

static void test_head_out_of_range(void)
{
    FakeDriver *f = holding(SPLIT, 8);
    split_publish(f, 8);
    fake_kick(f);
    check_broken(f);
}

static void test_next_out_of_range(void)
{
    FakeDriver *f = holding(SPLIT, 8);
    add_raw(f, DATA_BASE, 4, VRING_DESC_NEXT, 0xffff);
    fake_kick(f);
    check_broken(f);
}

static void test_avail_index_jump(void)
{
    FakeDriver *f = holding(SPLIT, 8);
    split_avail(f)->idx = f->avail_idx += 9;
    fake_kick(f);
    check_broken(f);
}

static void test_head_twice_in_flight(gconstpointer data)
{
    FakeDriver *f = holding(*(const uint64_t *)data, 8);
    fake_add(f, echo_buffers, 1);
    fake_kick(f);
    g_assert_cmpuint(held_count, ==, 1);
    if (f->packed) {
        f->next_id = 0;
        fake_add(f, echo_buffers, 1);
    } else {
        split_publish(f, 0);
    }
    fake_kick(f);
    g_assert_cmpuint(held_count, ==, 1);
    g_assert_true(is_broken(f));
    /* The one in flight still comes back, and is not published. */
    virtq_push(held[0], 0);
    settle();
    uint16_t id = 0;
    uint32_t len = 0;
    g_assert_false(fake_used(f, 1, &id, &len));
    held_count = 0;
    check_broken(f);
}

static void check_bad_ring(uint64_t features, uint64_t desc, uint64_t avail, uint64_t used,
                           uint16_t size)
{
    held_count = 0;
    FakeDriver *f = fake_new(features, 8, sizeof(VirtqRequest), hold);
    fake_negotiate(f);
    VirtQueue *vq = &f->vdev.queues[0];
    vq->desc_addr = desc;
    vq->avail_addr = avail;
    vq->used_addr = used;
    vq->size = size;
    virtio_set_status(&f->vdev, 15);
    g_assert_true(is_broken(f));
    check_broken(f);
}

static void test_bad_rings(gconstpointer data)
{
    uint64_t features = *(const uint64_t *)data;
    check_bad_ring(features, 0xfee00000, AVAIL_BASE, USED_BASE, 8);
    check_bad_ring(features, RING_BASE, UINT64_MAX - 3, USED_BASE, 8);
    check_bad_ring(features, RING_BASE, AVAIL_BASE, 2 * RAM_SIZE - (features ? 0 : 4), 8);
    check_bad_ring(features, RING_BASE + 8, AVAIL_BASE, USED_BASE, 8);
    check_bad_ring(features, RING_BASE, AVAIL_BASE + 1, USED_BASE, 8);
    check_bad_ring(features, RING_BASE, AVAIL_BASE, USED_BASE + 2, 8);
    /* Two blocks of RAM that are neighbours for the guest are not one piece. */
    check_bad_ring(features, RAM_SIZE - 64, AVAIL_BASE, USED_BASE, 8);
    if (!features) {
        check_bad_ring(features, RING_BASE, AVAIL_BASE, USED_BASE, 7);
    }
}

/* HARDENING 1 */
static void test_queue_locked_after_driver_ok(void)
{
    FakeDriver *f = echoing(SPLIT, 8);
    g_assert_null(virtio_queue_configurable(&f->vdev, 0));
    g_assert_null(virtio_queue_configurable(&f->vdev, 1));
    g_assert_null(virtio_queue_configurable(&f->vdev, UINT32_MAX));
    virtio_set_features(&f->vdev, 0, false);
    g_assert_true(virtio_has_feature(&f->vdev, VIRTIO_F_VERSION_1));
    check_echo(f, false);
    fake_free(f);
}

static void test_features_not_offered(void)
{
    FakeDriver *f = fake_new(SPLIT, 8, sizeof(VirtqRequest), echo);
    virtio_set_status(&f->vdev, 3);
    virtio_set_features(&f->vdev, f->vdev.host_features | PACKED, false);
    virtio_set_status(&f->vdev, 3 | VIRTIO_STATUS_FEATURES_OK);
    g_assert_cmphex(virtio_get_status(&f->vdev), ==, 3);
    virtio_set_status(&f->vdev, 15);
    g_assert_false(virtio_get_status(&f->vdev) & VIRTIO_STATUS_DRIVER_OK);
    g_assert_false(f->vdev.queues_running);
    fake_free(f);
}

/* ---- HARDENING 11: state with requests in flight ---- */

static void test_save_in_flight(gconstpointer data)
{
    FakeDriver *f = holding(*(const uint64_t *)data, 16);
    VirtQueue *vq = &f->vdev.queues[0];
    uint16_t ids[3], id = 0, header;
    uint32_t len = 0;
    for (int i = 0; i < 3; i++) {
        ids[i] = fake_add(f, echo_buffers, 3);
    }
    fake_kick(f);
    g_assert_cmpuint(held_count, ==, 3);
    virtq_push(held[1], 7);
    g_assert_true(virtq_read(held[0], &header, 2));
    g_assert_nonnull(virtq_take_status(held[0]));
    virtio_device_quiesce(&f->vdev);
    g_autoptr(GByteArray) saved = g_byte_array_new();
    state_save(&virtq_state, vq, saved);

    /* A new process: the same memory, a new queue. */
    virtq_cleanup(vq);
    g_assert_true(
        virtio_queue_init(&f->vdev, 0, 16, sizeof(VirtqRequest), event_loop_main(), hold, NULL));
    const uint8_t *cursor = saved->data;
    g_assert_true(state_load(&virtq_state, vq, &cursor, saved->data + saved->len, NULL));
    held_count = 0;
    virtio_device_resume(&f->vdev);
    settle();
    g_assert_false(is_broken(f));
    g_assert_cmpuint(held_count, ==, 2);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpuint(held[i]->out_bytes, ==, 128);
        g_assert_cmpuint(held[i]->in_bytes, ==, 200);
        virtq_push(held[i], 1);
    }
    settle();
    g_assert_true(fake_used(f, 3, &id, &len));
    g_assert_cmpuint(id, ==, ids[1]);
    g_assert_true(fake_used(f, 3, &id, &len));
    g_assert_true(fake_used(f, 3, &id, &len));
    g_assert_false(fake_used(f, 3, &id, &len));
    fake_free(f);
}

static void test_hostile_state(gconstpointer data)
{
    FakeDriver *f = holding(*(const uint64_t *)data, 16);
    VirtQueue *vq = &f->vdev.queues[0];
    fake_add(f, echo_buffers, 3);
    fake_kick(f);
    virtio_device_quiesce(&f->vdev);
    g_autoptr(GByteArray) saved = g_byte_array_new();
    state_save(&virtq_state, vq, saved);
    GRand *random = g_rand_new_with_seed(1);
    for (int i = 0; i < 3000; i++) {
        g_autofree uint8_t *copy = g_memdup2(saved->data, saved->len);
        copy[g_rand_int_range(random, 0, saved->len)] ^= 1 << g_rand_int_range(random, 0, 8);
        virtq_cleanup(vq);
        virtio_queue_init(&f->vdev, 0, 16, sizeof(VirtqRequest), event_loop_main(), hold, NULL);
        const uint8_t *cursor = copy;
        f->vdev.broken = false;
        if (state_load(&virtq_state, vq, &cursor, copy + saved->len, NULL)) {
            held_count = 0;
            virtio_device_resume(&f->vdev);
            for (unsigned n = 0; n < held_count; n++) {
                virtq_push(held[n], 0);
            }
            virtio_device_quiesce(&f->vdev);
        }
    }
    g_rand_free(random);
    fake_free(f);
}

static void test_pause_keeps_requests(gconstpointer data)
{
    FakeDriver *f = holding(*(const uint64_t *)data, 8);
    uint16_t id = 0;
    uint32_t len = 0;
    fake_add(f, echo_buffers, 3);
    fake_kick(f);
    virtio_device_quiesce(&f->vdev);
    fake_add(f, echo_buffers, 3);
    fake_kick(f);
    g_assert_cmpuint(held_count, ==, 1);
    virtio_device_resume(&f->vdev);
    settle();
    g_assert_cmpuint(held_count, ==, 2);
    virtq_push(held[0], 0);
    virtq_push(held[1], 0);
    settle();
    g_assert_true(fake_used(f, 3, &id, &len));
    g_assert_true(fake_used(f, 3, &id, &len));
    fake_free(f);
}

static void test_no_dma_without_bus_master(gconstpointer data)
{
    FakeDriver *f = holding(*(const uint64_t *)data, 8);
    virtio_set_dma_enabled(&f->vdev, false);
    fake_add(f, echo_buffers, 3);
    fake_kick(f);
    g_assert_cmpuint(held_count, ==, 0);
    virtio_set_dma_enabled(&f->vdev, true);
    settle();
    g_assert_cmpuint(held_count, ==, 1);
    virtq_push(held[0], 0);
    settle();
    fake_free(f);
}

/* ---- */

static const uint64_t split = SPLIT, packed = PACKED;

static void add_both(const char *name, GTestDataFunc test)
{
    g_autofree char *split_path = g_strdup_printf("/virtqueue/split/%s", name);
    g_autofree char *packed_path = g_strdup_printf("/virtqueue/packed/%s", name);
    g_test_add_data_func(split_path, &split, test);
    g_test_add_data_func(packed_path, &packed, test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_both("a-request-goes-and-comes-back", test_round_trip);
    add_both("indices-wrap", test_index_wrap);
    add_both("a-buffer-over-two-blocks-of-ram-is-two-pieces", test_spanning_buffer);
    add_both("long-chains", test_long_chain);
    add_both("a-batch-has-one-interrupt", test_one_interrupt_for_a_batch);
    add_both("interrupts-are-suppressed", test_interrupts_suppressed);
    add_both("event-index", test_event_index);
    add_both("a-pop-is-taken-back", test_unpop);
    add_both("in-order-completion", test_in_order);
    add_both("out-of-order-completion", test_out_of_order);
    add_both("an-endless-driver-has-bounded-turns", test_drain_is_bounded);
    add_both("malformed-chains-break-the-device", test_bad_chains);
    add_both("malformed-indirect-tables-break-the-device", test_bad_indirect_tables);
    add_both("nested-indirect-tables-break-the-device", test_nested_indirect);
    add_both("a-buffer-twice-in-flight-breaks-the-device", test_head_twice_in_flight);
    add_both("bad-rings-break-the-device", test_bad_rings);
    add_both("requests-in-flight-survive-a-save", test_save_in_flight);
    add_both("a-hostile-state-cannot-hurt", test_hostile_state);
    add_both("a-pause-keeps-requests", test_pause_keeps_requests);
    add_both("no-dma-without-bus-master", test_no_dma_without_bus_master);
    g_test_add_func("/virtqueue/split/endless-indirect-table", test_endless_indirect);
    g_test_add_func("/virtqueue/split/looping-chain", test_looping_chain);
    g_test_add_func("/virtqueue/packed/endless-chain", test_endless_packed_chain);
    g_test_add_func("/virtqueue/split/head-out-of-range", test_head_out_of_range);
    g_test_add_func("/virtqueue/split/next-out-of-range", test_next_out_of_range);
    g_test_add_func("/virtqueue/split/available-index-jump", test_avail_index_jump);
    g_test_add_func("/virtio/queues-are-locked-after-driver-ok", test_queue_locked_after_driver_ok);
    g_test_add_func("/virtio/features-not-offered-are-refused", test_features_not_offered);
    return g_test_run();
}
