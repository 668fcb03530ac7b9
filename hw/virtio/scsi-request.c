/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-scsi commands (VIRTIO 1.2, 5.6.6.1): on the queue's loop. */
#include <string.h>
#include "hw/virtio/scsi.h"
#include "hw/virtio/virtqueue-internal.h"
#include "vmm/util/bytes.h"

/* struct virtio_scsi_cmd_req and _resp, by offset. */
enum { REQ_LUN = 0, REQ_TAG = 8, REQ_CDB = 19 };
enum {
    RESP_SENSE_LEN = 0,
    RESP_RESIDUAL = 4,
    RESP_STATUS = 10,
    RESP_RESPONSE = 11,
    RESP_SENSE = 12
};

static inline VirtioScsi *scsi_of(const ScsiCommandRequest *command)
{
    return (VirtioScsi *)command->vr.vq->vdev;
}

/* Single level addressing: 1, target, unit as 0x4000 | n or, below 256, n. */
bool virtio_scsi_parse_lun(const uint8_t *bytes, ScsiAddress *address)
{
    uint16_t unit = load_be16(bytes + 2);
    if (bytes[0] != 1 || (unit > 0xff && (unit & 0xc000) != 0x4000)) {
        return false;
    }
    *address = (ScsiAddress){ .target = bytes[1], .lun = unit & 0x3fff };
    return true;
}

ScsiLun *virtio_scsi_find(VirtioScsi *scsi, const uint8_t *bytes, ScsiAddress *address)
{
    return virtio_scsi_parse_lun(bytes, address) ? scsi_bus_find(scsi->bus, *address) : NULL;
}

/* ---- The end ---- */

static uint64_t data_bytes(const ScsiCommandRequest *command)
{
    return command->scsi.direction == SCSI_DATA_OUT ? command->scsi.out.bytes
                                                    : command->scsi.in.bytes;
}

static void respond(ScsiCommandRequest *command, uint8_t response)
{
    const ScsiRequest *scsi = &command->scsi;
    uint8_t data[RESP_SENSE + SCSI_SENSE_MAX] = { 0 };
    uint32_t sense_len = MIN(scsi->sense_len, command->head - RESP_SENSE);
    uint64_t residual = data_bytes(command) - scsi->moved;
    store_le32(data + RESP_SENSE_LEN, sense_len);
    store_le32(data + RESP_RESIDUAL, MIN(residual, UINT32_MAX));
    data[RESP_STATUS] = scsi->status;
    data[RESP_RESPONSE] = response;
    memcpy(data + RESP_SENSE, scsi->sense, sense_len);
    virtq_write(&command->vr, 0, data, MIN(command->head, sizeof(data)));
    if (G_UNLIKELY(command->data_in)) {
        g_clear_pointer(&command->data_in, g_free);
    }
    uint64_t in_bytes = scsi->direction == SCSI_DATA_IN ? scsi->moved : 0;
    virtq_push(&command->vr, (uint32_t)MIN(command->head + in_bytes, UINT32_MAX));
}

static void command_done(ScsiRequest *request)
{
    ScsiCommandRequest *command = request->opaque;
    *command->link = command->next;
    if (command->next) {
        command->next->link = command->link;
    }
    if (G_UNLIKELY(command->waiters)) {
        virtio_scsi_command_ended(command);
    }
    uint8_t response = VIRTIO_SCSI_S_OK;
    if (G_UNLIKELY(request->cancelled)) {
        response = command->by_reset ? VIRTIO_SCSI_S_RESET : VIRTIO_SCSI_S_ABORTED;
    }
    respond(command, response);
}

/* ---- The beginning ---- */

/* The writable part behind the response, as a window. Drivers give the response a buffer of its
 * own, but need not. */
static void find_data_in(ScsiCommandRequest *command)
{
    VirtqRequest *vr = &command->vr;
    ScsiWindow *in = &command->scsi.in;
    uint64_t skip = command->head;
    int first = 0;
    while (first < vr->in_count && skip >= vr->in[first].iov_len) {
        skip -= vr->in[first++].iov_len;
    }
    in->iov = vr->in + first;
    in->count = vr->in_count - first;
    in->bytes = vr->in_bytes - command->head;
    if (G_UNLIKELY(skip && in->count)) {
        command->data_in = g_memdup2(in->iov, in->count * sizeof(struct iovec));
        command->data_in[0].iov_base = (uint8_t *)command->data_in[0].iov_base + skip;
        command->data_in[0].iov_len -= skip;
        in->iov = command->data_in;
    }
}

static bool fits(const ScsiCommandRequest *command)
{
    const ScsiRequest *scsi = &command->scsi;
    return scsi->direction == SCSI_NO_DATA || scsi->length <= data_bytes(command);
}

static void link_command(ScsiCommandRequest *command)
{
    ScsiCommandRequest **head =
        &scsi_of(command)->inflight[command->vr.vq->index - SCSI_VQ_REQUEST];
    command->next = *head;
    command->link = head;
    if (*head) {
        (*head)->link = &command->next;
    }
    *head = command;
}

static void start(ScsiCommandRequest *command, const uint8_t *header)
{
    VirtioScsi *scsi = scsi_of(command);
    ScsiRequest *request = &command->scsi;
    ScsiAddress address;
    ScsiLun *lun = virtio_scsi_find(scsi, header + REQ_LUN, &address);
    command->tag = load_le64(header + REQ_TAG);
    command->by_reset = false;
    command->data_in = NULL;
    command->waiters = NULL;
    scsi_request_init(request, lun);
    find_data_in(command);
    request->out = (ScsiWindow){ command->vr.out, command->vr.out_count, command->vr.out_bytes };
    if (G_UNLIKELY(!lun)) {
        respond(command, VIRTIO_SCSI_S_BAD_TARGET);
        return;
    }
    request->address = address;
    memcpy(request->cdb, header + REQ_CDB, MIN(scsi->cdb_size, SCSI_CDB_MAX));
    request->done = command_done;
    request->opaque = command;
    scsi_request_prepare(request);
    if (G_UNLIKELY(request->in.bytes && request->out.bytes)) { /* both ways: not offered */
        respond(command, VIRTIO_SCSI_S_FAILURE);
    } else if (G_UNLIKELY(!fits(command))) {
        respond(command, VIRTIO_SCSI_S_OVERRUN);
    } else {
        link_command(command);
        scsi_request_submit(request);
    }
}

static bool handle_one(VirtQueue *vq, ScsiCommandRequest *command)
{
    VirtioScsi *scsi = (VirtioScsi *)vq->vdev;
    uint8_t header[REQ_CDB + VIRTIO_SCSI_MAX_CDB];
    if (!virtq_read(&command->vr, header, REQ_CDB + scsi->cdb_size)) {
        virtq_fault(vq, "a SCSI command of %u bytes", command->vr.out_bytes);
        return false;
    }
    command->head = RESP_SENSE + scsi->sense_size;
    if (command->vr.in_bytes < command->head) {
        virtq_fault(vq, "a SCSI command with %u bytes for its response", command->vr.in_bytes);
        return false;
    }
    start(command, header);
    return true;
}

void virtio_scsi_handle_request(VirtQueue *vq)
{
    VirtqRequest *vr;
    while ((vr = virtq_pop(vq))) {
        if (!handle_one(vq, container_of(vr, ScsiCommandRequest, vr))) {
            virtq_request_free(vr);
            return;
        }
    }
}
