/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SCSI commands to a device of the host behind a back end: SG_IO (Linux, include/scsi/sg.h). */
#include <errno.h>
#include <linux/fs.h>
#include <scsi/sg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "block/file.h"

#define SG_VERSION_3    30000 /* the first with struct sg_io_hdr */
#define SECTOR          512
#define TRANSFER_WISHED (4U << 20)

/* The host adapter's word on a command (Linux, include/scsi/scsi_status.h). */
enum {
    HOST_OK = 0x00,
    HOST_NO_CONNECT = 0x01,
    HOST_BUS_BUSY = 0x02,
    HOST_TIME_OUT = 0x03,
    HOST_BAD_TARGET = 0x04,
    HOST_IMM_RETRY = 0x0c,
    HOST_REQUEUE = 0x0d,
};
#define DRIVER_MASK    0x0f
#define DRIVER_TIMEOUT 0x06

static int real_ioctl(int fd, unsigned long request, void *arg)
{
    return ioctl(fd, request, arg);
}

int (*block_sg_ioctl)(int fd, unsigned long request, void *arg) = real_ioctl;

static FileState *file_of(const BlockBackend *backend)
{
    BlockNode *node = backend->node ? node_protocol(backend->node) : NULL;
    bool file = node && (node->driver == &host_device_driver || node->driver == &file_driver);
    return file ? node->state : NULL;
}

bool file_is_sg(int fd)
{
    int version = 0;
    return block_sg_ioctl(fd, SG_GET_VERSION_NUM, &version) == 0 && version >= SG_VERSION_3;
}

/* A command to a partition would reach the whole disk. */
static bool is_partition(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode)) {
        return false;
    }
    g_autofree char *path =
        g_strdup_printf("/sys/dev/block/%u:%u/partition", major(st.st_rdev), minor(st.st_rdev));
    return access(path, F_OK) == 0;
}

bool block_scsi_check(BlockBackend *backend, GError **error)
{
    FileState *s = file_of(backend);
    if (!s || backend->node->length != node_protocol(backend->node)->length) {
        return error_set(error, "SCSI commands go to a whole device of the host (file=/dev/sda, "
                                "/dev/sr0 or /dev/sg0 with format=raw), not to an image");
    }
    const char *name = node_protocol(backend->node)->filename;
    if (is_partition(s->fd)) {
        return error_set(error, "'%s' is a partition: SCSI commands would reach all of its disk",
                         name);
    }
    if (!file_is_sg(s->fd)) {
        return error_set(error,
                         "'%s' is no SCSI device of the host (it takes no SG_IO): give one like "
                         "/dev/sda, /dev/sr0 or /dev/sg0, or use scsi-hd",
                         name);
    }
    return true;
}

uint32_t block_scsi_max_transfer(BlockBackend *backend)
{
    FileState *s = file_of(backend);
    unsigned short sectors = 0;
    int bytes = 0;
    if (s->block_device) {
        bytes = block_sg_ioctl(s->fd, BLKSECTGET, &sectors) == 0 ? sectors * SECTOR : 0;
    } else if (block_sg_ioctl(s->fd, BLKSECTGET, &bytes) < 0) { /* sg tells bytes */
        bytes = 0;
    }
    return bytes > 0 && (unsigned)bytes < TRANSFER_WISHED ? (uint32_t)bytes : TRANSFER_WISHED;
}

/* ---- One command ---- */

static int host_result(const struct sg_io_hdr *io)
{
    switch (io->host_status) {
    case HOST_OK:
        return (io->driver_status & DRIVER_MASK) == DRIVER_TIMEOUT ? -ETIMEDOUT : 0;
    case HOST_NO_CONNECT:
    case HOST_BAD_TARGET:
        return -ENXIO;
    case HOST_BUS_BUSY:
    case HOST_IMM_RETRY:
    case HOST_REQUEUE:
        return -EBUSY;
    case HOST_TIME_OUT:
        return -ETIMEDOUT;
    default:
        return -EIO;
    }
}

static int run_now(BlockScsi *command)
{
    struct sg_io_hdr io = {
        .interface_id = 'S',
        .dxfer_direction = !command->length     ? SG_DXFER_NONE
                           : command->to_device ? SG_DXFER_TO_DEV
                                                : SG_DXFER_FROM_DEV,
        .cmd_len = (unsigned char)command->cdb_len,
        .mx_sb_len = sizeof(command->sense),
        .dxfer_len = command->length,
        .dxferp = command->data,
        .cmdp = command->cdb,
        .sbp = command->sense,
        .timeout = command->timeout_ms,
    };
    int ret;
    do {
        ret = block_sg_ioctl(command->fd, SG_IO, &io);
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        return -errno;
    }
    command->status = io.status;
    command->sense_len = MIN(io.sb_len_wr, sizeof(command->sense));
    command->residual = io.resid > 0 ? MIN((uint32_t)io.resid, command->length) : 0;
    return command->status ? 0 : host_result(&io);
}

int block_scsi_run(BlockBackend *backend, BlockScsi *command)
{
    command->fd = file_of(backend)->fd;
    return run_now(command);
}

static int call(AioRequest *aio)
{
    return run_now(aio->opaque);
}

static void called(AioRequest *aio, ssize_t ret)
{
    BlockScsi *command = aio->opaque;
    BlockBackend *backend = command->backend;
    command->done(command, (int)ret);
    block_backend_leave(backend);
}

void block_scsi_submit(BlockBackend *backend, BlockScsi *command)
{
    block_backend_enter(backend);
    command->backend = backend;
    command->fd = file_of(backend)->fd;
    command->aio = (AioRequest){ .op = AIO_CALL, .call = call, .done = called, .opaque = command };
    aio_run_worker(event_loop_current(), &command->aio);
}
