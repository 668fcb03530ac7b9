/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bare KVM program's disk: virtio-mmio registers and one thread that polls the ring and an
 * io_uring, and sleeps only with requests in flight. It serves the benchmark guest only and checks
 * nothing. */
#include "bare-kvm.h"

#include <err.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define QUEUE_MAX 1024u
/* Polls without a completion before the thread sleeps for one, and so leaves the CPU to the
 * kernel's own workers. */
#define IDLE_ROUNDS  2000u
#define FEATURES_LOW ((1u << 9) | (1u << 28) | (1u << 29)) /* FLUSH, INDIRECT, EVENT_IDX */

typedef struct Desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
} Desc;

static uint8_t *guest_ram, *mapped;
static uint64_t ram_bytes, file_size;
static int disk_fd;
static struct io_uring ring;
static uint32_t features_select, status, queue_size = QUEUE_MAX;
static uint32_t address[6]; /* desc, driver, device: low, high */
static volatile bool ready;

static Desc *descs;
static volatile uint16_t *avail, *used;
static uint16_t last_avail, used_idx, queued, in_flight;

static void *guest(uint64_t addr)
{
    if (addr >= ram_bytes) {
        errx(1, "guest address %#lx", addr);
    }
    return guest_ram + addr;
}

static void complete(uint16_t head, bool ok)
{
    Desc *table = guest(descs[head].addr);
    volatile uint32_t *entry = (volatile uint32_t *)&used[2 + (used_idx % queue_size) * 4];

    *(uint8_t *)guest(table[2].addr) = ok ? 0 : 1;
    entry[0] = head;
    entry[1] = 1 + ((table[1].flags & 2) ? table[1].len : 0);
    used_idx++;
}

static void start_one(uint16_t head)
{
    Desc *table = guest(descs[head].addr);
    uint8_t *header = guest(table[0].addr), *data = guest(table[1].addr);
    struct io_uring_sqe *sqe;
    uint64_t offset;

    memcpy(&offset, header + 8, 8);
    offset *= 512;
    if (mapped != NULL) {
        if (table[1].flags & 2) {
            memcpy(data, mapped + offset, table[1].len);
        } else {
            memcpy(mapped + offset, data, table[1].len);
        }
        complete(head, true);
        return;
    }
    sqe = io_uring_get_sqe(&ring);
    if (table[1].flags & 2) {
        io_uring_prep_read(sqe, 0, data, table[1].len, offset);
    } else {
        io_uring_prep_write(sqe, 0, data, table[1].len, offset);
    }
    sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = head;
    queued++;
    in_flight++;
}

static void queue_poll(void)
{
    uint16_t now = avail[1];

    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    while (last_avail != now) {
        start_one(avail[2 + last_avail++ % queue_size]);
    }
    used[2 + queue_size * 4] = (uint16_t)(last_avail - 1); /* no doorbells */
    if (queued > 0) {
        io_uring_submit(&ring);
        queued = 0;
    }
}

/* Returns whether there were any. */
static bool completions_poll(void)
{
    struct io_uring_cqe *cqes[128];
    uint32_t n = mapped != NULL ? 0 : io_uring_peek_batch_cqe(&ring, cqes, 128);

    for (uint32_t i = 0; i < n; i++) {
        complete((uint16_t)cqes[i]->user_data, cqes[i]->res == 4096);
    }
    if (n > 0) {
        io_uring_cq_advance(&ring, n);
        in_flight = (uint16_t)(in_flight - n);
    }
    if (used[1] != used_idx) {
        __atomic_thread_fence(__ATOMIC_RELEASE);
        used[1] = used_idx;
    }
    return n > 0;
}

static void *io_thread(void *arg)
{
    (void)arg;
    if (mapped == NULL &&
        (io_uring_queue_init(QUEUE_MAX, &ring,
                             IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                                 IORING_SETUP_SINGLE_ISSUER) < 0 ||
         io_uring_register_files(&ring, &disk_fd, 1) < 0)) {
        errx(1, "io_uring");
    }
    while (!ready) {
        __builtin_ia32_pause();
    }
    for (uint32_t idle = 0;; idle++) {
        queue_poll();
        if (completions_poll()) {
            idle = 0;
        } else if (in_flight > 0 && idle > IDLE_ROUNDS) {
            struct io_uring_cqe *cqe;

            io_uring_wait_cqe(&ring, &cqe);
            idle = 0;
        }
    }
    return NULL;
}

static void queue_start(void)
{
    descs = guest(address[0] | (uint64_t)address[1] << 32);
    avail = guest(address[2] | (uint64_t)address[3] << 32);
    used = guest(address[4] | (uint64_t)address[5] << 32);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    ready = true;
}

void bare_blk_start(const char *path, bool direct, bool map, uint8_t *ram, uint64_t ram_size)
{
    struct stat st;
    pthread_t thread;

    guest_ram = ram;
    ram_bytes = ram_size;
    disk_fd = open(path, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
    if (disk_fd < 0 || fstat(disk_fd, &st) < 0) {
        err(1, "%s", path);
    }
    file_size = (uint64_t)st.st_size;
    if (map) {
        mapped = mmap(NULL, file_size, PROT_READ | PROT_WRITE, MAP_SHARED, disk_fd, 0);
        if (mapped == MAP_FAILED) {
            err(1, "%s", path);
        }
    }
    bare_ioeventfd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), BARE_BLK_BASE + 0x50, 4);
    if (pthread_create(&thread, NULL, io_thread, NULL) != 0) {
        errx(1, "thread");
    }
    pthread_setname_np(thread, "io");
}

uint32_t bare_blk_read(uint32_t offset)
{
    switch (offset) {
    case 0x00:
        return 0x74726976;
    case 0x04:
        return 2;
    case 0x08:
        return 2;
    case 0x10:
        return features_select == 0 ? FEATURES_LOW : 1;
    case 0x34:
        return QUEUE_MAX;
    case 0x44:
        return ready;
    case 0x70:
        return status;
    case 0x100:
        return (uint32_t)(file_size / 512);
    default:
        return 0;
    }
}

void bare_blk_write(uint32_t offset, uint32_t value)
{
    switch (offset) {
    case 0x14:
        features_select = value;
        break;
    case 0x38:
        queue_size = value;
        break;
    case 0x70:
        status = value;
        if (status & 4) {
            queue_start();
        }
        break;
    case 0x80:
    case 0x84:
    case 0x90:
    case 0x94:
    case 0xa0:
    case 0xa4:
        address[(offset - 0x80) / 16 * 2 + (offset & 4) / 4] = value;
        break;
    default:
        break;
    }
}
